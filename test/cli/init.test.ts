import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { findInstalledProgram } from '../../src/config/engine-service.ts'
import { engines } from '../../src/config/engines.ts'
import { createPlace, type Place } from './command-line.ts'
import { chatValues, writeHeader } from './init/gguf-files.ts'

/** A place where a program of that name is in PATH, and nothing else is. */
async function createHost(program?: string): Promise<Place> {
  const place = await createPlace({ PATH: '/nowhere' })
  if (program === undefined) return place
  const bin = join(place.folder, '.local/bin')
  mkdirSync(bin, { recursive: true })
  symlinkSync('/bin/true', join(bin, program))
  return place
}

/** Whether one is where every user of this host finds it: the tests' own home and PATH have none. */
const hasEngine = ['llama.cpp', 'koboldcpp'].some(
  (name) =>
    findInstalledProgram(engines[name] ?? { programs: [], places: [] }, { env: { HOME: '/nowhere' } }) !==
    undefined,
)

test('init writes a file for the models of a folder, which is valid and only for its owner, and says what is next', async () => {
  await using place = await createHost('llama-server')
  writeHeader(join(place.folder, 'gguf/qwen3-8b-Q4_K_M.gguf'), chatValues)
  writeFileSync(join(place.folder, 'gguf/broken.gguf'), 'no')
  const { code, stdout, stderr } = await place.run('init', 'gguf', '--context', '8192', '--idle-stop', '1h')
  expect({ code, stderr }).toEqual({
    code: 0,
    stderr: `left out: ${join(place.folder, 'gguf/broken.gguf')}: the file ends within its header\n`,
  })
  expect(stdout).toMatch(
    /\nWrote leasehold\.json5\. Next:\n {2}leasehold doctor .*\n {2}leasehold serve\n {2}leasehold chat qwen3-8b\n$/,
  )
  expect(statSync(join(place.folder, 'leasehold.json5')).mode & 0o777).toBe(0o600)
  const printed = JSON.parse((await place.run('config', 'print', '--json')).stdout)
  expect(printed.agents.defaults.model).toBe('qwen3-8b/qwen3-8b-q4_k_m')
  expect(printed.models.providers['qwen3-8b'].models).toMatchObject([
    { id: 'qwen3-8b-q4_k_m', alias: 'qwen3-8b' },
  ])
  const { args, idleStopMs } = printed.models.providers['qwen3-8b'].localService
  expect(args.join(' ')).toMatch(/--ctx-size 8192$/)
  expect(idleStopMs).toBe(3_600_000)
})

test('init never writes over a file', async () => {
  await using place = await createHost('llama-server')
  writeHeader(join(place.folder, 'a.gguf'), chatValues)
  place.write('leasehold.json5', '// mine')
  const { code, stdout, stderr } = await place.run('init', '.', '--yes')
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toMatch(/^leasehold\.json5 exists already, and is never written over/)
  expect(readFileSync(join(place.folder, 'leasehold.json5'), 'utf8')).toBe('// mine')
  const other = await place.run('init', '.', '--output', 'other.json5')
  expect(other.stdout).toContain('leasehold serve --config other.json5')
})

test('init says why it cannot write its file', async () => {
  await using place = await createHost('llama-server')
  writeHeader(join(place.folder, 'a.gguf'), chatValues)
  const { code, stderr } = await place.run('init', '.', '--output', 'a.gguf/leasehold.json5')
  expect({ code, stderr }).toEqual({
    code: 2,
    stderr: expect.stringMatching(
      /^a\.gguf\/leasehold\.json5 cannot be written: a part of its path is not a folder/,
    ),
  })
})

test('init --dry-run prints the file and writes none; --json says it in one document', async () => {
  await using place = await createHost('koboldcpp')
  writeHeader(join(place.folder, 'a.gguf'), chatValues)
  const dry = await place.run('init', '--dry-run', '.', '--engine', 'llama.cpp')
  expect(dry).toMatchObject({ code: 0, stderr: '' })
  const { stdout } = await place.run('init', '--dry-run', '.', '--engine', 'llama.cpp', '--json')
  expect(JSON.parse(stdout)).toMatchObject({
    ok: true,
    engine: 'llama.cpp',
    text: dry.stdout,
    models: [{ ref: 'a/a-q4_k_m', aliases: ['a'], kind: 'chat', contextTokens: 16_384 }],
    broken: [],
  })
  expect(existsSync(join(place.folder, 'leasehold.json5'))).toBe(false)
})

test.skipIf(hasEngine)('without an engine init says how to get one', async () => {
  await using place = await createHost('vllm')
  writeHeader(join(place.folder, 'a.gguf'), chatValues)
  const { code, stderr } = await place.run('init', '.')
  expect(code).toBe(2)
  expect(stderr).toMatch(/No engine that loads GGUF files .*; there is vllm \(.*\.local\/bin\/vllm\)\./)
  expect(stderr).toMatch(/Install llama\.cpp: brew install llama\.cpp/)
})

test('without a model init says where it looked', async () => {
  await using place = await createHost('llama-server')
  const none = await place.run('init')
  expect(none.code).toBe(2)
  for (const folder of ['.cache/llama.cpp', '.cache/huggingface/hub', '.lmstudio/models', '.ollama/models'])
    expect(none.stderr).toContain(join(place.folder, folder))
  const missing = await place.run('init', 'nowhere')
  expect(missing).toMatchObject({ code: 2, stderr: 'nowhere does not exist.\n' })
})

test.each([
  [['--engine', 'lama'], /lama is not a known engine; the engines are llama\.cpp, vllm/],
  [['--idle-stop', 'soon'], /Expected a duration such as 10m/],
  [['--from', 'ollama'], /Allowed choices are llama-swap/],
  [['--context', '0'], /Expected a whole number from 1/],
])('init %j is wrong usage', async (args, reason) => {
  await using place = await createHost('llama-server')
  writeHeader(join(place.folder, 'a.gguf'), chatValues)
  const { code, stdout, stderr } = await place.run('init', '.', ...args)
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toMatch(reason)
})

const swap = `models:
  qwen:
    cmd: |
      llama-server --port \${PORT}
      # the model
      -m /m/qwen.gguf
    metadata: { role: chat }
    aliases: [gpt-4o]
  other:
    cmd: /opt/other --port \${PORT} --key \${env.SOME_KEY}
`

test('init --from llama-swap translates its file and tells, line by line, what has no equal', async () => {
  await using place = await createHost('llama-server')
  place.write('config.yaml', swap)
  const { code, stdout, stderr } = await place.run('init', '--from', 'llama-swap')
  expect(code).toBe(0)
  expect(stderr).toMatch(/^config\.yaml:7: models\.qwen\.metadata: no equal$/m)
  // What is wrong with the new file on this host is told, and does not keep it from being written.
  expect(stderr).toMatch(/^leasehold\.json5:\d+:\d+: warning: .*\$\{SOME_KEY\} is not set/m)
  expect(stdout).toMatch(/^2 models of config\.yaml; 1 of its lines has no equal/)
  expect(stdout).toContain('leasehold chat qwen\n')
  const checked = await place.run('config', 'validate')
  expect(checked).toMatchObject({ code: 0, stdout: expect.stringMatching(/^leasehold\.json5: ok/) })
  const printed = JSON.parse((await place.run('config', 'print', '--json')).stdout)
  expect(printed.models.providers).toMatchObject({
    qwen: { models: [{ id: 'qwen', alias: 'gpt-4o' }] },
    other: { localService: { command: '/opt/other' } },
  })

  const again = await place.run('init', '--from', 'llama-swap', 'config.yaml')
  expect(again).toMatchObject({ code: 2, stderr: expect.stringMatching(/exists already/) })
  const { notes } = JSON.parse(
    (await place.run('init', '--from', 'llama-swap', 'config.yaml', '--dry-run', '--json')).stdout,
  )
  expect(notes).toMatchObject([{ line: 7, path: ['models', 'qwen', 'metadata'] }])
})

test.each([
  ['models: [', /^config\.yaml:1:\d+: /],
  ['groups: {}', /^config\.yaml has no model that can be run\.$/m],
  // Why it cannot be run is told.
  ['models: { qwen: { name: x } }', /^config\.yaml:1: models\.qwen: has neither cmd nor proxy/m],
  [undefined, /^config\.yaml does not exist\.$/m],
])('init --from llama-swap refuses %j', async (text, reason) => {
  await using place = await createHost('llama-server')
  if (text !== undefined) place.write('config.yaml', text)
  const { code, stdout, stderr } = await place.run('init', '--from', 'llama-swap')
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toMatch(reason)
  expect(existsSync(join(place.folder, 'leasehold.json5'))).toBe(false)
})

test.runIf(process.platform !== 'win32').each([
  ['a folder', '.', /^\. is a folder\. Name the configuration file of llama-swap\.$/m],
  ['a pipe', 'pipe', /^pipe is a pipe or a device\./m],
  ['a device', '/dev/zero', /^\/dev\/zero is a pipe or a device\./m],
  ['too large', 'large', /^large is larger than 4 MiB/m],
  ['below a file', 'large/x', /^large\/x cannot be read: a part of its path is not a folder/m],
])('init --from llama-swap refuses what is %s', async (_, source, reason) => {
  await using place = await createHost('llama-server')
  const make = (script: string) => execFileSync('/bin/sh', ['-c', script], { cwd: place.folder })
  // A hole takes no room on the disk.
  make('mkfifo pipe && truncate -s 4194305 large')
  const { code, stdout, stderr } = await place.run('init', '--from', 'llama-swap', source)
  make('rm pipe large')
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toMatch(reason)
})
