import { readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { createPlace, launch, type Place, program } from './command-line.ts'

/** Starts a gateway that has no terminal, as one under a service manager. */
async function serve(place: Place, ...args: string[]) {
  const gateway = launch(process.execPath, [program, 'serve', ...args], {
    cwd: place.folder,
    env: { PATH: process.env.PATH, HOME: place.folder, XDG_STATE_HOME: place.folder, NO_COLOR: '1' },
    detached: true,
  })
  await gateway.until(/listens on|gateway\.listening/)
  return {
    ...gateway,
    [Symbol.asyncDispose]: async () => {
      gateway.child.kill('SIGTERM')
      await gateway.ended
    },
  }
}

interface Configured {
  readonly leasehold: object
  readonly models: { readonly providers: { readonly demo: { readonly models: object[] } } }
}

/** Puts an edited configuration into the place. */
function edit(place: Place, change: (config: Configured) => void, name = 'leasehold.json5'): void {
  const config = JSON.parse(readFileSync(join(place.folder, 'leasehold.json5'), 'utf8'))
  change(config)
  place.write(name, JSON.stringify(config))
}

/** Puts keys into the place, by which the gateway is opened. */
const lock = (place: Place, key: string) =>
  edit(place, ({ leasehold }) => Object.assign(leasehold, { apiKeys: [key] }))

const listModels = async (place: Place, key: string) => {
  const url = `http://127.0.0.1:${place.gatewayPort}/v1/models`
  const response = await fetch(url, { headers: { authorization: `Bearer ${key}` } })
  await response.text()
  return response.status
}

const OTHER = { baseUrl: 'http://127.0.0.1:9/v1', models: [{ id: 'elsewhere' }] }

describe('serve --watch', { timeout: 120_000 }, () => {
  test('takes a key that changes at once: the old one is refused, a stream begun with it ends whole (fault 96, peer A-5)', async () => {
    await using place = await createPlace()
    place.configure(['--token-delay-ms', '5'])
    lock(place, 'old')
    await using gateway = await serve(place, '--watch')
    const answer = await fetch(`http://127.0.0.1:${place.gatewayPort}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: 'Bearer old' },
      body: JSON.stringify({ messages: [{ role: 'user', content: 'count to 400' }], stream: true }),
    })
    lock(place, 'new')
    await gateway.until(/another configuration is in force: changed leasehold\.apiKeys/)
    expect([await listModels(place, 'old'), await listModels(place, 'new')]).toEqual([401, 200])
    expect(await answer.text()).toMatch(/\[DONE\]\s*$/)
  })

  test('refuses a file that is broken, with its line and column, and stays as it is until it is mended (fault 93)', async () => {
    await using place = await createPlace()
    place.configure()
    await using gateway = await serve(place, '--watch')
    await place.run('start', 'demo')
    const [line = ''] = place.strays()
    const whole = readFileSync(join(place.folder, 'leasehold.json5'), 'utf8')
    place.write('leasehold.json5', '{\n  models: { providers: {}\n')
    await gateway.until(/the configuration is refused, the old one stays: 3:1 not valid JSON5/)
    expect((await place.run('status')).code).toBe(2)
    const named = place.write('whole.json5', whole)
    const status = await place.run('status', '--config', named)
    expect(status.stdout).toMatch(/^demo +ready, not in use/m)
    expect(status.stdout).toMatch(
      /^leasehold\.json5: refused at \S+: 3:1 not valid JSON5.*\nThe configuration before it/m,
    )
    place.write('leasehold.json5', whole)
    await gateway.until(/the configuration was read again: nothing is different/)
    expect((await place.run('status')).stdout).not.toMatch(/refused/)
    expect(place.strays()).toEqual([line])
  })

  test('takes twenty quick edits for a few changes at most, the last one whole, and leaves the server alone (fault 94)', async () => {
    await using place = await createPlace()
    place.configure()
    await using gateway = await serve(place, '--watch')
    await place.run('start', 'demo')
    let editedAtMs = performance.now()
    let pauses = 0
    for (let count = 1; count <= 20; count += 1) {
      edit(place, ({ models }) => models.providers.demo.models.push({ id: `sums-${count}` }), 'edited')
      renameSync(join(place.folder, 'edited'), join(place.folder, 'leasehold.json5'))
      await delay(100)
      // On a busy host the edits are not quick: each pause that is long enough may be taken for the end of them.
      if (performance.now() - editedAtMs > 200) pauses += 1
      editedAtMs = performance.now()
    }
    const list = async () => (await fetch(`http://127.0.0.1:${place.gatewayPort}/v1/models`)).text()
    await expect.poll(list).toMatch(/"demo\/sums-1".*"demo\/sums-20"/)
    expect(place.strays()).toHaveLength(1)
    gateway.child.kill('SIGTERM')
    const { stdout } = await gateway.ended
    // One, where nothing stands still meanwhile; eight looks are taken.
    expect(stdout.match(/another configuration is in force/g)?.length).toBeLessThan(5 + pauses)
    expect(stdout.match(/process \d+ runs/g)).toHaveLength(1)
  })

  test('takes an edit of an included file, and mends a configuration whose included file was missing', async () => {
    await using place = await createPlace()
    place.configure()
    edit(place, ({ leasehold }) => Object.assign(leasehold, { $include: './keys.json5' }))
    place.write('keys.json5', '{ apiKeys: ["old"] }')
    await using gateway = await serve(place, '--watch')
    expect(await listModels(place, 'old')).toBe(200)
    place.write('keys.json5', '{ apiKeys: ["new"] }')
    await gateway.until(/another configuration is in force: changed leasehold\.apiKeys/)
    expect([await listModels(place, 'old'), await listModels(place, 'new')]).toEqual([401, 200])
    rmSync(join(place.folder, 'keys.json5'))
    await gateway.until(/the configuration is refused, the old one stays: .*there is no such file/)
    place.write('keys.json5', '{ apiKeys: ["third"] }')
    await expect.poll(() => listModels(place, 'third'), { timeout: 20_000 }).toBe(200)
  })

  test('a removed service that drains is stopped with force, and the command says how it ended', async () => {
    await using place = await createPlace()
    place.configure(['--token-delay-ms', '50'])
    await using gateway = await serve(place, '--watch')
    const answer = await fetch(`http://127.0.0.1:${place.gatewayPort}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ messages: [{ role: 'user', content: 'count to 4000' }], stream: true }),
    })
    const leasehold = { port: place.gatewayPort }
    place.write('leasehold.json5', JSON.stringify({ leasehold, models: { providers: { other: OTHER } } }))
    await gateway.until(/another configuration is in force: .*removed/)
    const stopped = await place.run('stop', 'demo', '--force')
    expect(stopped).toMatchObject({ code: 0, stdout: expect.stringMatching(/^demo has ended: .+\n$/) })
    await expect(answer.text()).rejects.toThrow('terminated')
    expect(place.strays()).toEqual([])
  })

  test('has nothing to watch in the built-in demo', async () => {
    await using place = await createPlace()
    const { code, stderr } = await place.run('serve', '--watch', '--config', 'builtin:demo')
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringMatching(/no file to watch/) })
  })

  test('goes on while its file is gone, and says so', async () => {
    await using place = await createPlace()
    place.configure()
    await using gateway = await serve(place, '--watch')
    rmSync(join(place.folder, 'leasehold.json5'))
    await gateway.until(/refused, the old one stays: there is no such file/)
    expect(await listModels(place, '')).toBe(200)
  })
})

// With a terminal it ends the gateway: test/integration/terminal.test.ts.
describe('SIGHUP', { timeout: 120_000 }, () => {
  test('without a terminal reads the configuration again, and the gateway goes on', async () => {
    await using place = await createPlace()
    place.configure()
    await using gateway = await serve(place)
    await place.run('start', 'demo')
    const [line = ''] = place.strays()
    lock(place, 'new')
    gateway.child.kill('SIGHUP')
    await gateway.until(/another configuration is in force/)
    expect([await listModels(place, 'old'), await listModels(place, 'new')]).toEqual([401, 200])
    expect(place.strays()).toEqual([line])
  })

  test('72 times in a row reads it a few times, and the last edit is in force', async () => {
    await using place = await createPlace()
    place.configure()
    await using gateway = await serve(place)
    for (let index = 0; index < 72; index += 1) {
      lock(place, `key-${index}`)
      gateway.child.kill('SIGHUP')
    }
    // Before the first reading no key is in force, and every key is let in.
    const answers = async () => [await listModels(place, 'key-70'), await listModels(place, 'key-71')]
    await expect.poll(answers, { timeout: 20_000 }).toEqual([401, 200])
  })
})
