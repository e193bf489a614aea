import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addPlaceholders } from '../../../src/cli/init/write-config.ts'
import { findSwapKey, swapKeys } from '../../../src/cli/llama-swap/swap-keys.ts'
import { type Translation, translateSwap } from '../../../src/cli/llama-swap/translate.ts'
import { parseYaml } from '../../../src/cli/llama-swap/yaml-file.ts'
import { parseConfig } from '../../../src/config/load.ts'
import { resolveModel } from '../../../src/config/model-ref.ts'
import { listRandomRuns } from '../../random-runs.ts'

const folder = fileURLToPath(new URL('configs/', import.meta.url))
const files = readdirSync(folder).filter((name) => name.endsWith('.yaml'))
const env = { HOME: '/home/someone', PATH: '/usr/bin', HF_TOKEN: 't', MODELS_DIR: '/srv', API_KEY_1: 'k' }
const PROGRAMS = ['bash', 'docker', 'env', 'llama-server', 'podman', 'taskset']

function translate(text: string, file = 'config.yaml'): Translation {
  return translateSwap(parseYaml(text, file), {
    env,
    file,
    folder: '/etc/llama-swap',
    findProgram: (name) => (PROGRAMS.includes(name) ? `/usr/bin/${name}` : undefined),
  })
}

const load = (text: string) => parseConfig(text, { env: { ...env, OPENROUTER_API_KEY: 'k' } })

const formatNotes = ({ notes }: Translation) =>
  notes.map(({ line, path, message }) => `${line}: ${path.join('.')}: ${message}\n`).join('')

describe('configurations in the shape of public ones', () => {
  test('there are ten', () => {
    expect(files).toHaveLength(10)
  })

  test.each(files)('%s translates, is valid, and tells what has no equal', async (name) => {
    const translation = translate(readFileSync(join(folder, name), 'utf8'), name)
    const stem = join(folder, basename(name, '.yaml'))
    await expect(formatNotes(translation)).toMatchFileSnapshot(`${stem}.notes`)
    await expect(translation.text).toMatchFileSnapshot(`${stem}.json5`)
    const config = load(translation.text)
    const about = ({ message }: { readonly message: string }) => /need not be this host/.test(message)
    expect(config.problems.filter((problem) => !about(problem))).toEqual([])
    // Every name that llama-swap would answer to is answered to.
    for (const model of translation.models) expect(resolveModel(config, model).modelId).toBe(model)
  })

  test('every key of them is one of the table, or told to be none', () => {
    for (const key of Object.keys(swapKeys)) expect(findSwapKey(key.split('.'))).toBe(swapKeys[key])
    expect(findSwapKey(['models', 'x', 'filters', 'stripParams'])).toBe(
      swapKeys['models.*.filters.stripParams'],
    )
    expect(findSwapKey(['models', 'x', 'tags'])).toBeUndefined()
    expect(findSwapKey(['host'])).toBeUndefined()
  })
})

test('the sleep of llmsnap is told with the option that stands for it', () => {
  const sleep =
    'sleepMode: enable\nsleepEndpoints: [{ endpoint: /sleep }]\nwakeEndpoints: [{ endpoint: /wake_up }]'
  const { notes } = translate(models(`a:\n  cmd: /x \${PORT}\n${sleep.replaceAll(/^/gm, '  ')}`))
  expect(notes).toMatchObject([
    { path: ['models', 'a', 'sleepMode'], message: expect.stringContaining('state `localService.sleep`') },
  ])
})

const models = (text: string) => `models:\n${text.replaceAll(/^/gm, '  ')}`

describe('a command', () => {
  const argsOf = (cmd: string) => {
    const text = `run:\n  cmd: |\n${cmd.replaceAll(/^/gm, '    ')}\n`
    const [provider] = load(translate(models(text)).text).providers
    return provider?.localService?.args
  }

  test.each([
    ['/x --port ${PORT} a  b', ['--port', '15800', 'a', 'b']],
    [`/x \${PORT} "a b" 'c "d"' e\\ f ""`, ['15800', 'a b', 'c "d"', 'e f', '']],
    ['/x ${PORT} "{\\"a\\": \\"b c\\"}"', ['15800', '{"a": "b c"}']],
    ['/x ${PORT} a \\\n  # b\n\n# c\nd#e', ['15800', 'a', 'd#e']],
    ['/x ${PORT} \'\n\' "$HOME" `date` *', ['15800', '\n', '$HOME', '`date`', '*']],
    ['/x ${PORT} ${UNKNOWN} $${ESCAPED}', ['15800', '${UNKNOWN}', '$${ESCAPED}']],
    ['/x ${PORT} --dir ${env.HOME}/m', ['15800', '--dir', '/home/someone/m']],
  ])('%j has the words that llama-swap reads', (cmd, words) => {
    expect(argsOf(cmd)).toEqual(words)
  })

  test('of llama-server becomes an engine, with the model and without what the engine says', () => {
    const { text } = translate(
      models('a:\n  cmd: llama-server --host=127.0.0.1 --port=${PORT} --model=/m/a.gguf -c 4096'),
    )
    expect(text).toContain(`localService: { engine: 'llama.cpp', model: '/m/a.gguf', args: ['-c', '4096'] }`)
    expect(load(text).providers[0]?.baseUrl).toBe('http://127.0.0.1:15800/v1')
  })
})

describe('cmdStop', () => {
  const serviceOf = (text: string) => {
    const { text: written, notes } = translate(models(text))
    return { service: load(written).providers[0]?.localService, notes: notes.map(({ message }) => message) }
  }

  test('of a container stops a server outside of the tree of cmd', () => {
    const { service, notes } = serviceOf(
      'a: { cmd: "docker run -d --name a-${PORT} -p ${PORT}:80 i", cmdStop: "docker stop -t 5 a-${PORT}" }',
    )
    expect(service).toMatchObject({
      external: true,
      stopCommand: [['/usr/bin/docker', 'stop', '-t', '5', 'a-15800']],
    })
    expect(notes).toEqual([])
  })

  test('of another program is run before SIGTERM', () => {
    const { service } = serviceOf('a: { cmd: "bash run.sh ${PORT}", cmdStop: "bash stop.sh" }')
    expect(service).toMatchObject({ external: false, stopCommand: [['/usr/bin/bash', 'stop.sh']] })
  })

  test('that signals the process is left out, and told', () => {
    const { service, notes } = serviceOf('a: { cmd: "bash run.sh ${PORT}", cmdStop: "kill -15 ${PID}" }')
    expect(service).not.toHaveProperty('stopCommand')
    expect(notes).toEqual([expect.stringMatching(/^left out: leasehold ends the process/)])
  })
})

test('macros know those above them, the model and each other, and circles end', () => {
  const { text, notes } = translate(`
macros:
  a: "-a \${b} \${MODEL_ID}"
  b: 1
  round: "\${trip}"
  trip: "\${round}"
${models('x:\n  macros: { b: 2 }\n  cmd: /x ${PORT} ${a} ${round}')}
`)
  expect(load(text).providers[0]?.localService?.args.slice(0, 4)).toEqual(['15800', '-a', '2', 'x'])
  expect(notes.map(({ message }) => message)).toEqual([expect.stringMatching(/^\$\{\w+\} is no macro$/)])
})

test('macros that stand for more than any memory holds are left out', () => {
  const levels = Array.from({ length: 20 }, (_, level) => {
    const next = `\${m${level + 1}}`
    return `  m${level}: "${next} ${next} ${next} ${next}"\n`
  })
  const round = '  round: "${trip} ${trip}"\n  trip: "${round} ${round}"\n'
  const { notes } = translate(`macros:\n${levels.join('')}  m20: x\n${round}
${models('x:\n  cmd: /x ${PORT} ${m0} ${round}')}
`)
  expect(notes.map(({ message }) => message)).toContainEqual('${round} is no macro')
})

test('without groups one model runs at a time, and models of two exclusive groups never together', () => {
  const cmd = (id: string) => `${id}: { cmd: "/x ${id} \${PORT}" }\n`
  const groupsOf = (more: string) =>
    load(translate(`${models(['a', 'b', 'c', 'd'].map(cmd).join(''))}\n${more}`).text).leasehold.groups
  expect(groupsOf('')).toEqual({ 'one-at-a-time': ['a', 'b', 'c', 'd'] })
  expect(groupsOf('groups: { g: { swap: false, exclusive: false, members: [a, b, c, d] } }')).toEqual({})
  expect(
    groupsOf('groups: { g: { swap: false, members: [a, b] }, h: { swap: false, members: [c, d] } }'),
  ).toEqual({
    'one-at-a-time': ['a', 'c'],
    'one-at-a-time-2': ['a', 'd'],
    'one-at-a-time-3': ['b', 'c'],
    'one-at-a-time-4': ['b', 'd'],
  })
  expect(groupsOf('matrix: { sets: { s: "a & b | (c & d)" } }')).toEqual({
    'one-at-a-time': ['a', 'c'],
    'one-at-a-time-2': ['a', 'd'],
    'one-at-a-time-3': ['b', 'c'],
    'one-at-a-time-4': ['b', 'd'],
  })
})

test.each([
  ['proxy: "localhost:99999"', /is not a URL|URL/],
  ['proxy: "http://user:secret@127.0.0.1:9000"', /user|credentials|password/],
  ['env: ["A\\0B=1"]', /NUL|variable/],
])('a model with %s is left out, and the others stay', (odd, reason) => {
  const { text, notes } = translate(models(`odd:\n  cmd: /x --port 1\n  ${odd}\ngood:\n  cmd: /x \${PORT}\n`))
  expect(notes).toMatchObject([{ path: ['models', 'odd'], message: expect.stringMatching(reason) }])
  expect(load(text).providers.map(({ id }) => id)).toEqual(['good'])
})

test('numbers that are too large for leasehold become the largest that it takes', () => {
  const { text } = translate(
    `globalTTL: 1e12\nstartPort: 99999\nhealthCheckTimeout: 1e9\n${models('a:\n  cmd: /x ${PORT}\n  ttl: 31536000\n  concurrencyLimit: 1e9\n')}`,
  )
  const [provider] = load(text).providers
  const most = 24 * 24 * 3_600_000
  expect(provider?.localService).toMatchObject({ idleStopMs: most, readyTimeoutMs: most, maxConcurrent: 1e6 })
})

test('an alias that is the id of another model is left out', () => {
  const { text, notes } = translate(
    models('a: { cmd: "/x ${PORT}", aliases: [b, c] }\nb: { cmd: "/y ${PORT}" }\n'),
  )
  expect(notes.map(({ message }) => message)).toEqual(['"b" is already a name of b, so it is left out'])
  expect(resolveModel(load(text), 'b').ref).toBe('b/b')
  expect(resolveModel(load(text), 'c').ref).toBe('a/a')
})

test.each([
  ['a: [', /^config\.yaml:1:\d+: /],
  ['models: {}\nmodels: {}', /^config\.yaml:2:1: Map keys must be unique/],
  ['a: \t- b', /^config\.yaml:1:/],
])('%j is told with its line', (text, message) => {
  expect(() => parseYaml(text, 'config.yaml')).toThrow(message)
})

test('a file that grows without end is refused', () => {
  const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]']
  for (let index = 1; index < 9; index += 1)
    lines.push(`a${index}: &a${index} [${Array.from({ length: 10 }, () => `*a${index - 1}`).join(', ')}]`)
  expect(() => parseYaml(lines.join('\n'), 'config.yaml')).toThrow(/Excessive alias count/)
})

test.each([
  '',
  '[]',
  'models:',
  'models: [a]',
  'models: { a: 7, b: , c: [] }',
  'groups: 7\nmodels: { a: { cmd: 7 } }',
])('the odd file %j has no models, or says what is odd', (text) => {
  expect(() => translate(text)).not.toThrow()
})

const ODD: readonly unknown[] = [
  ...[null, true, 0, -1, 1e12, 1.5, Number.NaN, '', ' ', 'x', 'a b', '/', '-', '../..', "'", '"', 'default'],
  ...[
    '${PORT}',
    '${env.X}',
    '\u202e\n// }',
    '__proto__',
    'constructor',
    [],
    {},
    [null],
    ['a', 'a'],
    { a: 1 },
  ],
]

/** The value with parts replaced, left out and renamed at random. */
function mutate(value: unknown, random: () => number): unknown {
  const pick = () => structuredClone(ODD[Math.floor(random() * ODD.length)])
  if (random() < 0.05) return pick()
  if (Array.isArray(value)) return value.map((item) => mutate(item, random))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, item]) => {
      const fate = random()
      return fate < 0.03 ? [] : [[fate < 0.05 ? String(pick()) : key, mutate(item, random)]]
    }),
  )
}

for (const { numRuns, tags } of listRandomRuns(20, 500))
  test(`${numRuns} files with odd values have valid translations`, { tags, timeout: 120_000 }, () => {
    fc.assert(
      fc.property(fc.constantFrom(...files), fc.integer(), (name, seed) => {
        let state = seed >>> 0
        const random = () => {
          state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
          return state / 2 ** 32
        }
        const { value } = parseYaml(readFileSync(join(folder, name), 'utf8'), name)
        const options = { env: {}, file: name, folder: '/x', findProgram: () => undefined }
        const { text } = translateSwap({ value: mutate(value, random), lineOf: () => 1 }, options)
        expect(() => parseConfig(text, { env: addPlaceholders(text, {}) })).not.toThrow()
      }),
      { numRuns },
    )
  })
