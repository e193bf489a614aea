import { expect, test } from 'vitest'
import { createPlace } from './command-line.ts'

const broken = `{
  models: {
    mode: 'blend',
    providers: { far: { baseUrl: 'http://127.0.0.1:1/v1', apiKay: 'x' } },
  },
}
`

test('every problem is told with its place, and the exit code is 2', async () => {
  await using place = await createPlace()
  const file = place.write('broken.json5', broken)
  const { code, stdout, stderr } = await place.run('config', 'validate', file)
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  const lines = stderr.trim().split('\n')
  expect(lines).toHaveLength(2)
  expect(lines[0]).toMatch(new RegExp(`^${file}:3:\\d+: error: models\\.mode: `))
  expect(lines[1]).toMatch(new RegExp(`^${file}:4:\\d+: error: models\\.providers\\.far\\.apiKay: `))
})

test('with --json the problems are one document', async () => {
  await using place = await createPlace()
  const file = place.write('broken.json5', broken)
  const { code, stdout, stderr } = await place.run('config', 'validate', file, '--json')
  expect({ code, stderr }).toEqual({ code: 2, stderr: '' })
  expect(JSON.parse(stdout)).toMatchObject({
    ok: false,
    file,
    problems: [
      { severity: 'error', path: 'models.mode', line: 3 },
      { severity: 'error', path: 'models.providers.far.apiKay', line: 4 },
    ],
  })
})

test('a configuration that cannot be used ends any other command with 2 and the same lines', async () => {
  await using place = await createPlace()
  place.write('leasehold.json5', broken)
  for (const command of [['serve'], ['status'], ['config', 'print'], ['models', 'list']]) {
    const { code, stderr } = await place.run(...command)
    expect(code).toBe(2)
    expect(stderr).toMatch(/^leasehold\.json5:3:\d+: error: models\.mode: /)
  }
})

test('a file that is named and missing is a problem', async () => {
  await using place = await createPlace({ LEASEHOLD_CONFIG: 'elsewhere.json5' })
  place.configure()
  expect(await place.run('config', 'validate')).toMatchObject({
    code: 2,
    stderr: 'elsewhere.json5: error: there is no such file\n',
  })
})

const SERVING = "{ models: { providers: { any: { baseUrl: 'http://127.0.0.1:9/v1' } } } }"

test('the file is the one named, then that of the environment, then the nearest, then that of the home', async () => {
  await using place = await createPlace({ XDG_CONFIG_HOME: '/nowhere' })
  expect((await place.run('config', 'validate')).stdout).toBe('builtin:demo: ok\n')
  place.write('leasehold.json5', SERVING)
  expect((await place.run('config', 'validate')).stdout).toBe('leasehold.json5: ok\n')
  const named = place.write('named.json5', SERVING)
  expect((await place.run('config', 'validate', '--config', named)).stdout).toBe(`${named}: ok\n`)
})

test('leasehold.json is found; without a file one line says that this is the demo, and where was looked', async () => {
  await using place = await createPlace()
  const none = await place.run('config', 'validate')
  expect(none.stderr).toMatch(/^No configuration file found, so this is the built-in demo \(.*\)\.\n$/)
  for (const name of ['leasehold.json5', 'leasehold.json', '.config/leasehold/leasehold.json5'])
    expect(none.stderr).toContain(name)
  expect((await place.run('config', 'print')).stderr).toBe(none.stderr)
  expect((await place.run('config', 'validate', '--config', 'builtin:demo')).stderr).toBe('')
  place.write('leasehold.yaml', 'models:\n')
  expect((await place.run('config', 'validate')).stderr).toContain('leasehold.yaml is YAML')
  place.write('leasehold.json', SERVING)
  expect(await place.run('config', 'validate')).toMatchObject({ stdout: 'leasehold.json: ok\n', stderr: '' })
})

test('serve and infer say that they use the demo', async () => {
  await using place = await createPlace()
  const serving = place.start('serve', '--port', String(place.gatewayPort))
  await serving.until(/No configuration file found/)
  await serving.until(/listens on/)
  serving.child.kill('SIGTERM')
  expect((await serving.ended).stderr.match(/No configuration file found/g)).toHaveLength(1)
  const asked = await place.run('infer', 'model', 'run', '--local', '--prompt', 'What is 6 * 7?')
  expect(asked).toMatchObject({ code: 0, stdout: expect.stringContaining('42') })
  expect(asked.stderr).toContain('No configuration file found')
}, 60_000)

test.each([
  ['config.yaml', 'models: {'],
  ['config.conf', '# llama-swap\nmodels:\n  qwen:\n    cmd: llama-server\n'],
  ['other.json5', '---\nmodels: {}\n'],
])('%s is named as YAML', async (name, text) => {
  await using place = await createPlace()
  const { code, stderr } = await place.run('config', 'validate', place.write(name, text))
  expect({ code, stderr }).toEqual({
    code: 2,
    stderr: expect.stringContaining('error: this is YAML, which is not read'),
  })
})

test('warnings are told, and do not make a configuration unusable', async () => {
  await using place = await createPlace()
  place.write(
    'leasehold.json5',
    `{ models: { providers: { far: { baseUrl: 'http://127.0.0.1:1/v1', apiKey: '\${NOT_SET}' } } } }`,
  )
  const { code, stdout, stderr } = await place.run('config', 'validate')
  expect({ code, stdout }).toEqual({ code: 0, stdout: 'leasehold.json5: ok, 1 warning\n' })
  expect(stderr).toMatch(/^leasehold\.json5:1:\d+: warning: models\.providers\.far\.apiKey: /)
})

test('the printed configuration is a file with every default and no secret', async () => {
  await using place = await createPlace({ KEY_OF_FAR: 'swordfish' })
  place.write(
    'leasehold.json5',
    `{ models: { providers: { far: { baseUrl: 'http://127.0.0.1:1/v1', apiKey: '\${KEY_OF_FAR}' } } } }`,
  )
  const { code, stdout } = await place.run('config', 'print')
  expect(code).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({
    models: { providers: { far: { apiKey: `\${KEY_OF_FAR}`, stallTimeoutMs: 600_000 } } },
    leasehold: { port: 4141 },
  })
  expect(stdout).not.toContain('swordfish')
  const again = await place.run('config', 'print', place.write('again.json', stdout))
  expect(again).toMatchObject({ code: 0, stdout })
})

test('the schema is a JSON Schema', async () => {
  await using place = await createPlace()
  const { stdout } = await place.run('config', 'schema')
  expect(JSON.parse(stdout)).toMatchObject({
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    properties: { models: {}, leasehold: {} },
  })
})
