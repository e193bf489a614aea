import { expect, test } from 'vitest'
import { createPlace } from './command-line.ts'

const commands = [
  ['serve'],
  ['init'],
  ['infer', 'model', 'run'],
  ['models', 'list'],
  ['status'],
  ['start'],
  ['stop'],
  ['logs'],
  ['why'],
  ['events'],
  ['replay'],
  ['config', 'validate'],
  ['config', 'print'],
  ['config', 'schema'],
  ['machines', 'print'],
  ['script', 'run'],
  ['script', 'schema'],
  ['demo-server'],
]

test('the help names every command and every exit code', async () => {
  await using place = await createPlace()
  const { code, stdout, stderr } = await place.run('--help')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  for (const [name] of commands) expect(stdout).toMatch(new RegExp(`^  ${name}\\b`, 'm'))
  for (const exitCode of ['0', '1', '2', '3', '129, 130, 143'])
    expect(stdout).toMatch(new RegExp(`^  ${exitCode}\\b`, 'm'))
})

test.each(commands.map((words) => [words.join(' '), words] as const))(
  'the help of %s has an example of it',
  async (name, words) => {
    await using place = await createPlace()
    const { code, stdout } = await place.run(...words, '--help')
    expect(code).toBe(0)
    expect(stdout).toContain(`Example:\n  leasehold ${name}`)
  },
)

test.each([
  [['statsu'], /unknown command 'statsu'\n\(Did you mean status\?\)/],
  [['status', '--jsno'], /unknown option '--jsno'\n\(Did you mean --json\?\)/],
  [['infer', 'model', 'run'], /required option '--prompt <text>'/],
  [['serve', '--port', '70000'], /Expected a whole number from 0 to 65535/],
  [['serve', '--host', 'example.com'], /Expected an IP address/],
  [['infer', 'model', 'run', '--prompt', 'x', '--timeout', '0'], /Expected a number of seconds/],
  [['demo-server', '--nosuch'], /Unknown option '--nosuch'/],
  [['demo-server', '--port', 'x'], /port: expected/],
  [
    ['machines', 'print', '--machine', 'toaster'],
    /Allowed choices are borrowing, claim, member, neighbour, placement, provider, request, run, supervisor/,
  ],
  [['status', '--gateway', 'nowhere'], /"nowhere" is not an http URL/],
  [['infer', 'model', 'run', '--prompt', 'x', '--local', '--gateway'], /cannot be used with option/],
])('%j is wrong usage', async (args, reason) => {
  await using place = await createPlace()
  const { code, stdout, stderr } = await place.run(...args)
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toMatch(reason)
})

test.each([['status'], ['start', 'demo'], ['stop', 'demo'], ['logs', 'demo']])(
  '%s without a gateway ends with 3 and says where it looked',
  async (...args) => {
    await using place = await createPlace()
    place.configure()
    expect(await place.run(...args)).toEqual({
      code: 3,
      signal: null,
      stdout: '',
      stderr: `No gateway is running at http://127.0.0.1:${place.gatewayPort}. Start one with: leasehold serve\n`,
    })
  },
)

test.each([['status'], ['start', 'demo'], ['stop', 'demo'], ['logs', 'demo']])(
  '%s with --json and without a gateway prints its error as one document',
  async (...args) => {
    await using place = await createPlace()
    place.configure()
    const { code, stdout, stderr } = await place.run(...args, '--json')
    expect({ code, stderr }).toEqual({ code: 3, stderr: '' })
    expect(JSON.parse(stdout)).toEqual({
      ok: false,
      error: {
        type: 'service_unavailable',
        code: 'LEASEHOLD_NOT_REACHABLE',
        message: `No gateway is running at http://127.0.0.1:${place.gatewayPort}. Start one with: leasehold serve`,
      },
    })
  },
)

test.each([
  [['serve'], 'one JSON document per event'],
  [['status'], 'one JSON document per refresh'],
  [['models', 'list'], 'one JSON document'],
])('the help of %j says what --json prints', async (words, meaning) => {
  await using place = await createPlace()
  const { stdout } = await place.run(...words, '--help')
  expect(stdout).toMatch(new RegExp(`--json +print ${meaning}\\n`))
})

test('an error shows its stack only when it is asked for', async () => {
  await using place = await createPlace({ LEASEHOLD_DEBUG: '1' })
  place.configure()
  const { code, stderr } = await place.run('status')
  expect(code).toBe(3)
  expect(stderr).toMatch(/^NoGatewayError: No gateway is running at .*\n +at /)
  expect(stderr).toMatch(/^caused by: .*ECONNREFUSED/m)
})

test('models are listed from the configuration when no gateway runs', async () => {
  await using place = await createPlace()
  place.configure()
  const { stdout } = await place.run('models', 'list', '--json')
  expect(JSON.parse(stdout).data).toMatchObject([
    { id: 'demo/sums', aliases: ['calc'], default: true, state: 'down.cold' },
  ])
})
