import { expect, test } from 'vitest'
import { createSupervisor, loadConfig } from '../../src/index.ts'
import { createPlace } from '../cli/command-line.ts'

test('infer whose server another supervisor uses says so, and ends when that one is done', {
  timeout: 120_000,
}, async () => {
  await using place = await createPlace()
  place.configure(['--token-delay-ms', '100'], { drainTimeoutMs: 60_000 })
  const config = await loadConfig(`${place.folder}/leasehold.json5`)
  await using supervisor = createSupervisor({
    config,
    name: 'serve',
    stateDir: `${place.folder}/state/leasehold`,
  })
  const infer = place.start('infer', 'model', 'run', '--local', '--prompt', 'What is 17 * 3?')
  await expect.poll(() => place.strays(), { timeout: 60_000 }).toHaveLength(1)
  const lease = await supervisor.acquire('demo/sums')
  expect(lease.owned).toBe(false)
  await infer.until(/waiting for leasehold serve \(process \d+\) that uses demo/)
  expect(lease.signal.aborted).toBe(false)
  expect(place.strays()).toHaveLength(1)
  lease.release()
  expect(await infer.ended).toMatchObject({ code: 0, stdout: expect.stringContaining('51') })
  expect(place.strays()).toEqual([])
})
