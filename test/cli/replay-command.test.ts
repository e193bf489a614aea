import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parseScript } from '../../src/testing/script.ts'
import { createPlace } from './command-line.ts'

test('what serve recorded is replayed, told, and made into a script that passes', async () => {
  await using place = await createPlace()
  place.configure()
  const file = join(place.folder, 'recording.ndjson')
  const gateway = place.start('serve', '--record', file)
  await gateway.until(/listens on/)
  for (const verb of ['start', 'stop'])
    await fetch(`http://127.0.0.1:${place.gatewayPort}/api/services/demo/${verb}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    })
  gateway.child.kill('SIGTERM')
  expect((await gateway.ended).code).toBe(0)
  expect(statSync(file).mode & 0o777).toBe(0o600)

  const script = join(place.folder, 'story.json5')
  const { code, stdout, stderr } = await place.run('replay', file, '--to-script', script)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/ms {2}demo {2}loading: its process \d+ runs and is not ready yet\n/)
  expect(stdout).toMatch(/ms {2}demo {2}stopping: its stop was asked for\n/)
  expect(stdout).toMatch(/✓ \d+ steps, every state as it was recorded\n$/)
  // It would say on stderr that the script does not pass.
  expect(parseScript(readFileSync(script, 'utf8'))).toMatchObject({
    title: 'what happened to demo',
    silent: true,
  })

  const changed = readFileSync(file, 'utf8').replace('"to":"ready"', '"to":"probing"')
  const failed = await place.run('replay', place.write('changed.ndjson', changed))
  expect(failed.code).toBe(1)
  expect(failed.stdout).toMatch(/✗ event \d+, demo: recorded .*"to":"probing".*, but the statechart said/)
}, 120_000)

test('what is no recording is wrong usage, and so is a place where none can be made', async () => {
  await using place = await createPlace()
  place.configure()
  const none = place.write('none.ndjson', 'nothing\n')
  expect(await place.run('replay', none)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('line 1: not JSON'),
  })
  expect(await place.run('serve', '--record', join(place.folder, 'no', 'such', 'folder'))).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('cannot be made'),
  })
})
