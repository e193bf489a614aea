import { expect, test } from 'vitest'
import { type DraftOptions, draftConfig } from '../../../src/cli/init/draft.ts'
import type { FoundModel } from '../../../src/cli/init/find-models.ts'
import { formatJson5, pathKey } from '../../../src/cli/init/json5-text.ts'
import { parseConfig } from '../../../src/config/load.ts'
import { resolveModel } from '../../../src/config/model-ref.ts'

const GIB = 1024 ** 3

function createModel(file: string, more: Partial<FoundModel> = {}): FoundModel {
  return {
    file,
    name: file,
    architecture: 'x',
    kind: 'chat',
    quantization: 'Q4_K_M',
    contextTokens: 32_768,
    template: { tools: true, thinking: false },
    bytes: 5 * GIB,
    missing: [],
    cut: [],
    hasVocabulary: true,
    hasWeights: true,
    projectors: [],
    layers: Array.from({ length: 32 }, () => ({ keyValues: 1024, valueValues: 1024 })),
    ...more,
  }
}

const draft = (models: readonly FoundModel[], more: Partial<DraftOptions> = {}) => {
  const options = { models, engine: 'llama.cpp', contextTokens: 16_384, idleStop: '10m', ...more }
  const { text, entries } = draftConfig(options)
  return { text, entries, config: parseConfig(text, { env: {} }) }
}

test('a file of one model has its size and the formula in comments, and validates', () => {
  const { text, config } = draft([createModel('/m/Qwen3-8B-Q4_K_M.gguf', { name: 'Qwen3 8B' })])
  expect(config.problems).toEqual([])
  expect(
    text,
  ).toBe(`// Configuration of leasehold. \`leasehold config validate\` checks it, \`leasehold serve\` runs it.
// A request names a model by its id or its alias. The first request for a model starts its server.
//
// The memory of a model is about: its weights (the size of its files) + its cache (the sum over its layers of
// min(context, window) × (keys + values) × 2 bytes) + buffers of 0.1 to 1 GiB.
{
  leasehold: {
    // What every localService takes over. A server stops 10m after its last request.
    defaults: { engine: 'llama.cpp', idleStopMs: '10m' },
  },
  // The model of a request that names none.
  agents: { defaults: { model: 'qwen3-8b/qwen3-8b-q4_k_m' } },
  models: {
    providers: {
      // Qwen3 8B, Q4_K_M, chat + tools, trained with 32768 tokens
      // About 7.0 GiB: weights 5.0 GiB + cache 2.0 GiB at 16384 tokens.
      'qwen3-8b': {
        localService: { model: '/m/Qwen3-8B-Q4_K_M.gguf', context: 16384 },
        models: [{ id: 'qwen3-8b-q4_k_m', alias: 'qwen3-8b' }],
      },
    },
  },
}
`)
})

test('each kind gets its arguments, and a context that it was trained with', () => {
  const { config } = draft([
    createModel('/m/small.gguf', { contextTokens: 2048, template: { tools: false, thinking: true } }),
    createModel('/m/embed.gguf', { kind: 'embedding' }),
    createModel('/m/rank.gguf', { kind: 'reranker', contextTokens: 512 }),
    createModel('/v/eye.gguf', { projectors: ['/v/mmproj-BF16.gguf', '/v/mmproj-F16.gguf'] }),
  ])
  expect(config.problems).toEqual([])
  const args = (id: string) =>
    config.providers.find((one) => one.id === id)?.localService?.args.join(' ') ?? ''
  expect(args('small')).toMatch(/--ctx-size 2048$/)
  expect(args('embed')).toMatch(/--ctx-size 8192 --embeddings --batch-size 8192 --ubatch-size 8192$/)
  expect(args('rank')).toMatch(/--ctx-size 512 --reranking --batch-size 512 --ubatch-size 512$/)
  expect(args('eye')).toMatch(/--mmproj \/v\/mmproj-F16.gguf$/)
  expect(config.providers.map(({ models: [model] }) => [model?.input, model?.reasoning])).toEqual([
    [['text'], true],
    [['text'], false],
    [['text'], false],
    [['text', 'image'], false],
  ])
})

test('a projector goes with the model that it names, and one without a name with the only model of its folder', () => {
  const projectors = ['/m/mmproj-gemma-3-4b-f16.gguf', '/m/mmproj-F16.gguf']
  const { config } = draft([
    createModel('/m/gemma-3-4b-it-Q4_K_M.gguf', { projectors }),
    createModel('/m/llama-Q4_K_M.gguf', { projectors }),
  ])
  expect(config.providers.map(({ localService }) => localService?.args.at(-1))).toEqual([
    projectors[0],
    '16384',
  ])
})

test('models that do not fit together are loaded one at a time, and embeddings beside them', () => {
  const models = [
    createModel('/m/a.gguf'),
    createModel('/m/b.gguf', { bytes: 6 * GIB }),
    createModel('/m/e.gguf', { kind: 'embedding', bytes: GIB }),
  ]
  for (const memoryBytes of [undefined, 10 * GIB])
    expect(draft(models, { memoryBytes }).config.leasehold.groups).toEqual({ chat: ['a', 'b'] })
  const { config } = draft(models, { memoryBytes: 64 * GIB })
  expect(config.leasehold.groups).toEqual({})
  expect(resolveModel(config, undefined).ref).toBe('b/b-q4_k_m')
})

test('hostile names neither end a comment nor name a variable', () => {
  const { text, config } = draft([
    createModel(`/m/\${HOME}-\u202eit's.gguf`, {
      name: 'x\n}, evil: true, //\u2028 y',
      quantization: undefined,
    }),
  ])
  expect(config.problems).toEqual([])
  expect(config.providers[0]?.localService?.args).toContain(`/m/\${HOME}-\u202eit's.gguf`)
  expect(text.split('\n').filter((line) => line.includes('evil'))).toEqual([
    expect.stringMatching(/^ +\/\/ x}, evil/),
  ])
})

test('a long list has an option and its value on one line', () => {
  const args = [
    '--flag',
    '--tensor-split',
    '1,1',
    ...Array.from({ length: 9 }, (_, index) => [`--option-${index}`, 'a value']).flat(),
    '-1',
  ]
  const text = formatJson5({ args, 'odd key': null }, new Map([[pathKey('args'), ['why']]]))
  expect(text).toBe(`{
  // why
  args: [
    '--flag', '--tensor-split', '1,1', '--option-0', 'a value', '--option-1', 'a value',
    '--option-2', 'a value', '--option-3', 'a value', '--option-4', 'a value', '--option-5', 'a value',
    '--option-6', 'a value', '--option-7', 'a value', '--option-8', 'a value', '-1',
  ],
  'odd key': null,
}
`)
})
