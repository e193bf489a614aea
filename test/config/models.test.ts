import { describe, expect, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import { resolveModel } from '../../src/config/model-ref.ts'
import { catchProblems, toText } from './reports.ts'

const provider = (models: string) => `p: { baseUrl: 'http://h', models: [${models}] }`

describe('an entry of models', () => {
  test('has other names of its own, which stand beside those of agents.defaults.models', () => {
    const { aliases } = parseConfig(
      toText(
        provider(`{ id: 'a', alias: 'one' }, { id: 'b', alias: ['two', 'three'] }`),
        `agents: { defaults: { model: 'THREE', models: { 'p/a': { alias: 'four' } } } }`,
      ),
    )
    expect(aliases.map(({ alias, ref }) => [alias, ref])).toEqual([
      ['one', 'p/a'],
      ['two', 'p/b'],
      ['three', 'p/b'],
      ['four', 'p/a'],
    ])
  })

  test('whose other name is taken is refused at its place', () => {
    const models = `{ id: 'a', alias: 'x' }, { id: 'b', alias: ['y', 'X'] }`
    expect(catchProblems(toText(provider(models)))).toMatchObject([
      {
        path: 'models.providers.p.models[1].alias[1]',
        message: 'the alias "X" is already taken by p/a',
        line: 1,
      },
    ])
    const twice = parseConfig(
      toText(
        provider(`{ id: 'a', alias: 'x' }`),
        `agents: { defaults: { models: { 'p/a': { alias: 'x' } } } }`,
      ),
    )
    expect(twice.problems).toMatchObject([{ message: 'the alias "x" is listed twice' }])
  })

  test('may share a loaded model with another, under params of its own', () => {
    const config = parseConfig(
      toText(
        provider(
          `{ id: 'qwen' }, { id: 'qwen-cold', alias: 'cold', upstreamId: 'qwen', params: { temperature: 0 } }`,
        ),
      ),
    )
    expect(resolveModel(config, 'cold')).toMatchObject({
      ref: 'p/qwen-cold',
      modelId: 'qwen-cold',
      upstreamId: 'qwen',
      params: { temperature: 0 },
    })
    expect(resolveModel(config, 'qwen')).toMatchObject({ ref: 'p/qwen', upstreamId: 'qwen', params: {} })
    const any = parseConfig(toText(`any: { baseUrl: 'http://h' }`))
    expect(resolveModel(any, 'any/Thing')).toMatchObject({ modelId: 'Thing', upstreamId: 'Thing' })
  })

  test('takes context for contextWindow, but not both', () => {
    const { providers } = parseConfig(toText(provider(`{ id: 'a', context: 4096, maxTokens: 9000 }`)))
    expect(providers[0]?.models[0]).toMatchObject({ contextWindow: 4096, maxTokens: 4096 })
    expect(catchProblems(toText(provider(`{ id: 'a', context: 1, contextWindow: 1 }`)))).toMatchObject([
      {
        path: 'models.providers.p.models[0].context',
        message: 'is short for contextWindow; set one of them',
      },
    ])
  })

  test.each(['model', 'messages', 'prompt', 'input', 'stream'])('cannot drop %s', (name) => {
    expect(catchProblems(toText(provider(`{ id: 'a', dropParams: ['top_k', '${name}'] }`)))).toMatchObject([
      {
        path: 'models.providers.p.models[0].dropParams[1]',
        message: `a request cannot be without "${name}"`,
      },
    ])
  })

  test('names the nearest key', () => {
    expect(catchProblems(toText(provider(`{ id: 'a', dropParam: ['x'], unlistd: true }`)))).toMatchObject([
      { message: 'unknown key "dropParam"; the nearest known key is "dropParams"' },
      { message: 'unknown key "unlistd"; the nearest known key is "unlisted"' },
    ])
  })
})
