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

test('the file is the one named, then that of the environment, then the nearest, then that of the home', async () => {
  await using place = await createPlace({ XDG_CONFIG_HOME: '/nowhere' })
  expect((await place.run('config', 'validate')).stdout).toBe('builtin:demo: ok\n')
  place.write('leasehold.json5', '{}')
  expect((await place.run('config', 'validate')).stdout).toBe('leasehold.json5: ok\n')
  const named = place.write('named.json5', '{}')
  expect((await place.run('config', 'validate', '--config', named)).stdout).toBe(`${named}: ok\n`)
})

test('warnings are told, and do not make a configuration unusable', async () => {
  await using place = await createPlace()
  place.write(
    'leasehold.json5',
    `{ models: { providers: { far: { baseUrl: 'http://127.0.0.1:1/v1', apiKey: '\${NOT_SET}' } } } }`,
  )
  const { code, stdout, stderr } = await place.run('config', 'validate')
  expect({ code, stdout }).toEqual({ code: 0, stdout: 'leasehold.json5: ok\n' })
  expect(stderr).toMatch(/^leasehold\.json5:1:\d+: warning: models\.providers\.far\.apiKey: /)
})

test('the printed configuration has every default and no secret', async () => {
  await using place = await createPlace({ KEY_OF_FAR: 'swordfish' })
  place.write(
    'leasehold.json5',
    `{ models: { providers: { far: { baseUrl: 'http://127.0.0.1:1/v1', apiKey: '\${KEY_OF_FAR}' } } } }`,
  )
  const { code, stdout } = await place.run('config', 'print')
  expect(code).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({
    providers: [{ id: 'far', apiKey: '***' }],
    leasehold: { port: 4141 },
  })
  expect(stdout).not.toContain('swordfish')
})

test('the schema is a JSON Schema', async () => {
  await using place = await createPlace()
  const { stdout } = await place.run('config', 'schema')
  expect(JSON.parse(stdout)).toMatchObject({
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    properties: { models: {}, leasehold: {} },
  })
})
