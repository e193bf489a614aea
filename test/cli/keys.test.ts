import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createPlace } from './command-line.ts'

test('a new key is 256 bits of chance, printed once', async () => {
  await using place = await createPlace()
  const keys = [await place.run('keys', 'new'), await place.run('keys', 'new', '--json')]
  const [plain, json] = [keys[0]?.stdout.trim() ?? '', JSON.parse(keys[1]?.stdout ?? '')]
  expect(plain).toMatch(/^lh-[\w-]{43}$/)
  expect(json).toEqual({ ok: true, key: expect.stringMatching(/^lh-[\w-]{43}$/) })
  expect(json.key).not.toBe(plain)
})

test('a key in a file is for its owner alone, is not printed, and is never written over another', async () => {
  await using place = await createPlace()
  const file = join(place.folder, 'secret', 'key')
  const { code, stdout } = await place.run('keys', 'new', file)
  const key = readFileSync(file, 'utf8').trim()
  expect(code).toBe(0)
  expect(stdout).not.toContain(key)
  expect((statSync(file).mode & 0o777).toString(8)).toBe('600')
  expect((statSync(join(place.folder, 'secret')).mode & 0o777).toString(8)).toBe('700')
  expect(await place.run('keys', 'new', file)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('exists already'),
  })
  expect(readFileSync(file, 'utf8').trim()).toBe(key)
})

test.runIf(existsSync('/proc'))('a key where no folder can be made is refused with the reason', async () => {
  await using place = await createPlace()
  // Node 20's own way to make folders never ends below /proc.
  expect(await place.run('keys', 'new', '/proc/leasehold/deep/key')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('cannot be written: its folder cannot be made there (ENOENT)'),
  })
})

test('a gateway opens beyond loopback with such a key, and not without', async () => {
  await using place = await createPlace()
  place.configure()
  const refused = await place.run('serve', '--host', '0.0.0.0')
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('leasehold keys new') })
  const { stdout } = await place.run('keys', 'new')
  const config = JSON.parse(readFileSync(join(place.folder, 'leasehold.json5'), 'utf8'))
  config.leasehold = { ...config.leasehold, host: '0.0.0.0', apiKeys: [stdout.trim()] }
  place.write('leasehold.json5', JSON.stringify(config))
  const gateway = place.start('serve')
  await gateway.until(/listens on/)
  expect(await place.run('status')).toMatchObject({ code: 0 })
  const { status } = await fetch(`http://127.0.0.1:${place.gatewayPort}/v1/models`)
  expect(status).toBe(401)
})
