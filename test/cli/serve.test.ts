import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import { createPlace, launch, type Place, program, type Running } from './command-line.ts'

const canBeProcessOne = spawnSync('unshare', ['--fork', '--pid', '--mount-proc', 'true']).status === 0
const hasCurl = spawnSync('curl', ['--version']).status === 0

/** Starts a gateway and waits until it listens. */
async function serve(place: Place, ...args: string[]): Promise<Running> {
  const gateway = place.start('serve', ...args)
  await gateway.until(/listens on|gateway\.listening/)
  return gateway
}

test.skipIf(!hasCurl)('both curl lines of the welcome work as they are printed', async () => {
  await using place = await createPlace()
  place.configure()
  const gateway = await serve(place)
  const [, plain = ''] = await gateway.until(/^ {2}(curl -s .*)$/m)
  const [, streamed = ''] = await gateway.until(/^ {2}(curl -N .*)$/m)
  const run = (line: string) => launch('sh', ['-c', line], { cwd: place.folder, env: process.env }).ended
  expect(JSON.parse((await run(plain)).stdout).choices[0].message.content).toBe('6 * 7 = 42.')
  expect((await run(streamed)).stdout).toMatch(/data: \[DONE\]\s*$/)
})

test.each(['SIGTERM', 'SIGINT'] as const)(
  '%s stops everything in order, which is a success',
  async (signal) => {
    await using place = await createPlace()
    place.configure()
    const gateway = await serve(place)
    expect((await place.run('start', 'demo')).code).toBe(0)
    expect(place.strays()).toHaveLength(1)
    gateway.child.kill(signal)
    const { code, stdout } = await gateway.ended
    expect(code).toBe(0)
    expect(stdout).toMatch(/demo {2}ended.*\n.*everything is stopped\n$/)
    expect(place.strays()).toEqual([])
  },
)

test('SIGTERM lets an answer end, takes no new request meanwhile, and is a success (fault 98)', async () => {
  await using place = await createPlace()
  place.configure(['--token-delay-ms', '10'])
  const gateway = await serve(place)
  const stream = await ask(place, 'count to 200')
  const reader = stream.body?.pipeThrough(new TextDecoderStream()).getReader()
  let text = (await reader?.read())?.value ?? ''
  gateway.child.kill('SIGTERM')
  await gateway.until(/demo {2}draining/)
  const refused = await ask(place, 'hello').then(
    ({ status }) => status,
    () => 'no connection',
  )
  expect([503, 'no connection']).toContain(refused)
  for (let part = await reader?.read(); part?.done === false; part = await reader?.read()) text += part.value
  expect(text).toMatch(/ 200"[\s\S]*data: \[DONE\]\s*$/)
  expect((await gateway.ended).code).toBe(0)
  expect(place.strays()).toEqual([])
})

test('a second SIGTERM does not wait for an answer (fault 98, peer O-2)', async () => {
  await using place = await createPlace()
  place.configure(['--stall-mid-stream-after', '1'], { drainTimeoutMs: 600_000 })
  const gateway = await serve(place)
  const stream = await ask(place, 'count to 9')
  const text = stream.text().catch(() => 'broken')
  gateway.child.kill('SIGTERM')
  await gateway.until(
    /leasehold {2}stops; waits at most 10 min 0 s for 1 request \(demo\); a second signal cuts off what is left$/m,
  )
  await gateway.until(/demo {2}draining/)
  expect(gateway.child.exitCode).toBeNull()
  gateway.child.kill('SIGTERM')
  await gateway.until(/leasehold {2}cuts off 1 request; a third signal ends it at once$/m)
  expect((await gateway.ended).code).toBe(0)
  expect(await text).not.toContain('[DONE]')
  expect(place.strays()).toEqual([])
})

test.skipIf(!existsSync('/dev/full'))(
  'a log that finds the disk full loses its lines, and everything else goes on (fault 108)',
  async () => {
    await using place = await createPlace()
    place.configure()
    const line = `exec "$0" "$1" serve --log-level debug 2> /dev/full`
    const gateway = launch('sh', ['-c', line, process.execPath, program], {
      cwd: place.folder,
      env: { PATH: process.env.PATH, HOME: place.folder, XDG_STATE_HOME: `${place.folder}/state` },
    })
    await gateway.until(/listens on/)
    for (const question of ['count to 3', 'count to 4'])
      expect(await (await ask(place, question)).text()).toMatch(/data: \[DONE\]\s*$/)
    gateway.child.kill('SIGTERM')
    expect(await gateway.ended).toMatchObject({ code: 0, stderr: '' })
    expect(place.strays()).toEqual([])
  },
)

test.skipIf(!canBeProcessOne)('process 1 is warned of zombies, and serves (fault 106)', async () => {
  await using place = await createPlace()
  place.configure()
  const args = ['--fork', '--pid', '--mount-proc', '--kill-child', process.execPath, program, 'serve']
  const gateway = launch('unshare', args, {
    cwd: place.folder,
    env: { PATH: process.env.PATH, HOME: place.folder, XDG_STATE_HOME: `${place.folder}/state` },
  })
  try {
    await gateway.until(/listens on/)
    expect(await (await ask(place, 'count to 3')).text()).toMatch(/data: \[DONE\]\s*$/)
  } finally {
    gateway.child.kill('SIGKILL')
  }
  expect((await gateway.ended).stderr).toMatch(/^leasehold is process 1, .*zombies.*--init/)
  const other = await serve(place)
  other.child.kill('SIGTERM')
  expect((await other.ended).stderr).not.toContain('process 1')
})

/** Asks the gateway of a place for a stream; settles with its head. */
function ask(place: Place, content: string): Promise<Response> {
  return fetch(`http://127.0.0.1:${place.gatewayPort}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'calc', stream: true, messages: [{ role: 'user', content }] }),
  })
}

test('the life of a service is told line by line', async () => {
  await using place = await createPlace()
  place.configure()
  const gateway = await serve(place)
  await place.run('start', 'demo')
  await place.run('stop', 'demo')
  await gateway.until(
    /demo {2}loading\n.*demo {2}ready\n.*demo {2}stopping: its stop was asked for\n.*demo {2}down/s,
  )
})

test('with --json every line is a document: where it listens, then the events', async () => {
  await using place = await createPlace()
  place.configure()
  const gateway = await serve(place, '--json', '--port', '0')
  const [, url = ''] = await gateway.until(/"url":"(http:[^"]+)"/)
  expect((await fetch(`${url}/health`)).status).toBe(200)
  gateway.child.kill('SIGTERM')
  const { stdout, stderr } = await gateway.ended
  const documents = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(documents[0]).toMatchObject({ type: 'gateway.listening', url })
  expect(documents.at(-1)).toMatchObject({ type: 'supervisor.closed' })
  expect(stderr).toBe('')
})

test('a port that is taken is a failure, and nothing else is told', async () => {
  await using place = await createPlace()
  place.configure()
  await serve(place)
  const { code, stdout, stderr } = await place.run('serve')
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  expect(stderr).toMatch(/^The gateway cannot listen on .* \(LEASEHOLD_LISTEN_FAILED\)\n$/)
  expect(stderr).toMatch(/in use by process \d+/)
})

test.each([
  ['base URL', { baseUrl: 'http://localhost:PORT/v1' }, 'baseUrl', []],
  ['base URL, on every interface', { baseUrl: 'http://127.0.0.1:PORT/v1' }, 'baseUrl', ['--host', '0.0.0.0']],
  [
    'replica',
    { baseUrl: 'http://127.0.0.1:1/v1', replicas: [{ baseUrl: 'http://127.0.0.1:PORT/v1' }] },
    'replicas[0].baseUrl',
    [],
  ],
])('--port with the address of a %s is a wrong configuration: 2', async (_, provider, key, args) => {
  await using place = await createPlace()
  const models = { providers: { self: { ...provider, models: [{ id: 'm' }] } } }
  const text = JSON.stringify({ leasehold: { port: place.modelPort }, models })
  place.write('leasehold.json5', text.replaceAll('PORT', String(place.gatewayPort)))
  expect((await place.run('config', 'validate')).code).toBe(0)
  const refused = await place.run('serve', '--port', String(place.gatewayPort), ...args)
  expect(refused).toMatchObject({ code: 2, stdout: '' })
  expect(refused.stderr).toContain(`models.providers.self.${key}: `)
  expect(refused.stderr).toContain(`:${place.gatewayPort} is where the gateway itself listens`)
  expect(refused.stderr).toMatch(/another leasehold\.port \(serve --port\)\n$/)
})

test('a log is written only when a level is given, and holds no secret', async () => {
  await using place = await createPlace()
  place.configure([], { env: { TOKEN_OF_THE_CHILD: 'swordfish' } })
  const gateway = await serve(place, '--log-level', 'debug')
  await place.run('infer', 'model', 'run', '--prompt', 'open sesame')
  gateway.child.kill('SIGTERM')
  const { stderr } = await gateway.ended
  const lines = stderr
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(lines.map(({ event }) => event)).toContain('process.spawned')
  expect(stderr).not.toContain('swordfish')
  expect(stderr).not.toContain('sesame')
})

test('a gateway that runs is used by infer, unless --local says otherwise', async () => {
  await using place = await createPlace()
  place.configure(['--load-ms', '100'])
  await serve(place)
  const ask = ['infer', 'model', 'run', '--prompt', 'What is 2 + 3?', '--json']
  const first = JSON.parse((await place.run(...ask)).stdout)
  expect(first).toMatchObject({
    transport: 'gateway',
    provider: 'demo',
    model: 'sums',
    outputs: [{ text: '2 + 3 = 5.' }],
  })
  expect(first.timing.coldStartMs).toBeGreaterThanOrEqual(100)
  const second = JSON.parse((await place.run(...ask)).stdout)
  expect(second.timing.coldStartMs).toBe(0)
  const third = JSON.parse((await place.run(...ask, '--local')).stdout)
  expect(third).toMatchObject({ transport: 'local', outputs: [{ text: '2 + 3 = 5.' }] })
  expect(place.strays()).toHaveLength(1)
})

test('a failure behind a gateway is told as if it were here', async () => {
  await using place = await createPlace()
  place.configure(['--fail-load', 'exit'])
  await serve(place)
  const { code, stdout } = await place.run('infer', 'model', 'run', '--prompt', 'hello', '--json')
  expect(code).toBe(1)
  expect(JSON.parse(stdout)).toMatchObject({
    ok: false,
    error: { code: 'LEASEHOLD_EXITED_BEFORE_READY', type: 'service_unavailable' },
    attempts: [{ provider: 'demo', model: 'sums', code: 'LEASEHOLD_EXITED_BEFORE_READY' }],
  })
})

test('a gateway that dies in the middle of an answer is a failure', async () => {
  await using place = await createPlace()
  place.configure(['--stall-mid-stream-after', '1', '--control'])
  const gateway = await serve(place)
  await place.run('start', 'demo')
  const run = place.start('infer', 'model', 'run', '--prompt', 'count to 9', '--json')
  await expect
    .poll(() => fetch(`http://127.0.0.1:${place.modelPort}/__control`).then((response) => response.json()), {
      interval: 20,
      timeout: 20_000,
    })
    .toMatchObject({ counts: { '/v1/chat/completions': 1 } })
  gateway.child.kill('SIGTERM')
  gateway.child.kill('SIGINT')
  const { code, stdout } = await run.ended
  expect(code).toBe(1)
  expect(JSON.parse(stdout)).toMatchObject({
    ok: false,
    error: { code: expect.stringMatching(/^LEASEHOLD_/) },
  })
})

test('a key of the configuration opens the gateway, and another one does not', async () => {
  await using place = await createPlace()
  place.configure()
  const file = place.write(
    'locked.json5',
    `{ leasehold: { port: ${place.gatewayPort}, apiKeys: ['open'] }, models: {} }`,
  )
  await serve(place, '--config', file)
  expect((await place.run('status', '--config', file)).code).toBe(0)
  expect(await place.run('status')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('LEASEHOLD_KEY_REQUIRED'),
  })
})

test('services are started, shown, read and stopped', async () => {
  await using place = await createPlace()
  place.configure([], { idleStopMs: 600_000 })
  await serve(place)

  expect((await place.run('start', 'demo')).stdout).toMatch(/^demo is ready, not in use \(process \d+\)\n$/)
  const status = await place.run('status')
  expect(status.stdout).toMatch(/^SERVICE +STATE +FOR +RUN BY +PID +MEMORY +LEASES +QUEUE +NEXT +MODELS\n/)
  expect(status.stdout).toMatch(
    /^demo +ready, not in use +.* s +leasehold +\d+ +(?:\d+ MiB +)?0 +0 +stops in (?:9|10) min \d+ s +sums \(calc\)$/m,
  )
  expect(JSON.parse((await place.run('status', '--json')).stdout).services[0].state).toBe('ready')
  expect((await place.run('models', 'list')).stdout).toMatch(/^demo\/sums +calc +yes +ready, not in use$/m)
  expect((await place.run('logs', 'demo')).stdout).toMatch(/^demo-server: listening on/m)

  expect((await place.run('stop', 'demo')).stdout).toBe('demo is down\n')
  expect(place.strays()).toEqual([])
  const unknown = await place.run('start', 'dmeo')
  expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining('There is no service "dmeo"') })
})

test('a start that is not waited for goes on, and the table says what ends a service in use', async () => {
  await using place = await createPlace()
  place.configure(['--load-ms', '600', '--hang'], { idleStopMs: 600_000 })
  await serve(place)
  const { code, stderr, stdout } = await place.run('start', 'demo', '--no-wait')
  expect([code, stderr, stdout]).toEqual([0, '', expect.stringMatching(/^demo is (?!ready)/)])
  const status = async () => (await place.run('status')).stdout
  await expect.poll(status, { timeout: 60_000 }).toMatch(/^demo +ready, not in use +.*stops in/m)
  // The lease of the start itself is not a use.
  expect((await place.run('start', 'demo', '--no-wait')).stdout).toMatch(/^demo is ready, not in use/)
  const leaving = new AbortController()
  const asked = fetch(`http://127.0.0.1:${place.gatewayPort}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ messages: [{ role: 'user', content: 'x' }], keep_alive: '20m' }),
    signal: leaving.signal,
  }).catch(() => {})
  await expect
    .poll(status, { timeout: 60_000 })
    .toMatch(/^demo +in use +.* stops after 20 min 0 s idle +sums/m)
  leaving.abort()
  await asked
  expect((await place.run('start', 'absent', '--no-wait')).code).toBe(1)
})

test('a log is followed until the process of the service ends', async () => {
  await using place = await createPlace()
  place.configure()
  await serve(place)
  await place.run('start', 'demo')
  const logs = place.start('logs', 'demo', '-f')
  await logs.until(/listening on/)
  await place.run('stop', 'demo')
  const { code, stdout } = await logs.ended
  expect(code).toBe(0)
  expect(stdout).toMatch(/cleaning up before exit\n$/)
})

test('a log whose reader leaves is not followed any more', async () => {
  await using place = await createPlace()
  place.configure(['--log-line-every-ms', '5'])
  await serve(place)
  await place.run('start', 'demo')
  const logs = place.start('logs', 'demo', '-f')
  await logs.until(/line \d+/)
  logs.child.stdout?.destroy()
  expect((await logs.ended).code).toBe(0)
})

test('the last failure of a service is part of its status', async () => {
  await using place = await createPlace()
  place.configure(['--fail-load', 'exit'])
  await serve(place)
  expect((await place.run('start', 'demo')).code).toBe(1)
  expect((await place.run('status')).stdout).toMatch(/^ {2}(because|last failure:) .*exit/m)
})

test('a provider whose program is missing is listed as unavailable by status and models list', async () => {
  await using place = await createPlace()
  place.write(
    'leasehold.json5',
    `{ leasehold: { port: ${place.gatewayPort} }, models: { providers: {
      gone: { baseUrl: 'http://127.0.0.1:1/v1', localService: { command: '/not/there' }, models: [{ id: 'm' }] },
    } } }`,
  )
  const serving = place.start('serve')
  await serving.until(/listens on/)
  const missing = 'the program /not/there does not exist or cannot be reached'
  expect((await place.run('status')).stdout).toBe(`gone: unavailable: ${missing}\n`)
  expect((await place.run('models', 'list')).stdout).toContain(missing)
  expect(JSON.parse((await place.run('status', '--json')).stdout)).toMatchObject({
    config: { unavailable: [{ provider: 'gone', reason: missing, models: [{ id: 'gone/m', aliases: [] }] }] },
    services: [],
  })
  serving.child.kill('SIGTERM')
  expect((await serving.ended).code).toBe(0)
}, 60_000)
