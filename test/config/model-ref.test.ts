import { describe, expect, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import { resolveCandidates, resolveModel } from '../../src/config/model-ref.ts'
import { ModelNotFoundError } from '../../src/errors.ts'

const config = parseConfig(`{
  models: { providers: {
    Inferrs: { baseUrl: 'http://h:1/v1', models: [
      { id: 'google/gemma-4-E2B-it', params: { temperature: 0.1, top_k: 5 } }, { id: 'Qwen3' }, { id: 'shared' },
    ] },
    llama: { baseUrl: 'http://h:2/v1', models: [{ id: 'shared' }, { id: 'twin' }, { id: 'TWIN' }] },
    ds4: { baseUrl: 'http://h:3/v1', models: [] },
  } },
  agents: { defaults: {
    model: { primary: 'fast', fallbacks: ['llama/shared', 'inferrs/qwen3', 'ds4/flash'] },
    models: {
      'inferrs/QWEN3': { alias: 'Fast', params: { maxTokens: 5 } },
      'inferrs/google/gemma-4-e2b-it': { alias: 'team/Gemma', params: { temperature: 0.9 } },
      'ds4/Flash': { params: { temperature: 0 } },
    },
  } },
}`)
const bare = parseConfig(
  `{ models: { providers: { a: { baseUrl: 'http://h', models: [{ id: 'default' }] } } } }`,
)

describe('model references', () => {
  test.each([
    ['Inferrs/google/gemma-4-E2B-it', 'Inferrs/google/gemma-4-E2B-it'],
    ['inferrs/GOOGLE/gemma-4-e2b-it', 'Inferrs/google/gemma-4-E2B-it'],
    ['google/gemma-4-E2B-it', 'Inferrs/google/gemma-4-E2B-it'],
    ['Google/Gemma-4-e2b-it', 'Inferrs/google/gemma-4-E2B-it'],
    ['qwen3', 'Inferrs/Qwen3'],
    ['FAST', 'Inferrs/Qwen3'],
    ['TEAM/gemma', 'Inferrs/google/gemma-4-E2B-it'],
    ['llama/twin', 'llama/twin'],
    ['llama/TWIN', 'llama/TWIN'],
    ['DS4/Any/Thing', 'ds4/Any/Thing'],
  ])('%s means %s', (ref, expected) => {
    expect(resolveModel(config, ref)).toMatchObject({ ref: expected, source: 'explicit' })
  })

  test.each([undefined, '', 'default'])('%j means the default model', (ref) => {
    expect(resolveModel(config, ref)).toMatchObject({ ref: 'Inferrs/Qwen3', source: 'default' })
  })

  test('without a default model, "default" is a name like any other and nothing is unknown', () => {
    expect(resolveModel(bare, 'default')).toMatchObject({ ref: 'a/default', source: 'explicit' })
    const two = parseConfig(
      `{ models: { providers: { a: { baseUrl: 'http://h', models: [{ id: 'x' }, { id: 'y' }] } } } }`,
    )
    expect(catchNotFound(undefined, two).message).toMatch(
      /^No default model is configured\. Name a model \(for instance a\/[xy]\), or set agents\.defaults\.model\.$/,
    )
    expect(catchNotFound(undefined, parseConfig('{}'))).toMatchObject({ ref: 'default', candidates: [] })
  })

  test('a target carries the model and its parameters, those of the reference winning', () => {
    const target = resolveModel(config, 'google/gemma-4-E2B-it')
    expect(target.params).toEqual({ temperature: 0.9, top_k: 5 })
    expect(target.model).toBe(config.providers[0]?.models[0])
    expect(target.modelId).toBe('google/gemma-4-E2B-it')
  })

  test('a provider that lists no models passes the id on, and its parameters still apply', () => {
    const target = resolveModel(config, 'ds4/Flash')
    expect(target).toMatchObject({ modelId: 'Flash', params: { temperature: 0 } })
    expect(target.model).toBeUndefined()
  })

  test.each([
    ['shared', ['Inferrs/shared', 'llama/shared']],
    ['llama/Twin', ['llama/twin', 'llama/TWIN']],
  ])('%s is ambiguous and names all that fit', (ref, candidates) => {
    expect(catchNotFound(ref)).toMatchObject({ code: 'LEASEHOLD_MODEL_AMBIGUOUS', candidates })
  })

  test.each([
    ['inferrs/qwen4', 'Inferrs/Qwen3'],
    ['infers/qwen3', 'Inferrs/Qwen3'],
    ['fsat', 'Inferrs/Qwen3'],
    ['gogle/gemma-4-E2B-it', 'Inferrs/google/gemma-4-E2B-it'],
    ['ds5/flash', 'ds4/flash'],
    ['llama/sharde', 'llama/shared'],
  ])('%s is unknown, and %s is suggested first', (ref, nearest) => {
    const error = catchNotFound(ref)
    expect(error.code).toBe('LEASEHOLD_MODEL_UNKNOWN')
    expect(error.candidates[0]).toBe(nearest)
  })

  test.each(['/', '/qwen3', 'inferrs/', 'inferrs', '__proto__', 'constructor/name'])(
    '%s is unknown, with at most five full references to choose from',
    (ref) => {
      const { candidates } = catchNotFound(ref)
      expect(candidates.length).toBeGreaterThan(0)
      expect(candidates.length).toBeLessThanOrEqual(5)
      for (const candidate of candidates) expect(resolveModel(config, candidate).ref).toBe(candidate)
    },
  )

  test.each([
    ['nope', undefined],
    ['llama/nope', undefined],
    ['llama/sharde', 'Did you mean llama/shared?'],
  ])('%s is asked about near names only, and else told some that exist', (ref, question) => {
    const { message } = catchNotFound(ref)
    expect(message).toContain(question ?? 'Name a configured model, for instance ')
    expect(message.includes('Did you mean')).toBe(question !== undefined)
  })

  test('a very long name is cut in the error', () => {
    expect(catchNotFound('x'.repeat(1_000_000)).message.length).toBeLessThan(2000)
  })
})

describe('candidates for failover', () => {
  const toRefs = (ref: string | undefined, options?: { failover: boolean }) =>
    resolveCandidates(config, ref, options).map((target) => target.ref)

  test('fallbacks follow a default model, each model once', () => {
    expect(toRefs(undefined)).toEqual(['Inferrs/Qwen3', 'llama/shared', 'ds4/flash'])
  })

  test('a model that was named stands alone', () => {
    expect(toRefs('llama/twin')).toEqual(['llama/twin'])
  })

  test('a model that was named has fallbacks when that is asked for', () => {
    expect(toRefs('llama/shared', { failover: true })).toEqual(['llama/shared', 'Inferrs/Qwen3', 'ds4/flash'])
  })
})

function catchNotFound(ref: string | undefined, where = config): ModelNotFoundError {
  try {
    resolveModel(where, ref)
  } catch (error) {
    if (error instanceof ModelNotFoundError) return error
    throw error
  }
  throw new Error('a ModelNotFoundError was expected')
}
