import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const HEAP = new URL('../../dist/src/cli/heap.js', import.meta.url).href

/** Keeps 200,000 objects alive while it makes three million, and prints the size of the young generation in bytes. */
const PROGRAM = `
  const { getHeapSpaceStatistics } = await import('node:v8')
  if (process.argv[1] === 'tuned') (await import(${JSON.stringify(HEAP)})).tuneHeap()
  const kept = []
  for (let made = 0; made < 3e6; made += 1) {
    kept.push({ made, list: [made] })
    if (kept.length > 2e5) kept.splice(0, 1e5)
  }
  console.log(getHeapSpaceStatistics().find((space) => space.space_name === 'new_space').physical_space_size)
`

async function measureYoung(how: 'tuned' | 'as it comes'): Promise<number> {
  const args = ['--input-type=module', '-e', PROGRAM, how]
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
  })
  expect(stderr).toBe('')
  return Number(stdout)
}

test('the young generation of a tuned heap does not grow', async () => {
  expect(await measureYoung('tuned')).toBeLessThan(4e6)
  expect(await measureYoung('as it comes')).toBeGreaterThan(8e6)
})
