import { expect, test } from 'vitest'
import { createMerged } from '../../src/cli/merged.ts'

test('72 calls in a row are two runs, and the last run begins after the last call', async () => {
  const runs: (() => void)[] = []
  const call = createMerged(() => new Promise((resolve) => runs.push(resolve)))
  for (let index = 0; index < 72; index += 1) call()
  expect(runs).toHaveLength(1)
  runs[0]?.()
  await new Promise((resolve) => setImmediate(resolve))
  expect(runs).toHaveLength(2)
  runs[1]?.()
  await new Promise((resolve) => setImmediate(resolve))
  expect(runs).toHaveLength(2)
  call()
  expect(runs).toHaveLength(3)
})
