import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createPlace } from '../cli/command-line.ts'

/** One for each way in; all of them hold this word, in the clear or in base64. */
const CANARY = 'canary-4711'
const canary = (name: string) => `${CANARY}-${name}`

/** A server that says everything it knows: its environment, its arguments, and the headers of every request. */
const chatty = `
const http = require('node:http')
const say = (...words) => console.log(...words)
say('env', JSON.stringify(process.env))
say('argv', process.argv.join(' '))
say('\\x1b]52;c;' + Buffer.from('x').toString('base64') + '\\x07\\u202e</script>')
http.createServer((request, response) => {
  // A client's own query is known to the client only.
  say(request.method, request.method === 'GET' ? request.url : '', JSON.stringify(request.headers))
  for (const value of Object.values(request.headers)) say(Buffer.from(String(value)).toString('base64'), encodeURIComponent(value))
  request.resume().on('end', () => {
    const isPost = request.method === 'POST'
    const status = isPost ? 401 : 200
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(JSON.stringify(isPost ? { error: { message: 'bad key ' + request.headers.authorization } } : { data: [] }))
    if (isPost) process.nextTick(() => { console.error('dying of', request.headers.authorization); process.exit(3) })
  })
}).listen(Number(process.argv[2]), '127.0.0.1')
`

test('no secret leaves: not in what is printed, logged, told or kept, nor in a command line of ours (fault 115, promise P19, peer S-11)', async () => {
  await using place = await createPlace({
    OPENAI_API_KEY: canary('host-env'),
    AWS_SECRET_ACCESS_KEY: canary('host-aws'),
    NODE_OPTIONS: '--no-warnings',
    PROVIDER_KEY: canary('provider-key'),
    PASSED_TOKEN: canary('inherited'),
    GATE: canary('gateway-key'),
  })
  const program = place.write('chatty.cjs', chatty)
  const base = `http://127.0.0.1:${place.modelPort}`
  place.write(
    'leasehold.json5',
    JSON.stringify({
      leasehold: {
        port: place.gatewayPort,
        apiKeys: [`\${GATE}`, canary('old-key')],
        controlKeys: [canary('control-key')],
      },
      models: {
        providers: {
          local: {
            baseUrl: `${base}/v1`,
            apiKey: `\${PROVIDER_KEY}`,
            headers: { 'x-tenant': canary('header'), cookie: `session=${canary('cookie')}` },
            localService: {
              command: process.execPath,
              args: [program, String(place.modelPort)],
              env: { HF_TOKEN: canary('child-env') },
              inheritEnv: ['PASSED_TOKEN'],
              healthUrl: `${base}/v1/models?key=${canary('health-query')}`,
            },
            models: [{ id: 'm', headers: { 'x-model-key': canary('model-header') } }],
          },
        },
      },
      agents: { defaults: { model: 'local/m' } },
    }),
  )
  const gateway = place.start('serve', '--log-level', 'debug')
  await gateway.until(/listens on/)
  const told: string[] = []
  const ask = async (path: string, init: RequestInit = {}) => {
    const key = { 'x-api-key': canary('control-key') }
    const response = await fetch(`http://127.0.0.1:${place.gatewayPort}${path}`, {
      ...init,
      headers: { 'content-type': 'application/json', ...key },
    })
    told.push(JSON.stringify([...response.headers]), await response.text())
  }
  const events = place.start('logs', 'local', '-f')
  expect(await place.run('start', 'local')).toMatchObject({ code: 0 })
  // Only what is on a command line of ours, or of a child: this test's own has no secret.
  const lines = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => readOrNothing(`/proc/${name}/cmdline`))
  expect(lines.filter((line) => line.includes(CANARY))).toEqual([])
  const children = readdirSync('/proc')
    .filter((name) => readOrNothing(`/proc/${name}/cmdline`).includes(program))
    .map((name) => readOrNothing(`/proc/${name}/environ`))
  expect(children).toHaveLength(1)
  expect(children[0]).toContain(canary('child-env'))
  expect(children[0]).toContain(canary('inherited'))
  expect(children[0]).not.toMatch(/host-env|host-aws|NODE_OPTIONS|gateway-key|provider-key/)

  await ask('/v1/chat/completions', {
    method: 'POST',
    body: JSON.stringify({ messages: [{ role: 'user', content: canary('prompt') }] }),
  })
  await ask(`/v1/chat/completions?key=${canary('client-query')}`, { method: 'POST', body: '{"stream":true}' })
  for (const path of [
    '/api/services',
    '/api/logs/local',
    '/v1/models',
    '/health',
    '/metrics',
    '/',
    '/nowhere',
  ])
    await ask(path)
  const printed = await Promise.all(
    [
      'status --json',
      'status',
      'logs local',
      'logs local --json',
      'config print',
      'config validate --json',
      'infer model run --prompt hello --json',
    ].map((command) => place.run(...command.split(' '))),
  )
  printed.push(await place.run('infer', 'model', 'run', '--prompt', 'hello', '--local', '--json'))
  gateway.child.kill('SIGTERM')
  printed.push(await gateway.ended, await events.ended)
  const outputs = [...told, ...printed.flatMap(({ stdout, stderr }) => [stdout, stderr])]
  expect(outputs.join('\n')).toContain('***')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
  expect(outputs.filter((text) => /[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]/.test(text))).toEqual([])
  for (const spelled of [CANARY, Buffer.from(CANARY).toString('base64').slice(0, -4)])
    for (const output of [...outputs, ...readFiles(place.folder)]) expect(output).not.toContain(spelled)
}, 300_000)

/** Every file below a folder that the test did not write. */
function readFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => !/^(leasehold\.json5|chatty\.cjs)$/.test(name))
    .map((name) => join(folder, name))
    .filter((file) => statSync(file).isFile())
    .map((file) => readFileSync(file, 'utf8'))
}

function readOrNothing(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
