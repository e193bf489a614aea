import { describe, expect, test } from 'vitest'
import { parseConfig, parseWithValues } from '../../src/config/load.ts'
import { listReplicas, resolveModel } from '../../src/config/model-ref.ts'
import { toPrintable } from '../../src/config/printable.ts'
import { catchProblems, toText } from './reports.ts'

const service = `{ command: '/bin/server', args: ['--port', '1'], idleStopMs: 5000, healthUrl: 'http://localhost:1/health?x=1' }`
const provider = (replicas: string, more = '') =>
  toText(
    `llama: { baseUrl: 'http://localhost:1/v1', apiKey: 'key', localService: ${service}, models: [{ id: 'qwen' }], replicas: [${replicas}] }`,
    more,
  )

describe('a replica', () => {
  test('is a service of its own with the options of its provider, except its own', () => {
    const config = parseConfig(
      provider(`{ baseUrl: 'http://localhost:2/v1', localService: { args: ['--port', '2'] } }`),
    )
    expect(config.problems).toEqual([])
    const [first, second] = config.providers
    expect(second).toMatchObject({
      id: 'llama#2',
      baseUrl: 'http://localhost:2/v1',
      apiKey: 'key',
      models: [{ id: 'qwen' }],
      localService: {
        command: '/bin/server',
        args: ['--port', '2'],
        idleStopMs: 5000,
        healthUrl: 'http://localhost:2/health?x=1',
      },
    })
    expect(second?.localService?.key).not.toBe(first?.localService?.key)
  })

  test('without a localService is external, and may have a key and headers of its own', () => {
    const { providers } = parseConfig(
      provider(`{ baseUrl: 'http://far:9/v1', apiKey: 'other', headers: { 'x-a': 'b' } }`),
    )
    expect(providers[1]).toMatchObject({ apiKey: 'other', headers: { 'x-a': 'b' } })
    expect(providers[1]?.localService).toBeUndefined()
    expect(
      JSON.stringify(toPrintable(parseWithValues(provider(`{ baseUrl: 'http://f:9/v1', apiKey: 'hush' }`)))),
    ).not.toContain('hush')
  })

  test('is tried for every name of the model, and by its own id alone', () => {
    const more = `agents: { defaults: { models: { 'llama/qwen': { alias: 'q', params: { top_k: 3 } } } } }`
    const config = parseConfig(
      provider(`{ baseUrl: 'http://localhost:2/v1' }, { baseUrl: 'http://localhost:3/v1' }`, more),
    )
    for (const ref of ['llama/qwen', 'qwen', 'q']) {
      const targets = listReplicas(config, resolveModel(config, ref))
      expect(targets.map((target) => target.ref)).toEqual(['llama/qwen', 'llama#2/qwen', 'llama#3/qwen'])
      for (const { params } of targets) expect(params).toEqual({ top_k: 3 })
    }
    expect(listReplicas(config, resolveModel(config, 'llama#3/qwen'))).toHaveLength(1)
  })

  test.each([
    ["{ baseUrl: 'http://localhost:1/v1', localService: { args: [] } }", 'would both listen on localhost:1'],
    [
      "{ baseUrl: 'http://localhost:2/v1', localService: { comand: '/x' } }",
      'the nearest known key is "command"',
    ],
    ["{ baseUrl: 'http://localhost:2/v1', localService: { command: 'server' } }", 'must be an absolute path'],
  ])('that is %j is refused at its place in the file', (replica, message) => {
    const problems = catchProblems(provider(replica)).filter(({ severity }) => severity === 'error')
    expect(problems).toMatchObject([
      {
        path: expect.stringMatching(/^models\.providers\.llama\.replicas\[0\]/),
        message: expect.stringContaining(message),
      },
    ])
    expect(problems[0]?.column).toBeGreaterThan(100)
  })

  test('cannot differ from a localService that is not there', () => {
    const text = toText(
      `far: { baseUrl: 'http://localhost:1/v1', replicas: [{ baseUrl: 'http://localhost:2/v1', localService: {} }] }`,
    )
    expect(catchProblems(text)).toMatchObject([{ path: 'models.providers.far.replicas[0].localService' }])
  })
})
