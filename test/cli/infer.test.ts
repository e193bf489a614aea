import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createPlace, launch, type Place, program } from './command-line.ts'

const ask = ['infer', 'model', 'run', '--prompt', 'What is 6 * 7?']

test('a prompt is answered in one envelope, and the server that was started for it is gone', async () => {
  await using place = await createPlace()
  place.configure(['--load-ms', '150'])
  const { code, stdout, stderr } = await place.run(...ask, '--model', 'CALC', '--json')
  expect(stderr).toBe('')
  expect(JSON.parse(stdout)).toEqual({
    ok: true,
    capability: 'model.run',
    transport: 'local',
    provider: 'demo',
    model: 'sums',
    attempts: [],
    outputs: [{ text: '6 * 7 = 42.', mediaUrl: null }],
    usage: expect.objectContaining({ total_tokens: 10 }),
    timing: { coldStartMs: expect.any(Number), firstByteMs: expect.any(Number), totalMs: expect.any(Number) },
    finishReason: 'stop',
  })
  const { coldStartMs, firstByteMs, totalMs } = JSON.parse(stdout).timing
  expect(coldStartMs).toBeGreaterThanOrEqual(150)
  expect(firstByteMs).toBeGreaterThan(coldStartMs)
  expect(totalMs).toBeGreaterThanOrEqual(firstByteMs)
  expect(code).toBe(0)
  expect(place.strays()).toEqual([])
})

test('without --json only the text is printed', async () => {
  await using place = await createPlace()
  place.configure()
  expect(await place.run(...ask)).toEqual({ code: 0, signal: null, stdout: '6 * 7 = 42.\n', stderr: '' })
})

test('a blank prompt is refused before anything starts', async () => {
  await using place = await createPlace()
  place.configure()
  const { code, stdout } = await place.run('infer', 'model', 'run', '--prompt', ' \n ', '--json')
  expect(code).toBe(1)
  expect(JSON.parse(stdout)).toEqual({
    ok: false,
    error: {
      type: 'invalid_request_error',
      code: 'LEASEHOLD_BAD_REQUEST',
      message: 'The prompt is blank.',
    },
    attempts: [],
  })
  expect(existsSync(join(place.folder, 'state'))).toBe(false)
})

test('an empty standard input is a blank prompt', async () => {
  await using place = await createPlace()
  place.configure()
  const { code, stderr } = await place.run('infer', 'model', 'run', '--prompt', '-')
  expect({ code, stderr }).toEqual({ code: 1, stderr: 'The prompt is blank. (LEASEHOLD_BAD_REQUEST)\n' })
})

test('a server that cannot load its model is a failure with the last lines it printed', async () => {
  await using place = await createPlace()
  place.configure(['--fail-load', 'exit'])
  const { code, stdout } = await place.run(...ask, '--json')
  const { ok, error, attempts } = JSON.parse(stdout)
  expect({ code, ok, attempts }).toEqual({
    code: 1,
    ok: false,
    attempts: [{ provider: 'demo', model: 'sums', code: 'LEASEHOLD_EXITED_BEFORE_READY' }],
  })
  expect(error.code).toBe('LEASEHOLD_EXITED_BEFORE_READY')
  expect(error.message).toContain('failed to load model')
})

test.each([
  ['a stream that ends before its time', '--truncate-after', 'LEASEHOLD_STREAM_TRUNCATED'],
  ['a server that dies in the middle', '--crash-mid-stream-after', 'LEASEHOLD_SERVICE_EXITED'],
])('%s is a failure, and no text is printed', async (_, flag, errorCode) => {
  await using place = await createPlace()
  place.configure([flag, '2'])
  const { code, stdout, stderr } = await place.run(...ask)
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  expect(stderr).toContain(errorCode)
  expect(place.strays()).toEqual([])
})

test('a fallback that answers is told with the candidate that failed before it', async () => {
  await using server = await serveCompletion({ content: 'forty-two' })
  await using place = await createPlace()
  place.configure(['--fail-load', 'exit'])
  const config = JSON.parse(readFileSync(join(place.folder, 'leasehold.json5'), 'utf8'))
  config.models.providers.far = { baseUrl: `http://127.0.0.1:${server.port}/v1`, models: [{ id: 'm' }] }
  config.agents.defaults.model = { primary: 'demo/sums', fallbacks: ['far/m'] }
  place.write('leasehold.json5', JSON.stringify(config))
  const { code, stdout } = await place.run(...ask, '--json')
  expect(code).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({
    ok: true,
    provider: 'far',
    model: 'm',
    attempts: [{ provider: 'demo', model: 'sums', code: 'LEASEHOLD_EXITED_BEFORE_READY' }],
    outputs: [{ text: 'forty-two' }],
  })
})

test('a model that is not configured is a failure that names the nearest one', async () => {
  await using place = await createPlace()
  place.configure()
  const { code, stderr } = await place.run(...ask, '--model', 'demo/sum')
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: 'There is no model "demo/sum". Did you mean demo/sums? (LEASEHOLD_MODEL_UNKNOWN)\n',
  })
})

test('a file that is not an image is wrong usage', async () => {
  await using place = await createPlace()
  place.configure()
  const file = place.write('note.txt', 'hello')
  const { code, stdout } = await place.run(...ask, '--file', file, '--json')
  expect({ code, message: JSON.parse(stdout).error.message }).toEqual({
    code: 2,
    message: `The file ${file} is not a PNG, JPEG, GIF or WebP image.`,
  })
})

test('a gateway that was asked for and does not run is a failure', async () => {
  await using place = await createPlace()
  place.configure()
  const { code, stderr } = await place.run(...ask, '--gateway')
  expect(code).toBe(1)
  expect(stderr).toContain(`No gateway is running at http://127.0.0.1:${place.gatewayPort}.`)
  const { stdout } = await place.run(...ask, '--gateway', '--json')
  expect(JSON.parse(stdout).error.code).toBe('LEASEHOLD_NOT_REACHABLE')
})

test('an answer that takes longer than --timeout is a failure, and its server is gone', async () => {
  await using place = await createPlace()
  place.configure(['--hang'])
  const { code, stdout } = await place.run(...ask, '--timeout', '1', '--json')
  expect({ code, error: JSON.parse(stdout).error }).toEqual({
    code: 1,
    error: {
      type: 'timeout_error',
      code: 'LEASEHOLD_ABORTED',
      message: 'There was no complete answer within 1 s (--timeout).',
    },
  })
  expect(place.strays()).toEqual([])
})

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const)('%s during a cold start ends with %i and leaves nothing behind', async (signal, expected) => {
  await using place = await createPlace()
  place.configure(['--load-ms', '600000'])
  const run = place.start(...ask)
  await expect.poll(() => place.strays().length, { interval: 10, timeout: 20_000 }).toBe(1)
  run.child.kill(signal)
  expect((await run.ended).code).toBe(expected)
  expect(place.strays()).toEqual([])
})

test('SIGINT during an answer cuts it and leaves nothing behind', async () => {
  await using place = await createPlace()
  place.configure(['--stall-mid-stream-after', '1', '--control'])
  const run = place.start(...ask)
  await expect.poll(() => isAnswering(place), { interval: 20, timeout: 20_000 }).toBe(true)
  run.child.kill('SIGINT')
  expect((await run.ended).code).toBe(130)
  expect(place.strays()).toEqual([])
})

// Without util-linux there is no pseudo-terminal to be had.
const canHaveTerminal = spawnSync('script', ['--version']).status === 0

test.skipIf(!canHaveTerminal)(
  'on a terminal a cold start is told with its time and the median of earlier ones',
  async () => {
    await using place = await createPlace()
    place.configure(['--load-ms', '400'])
    await place.run(...ask)
    const file = join(place.folder, 'state', 'leasehold', 'history.json')
    expect(Object.values(JSON.parse(readFileSync(file, 'utf8')))).toMatchObject([
      { startsMs: [expect.any(Number)] },
    ])
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(statSync(join(file, '..')).mode & 0o777).toBe(0o700)

    const command = `'${process.execPath}' '${program}' infer model run --prompt 'What is 6 * 7?'`
    const { stdout } = await launch('script', ['-qec', command, '/dev/null'], {
      cwd: place.folder,
      env: {
        PATH: process.env.PATH,
        HOME: place.folder,
        XDG_STATE_HOME: join(place.folder, 'state'),
        TERM: 'xterm',
      },
    }).ended
    expect(stdout).toMatch(/starting demo, \d\.\d s \(last starts took about \d\.\d s\)/)
    expect(stdout).toContain('6 * 7 = 42.')
  },
)

test('without a place for its state nothing is started, and the error says what to set (fault 92)', async () => {
  await using place = await createPlace({ XDG_STATE_HOME: '/dev/null' })
  place.configure()
  const { code, stdout, stderr } = await place.run(...ask)
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  expect(stderr).toMatch(/\/dev\/null\/leasehold.*LEASEHOLD_STATE_DIR/s)
})

test.each([
  ['an answer without text', { content: ' ' }, 1, /without any text/],
  ['an answer that is no completion', 'hello', 1, /not a chat completion/],
])('%s is a failure', async (_, message, expected, reason) => {
  await using server = await serveCompletion(message)
  await using place = await createPlace()
  place.write('leasehold.json5', toRemote(server.port, place))
  const { code, stderr } = await place.run(...ask)
  expect(code).toBe(expected)
  expect(stderr).toMatch(reason)
})

test('an answer that was not streamed is taken as well', async () => {
  await using server = await serveCompletion({ content: 'forty-two' })
  await using place = await createPlace()
  place.write('leasehold.json5', toRemote(server.port, place))
  expect(await place.run(...ask)).toMatchObject({ code: 0, stdout: 'forty-two\n' })
})

/** Whether the model server has a question. */
async function isAnswering({ modelPort }: Place): Promise<boolean> {
  const state = await fetch(`http://127.0.0.1:${modelPort}/__control`).then(
    (response) => response.json(),
    () => undefined,
  )
  return state?.counts?.['/v1/chat/completions'] === 1
}

function toRemote(port: number, { gatewayPort }: Place): string {
  return JSON.stringify({
    leasehold: { port: gatewayPort },
    models: { providers: { far: { baseUrl: `http://127.0.0.1:${port}/v1`, models: [{ id: 'm' }] } } },
    agents: { defaults: { model: 'far/m' } },
  })
}

/** A server that answers every completion with one message, or with a text that is no JSON. */
async function serveCompletion(
  message: object | string,
): Promise<AsyncDisposable & { readonly port: number }> {
  const answer = (response: ServerResponse, body: string) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
    response.end(body)
  }
  const server = createServer((request, response) => {
    if (request.method === 'GET')
      return answer(response, JSON.stringify({ object: 'list', data: [{ id: 'm' }] }))
    request
      .resume()
      .on('end', () =>
        answer(
          response,
          typeof message === 'string'
            ? message
            : JSON.stringify({ choices: [{ index: 0, message, finish_reason: 'stop' }] }),
        ),
      )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
