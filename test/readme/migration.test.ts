import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { swapKeys } from '../../src/cli/llama-swap/swap-keys.ts'
import { toJsonSchema } from '../../src/config/schema.ts'

const page = readFileSync(new URL('../../src/config/README.md', import.meta.url), 'utf8')

/** The cells of the rows of a section's table. */
function readRows(title: string): string[][] {
  const [, section = ''] = new RegExp(`\n## ${title}\n([\\s\\S]*?)(?:\n## |$)`).exec(page) ?? []
  return section
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .slice(2)
    .map((line) => line.split('|').slice(1, -1))
}

function listOptions(schema: unknown): string[] {
  if (typeof schema !== 'object' || schema === null) return []
  const own: object = Reflect.get(schema, 'properties') ?? {}
  return [...Object.keys(own), ...Object.values(schema).flatMap(listOptions)]
}

/** The names of the keys that `init --from llama-swap` knows, and what a configuration of it holds besides keys. */
const LLAMA_SWAP = [
  ...new Set(Object.keys(swapKeys).flatMap((key) => key.split('.').filter((name) => name !== '*'))),
  ...['swap', 'exclusive', 'persistent', 'members', 'evict_costs', 'PORT', 'MODEL_ID'],
]

const OLLAMA = [
  ...[
    'OLLAMA_HOST',
    'OLLAMA_MODELS',
    'OLLAMA_KEEP_ALIVE',
    'OLLAMA_CONTEXT_LENGTH',
    'OLLAMA_MAX_LOADED_MODELS',
  ],
  ...[
    'OLLAMA_NUM_PARALLEL',
    'OLLAMA_MAX_QUEUE',
    'OLLAMA_LOAD_TIMEOUT',
    'OLLAMA_ORIGINS',
    'OLLAMA_FLASH_ATTENTION',
  ],
  ...['OLLAMA_KV_CACHE_TYPE', 'OLLAMA_SCHED_SPREAD', 'OLLAMA_GPU_OVERHEAD', 'OLLAMA_DEBUG', 'keep_alive'],
  ...['FROM', 'PARAMETER', 'TEMPLATE', 'SYSTEM', 'ADAPTER', 'LICENSE', 'MESSAGE'],
  ...['num_ctx', 'temperature', 'top_p', 'top_k', 'min_p', 'seed', 'repeat_penalty', 'stop', 'num_predict'],
  ...['num_gpu', 'num_thread', 'num_batch'],
]

test.each([
  ['Coming from llama-swap', LLAMA_SWAP],
  ['Coming from Ollama', OLLAMA],
])('%s: every key has a row', (title, keys) => {
  const words = new Set(readRows(title).flatMap(([theirs = '']) => theirs.match(/\w+/g) ?? []))
  expect(keys.filter((key) => !words.has(key))).toEqual([])
})

test.each(['Coming from llama-swap', 'Coming from Ollama'])('%s: every option of ours exists', (title) => {
  const known = new Set([...listOptions(toJsonSchema()), 'defaults', 'model', '$include'])
  const named = readRows(title)
    .flatMap(([, ours = '']) => [...ours.matchAll(/`([^`]+)`/g)])
    .map(([, path = '']) => path.replaceAll('[]', '').split('.').at(-1) ?? '')
    .filter((name) => !name.startsWith('${'))
  expect(named.length).toBeGreaterThan(20)
  expect(named.filter((name) => !known.has(name))).toEqual([])
})

test('Coming from llama-swap: the rows of a key name what its translation makes of it', () => {
  const rows = readRows('Coming from llama-swap').map(([theirs = '', ...ours]) => ({
    theirs,
    ours: ours.join(' '),
  }))
  const known = new Set(listOptions(toJsonSchema()))
  const missing = Object.entries(swapKeys).flatMap(([key, meaning]) => {
    const name = key.split('.').at(-1) ?? ''
    const told = rows.filter(({ theirs }) => theirs.match(/\w+/g)?.includes(name)).map(({ ours }) => ours)
    const options = [...meaning.matchAll(/`[\w.[\]]*?(\w+)`/g)].map(([, option = '']) => option)
    return options
      .filter((option) => known.has(option) && !told.some((text) => text.includes(option)))
      .map((option) => `${key}: ${option}`)
  })
  expect(missing).toEqual([])
})
