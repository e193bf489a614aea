import { describe, expect, test } from 'vitest'
import { parseConfig, parseWithValues } from '../../src/config/load.ts'
import { toPrintable } from '../../src/config/printable.ts'
import { catchProblems, toText } from './reports.ts'

const read = (service: string, defaults: string, more = '') =>
  parseConfig(
    toText(
      `p: { baseUrl: 'http://127.0.0.1:1/v1', localService: { ${service} }, ${more} }`,
      `leasehold: { defaults: { ${defaults} } }`,
    ),
  )
const serviceOf = (...given: Parameters<typeof read>) => read(...given).providers[0]?.localService

describe('leasehold.defaults', () => {
  test('are taken over by a service that does not state them, and a program of its own needs none of theirs', () => {
    expect(
      serviceOf(`command: '/own', idleStopMs: 5000`, `idleStopMs: '10m', stopGraceMs: '3s', pinned: true`),
    ).toMatchObject({ command: '/own', idleStopMs: 5000, stopGraceMs: 3000, pinned: true, maxQueue: 1000 })
    expect(serviceOf('', `command: '/x', args: ['a']`)).toMatchObject({ command: '/x', args: ['a'] })
  })

  test('leave everything else as it is without them', () => {
    const { key: _, ...service } = serviceOf(`command: '/x'`, '') ?? {}
    expect(service).toEqual({ ...serviceOf(`command: '/x'`, `idleStopMs: 0`), key: undefined })
  })

  test('merge variables by name; arguments and needs are one value', () => {
    expect(
      serviceOf(
        `command: '/x', env: { B: '2' }, args: ['mine'], needs: {}`,
        `env: { A: '1', B: '1' }, args: ['theirs'], needs: { vramMiB: 9 }`,
      ),
    ).toMatchObject({ env: { A: '1', B: '2' }, args: ['mine'], needs: {} })
  })

  test('of another program are not for this one, and the rest of them is', () => {
    const defaults = `command: '/x', args: ['a'], healthUrl: 'http://127.0.0.1:1/up', env: { A: '1' }, idleStopMs: '1m'`
    expect(serviceOf(`command: '/other'`, defaults)).toMatchObject({
      args: [],
      healthUrl: 'http://127.0.0.1:1/v1/models',
      env: { A: '1' },
      idleStopMs: 60_000,
    })
    expect(serviceOf(`command: '/x'`, defaults)).toMatchObject({ args: ['a'] })
  })

  test('are not for providers that leasehold does not run', () => {
    const text = toText(`p: { baseUrl: 'http://h' }`, `leasehold: { defaults: { command: '/x' } }`)
    expect(parseConfig(text).providers[0]?.localService).toBeUndefined()
  })

  test('reach replicas, which may differ from them', () => {
    const { providers } = read(
      `command: '/x'`,
      `env: { A: '1' }`,
      `replicas: [{ baseUrl: 'http://127.0.0.1:2/v1', localService: { env: { A: '2' } } },
                  { baseUrl: 'http://127.0.0.1:3/v1', localService: {} }]`,
    )
    expect(providers.map(({ localService }) => localService?.env.A)).toEqual(['1', '2', '1'])
  })

  test('that are wrong are told once, where they are written', () => {
    const providers = `a: { localService: { command: '/a', args: ['\${PORT}'] } },
                       b: { localService: { command: '/b', args: ['\${PORT}'] }, replicas: [{ localService: {} }] }`
    const problemsOf = (defaults: string) =>
      catchProblems(toText(providers, `leasehold: { defaults: { ${defaults} } }`)).map(
        ({ path, message }) => `${path} ${message}`,
      )
    expect(problemsOf(`idleStopMs: 'soon'`)).toEqual([
      expect.stringMatching(/^leasehold\.defaults\.idleStopMs must be a whole number of milliseconds/),
    ])
    expect(problemsOf(`idleStopM: 1`)).toEqual([
      'leasehold.defaults.idleStopM unknown key "idleStopM"; the nearest known key is "idleStopMs"',
    ])
    expect(problemsOf(`needs: { vram: 1 }`)).toEqual([
      'leasehold.defaults.needs.vram there is no budget "vram"; leasehold.budgets has none',
    ])
    expect(problemsOf(`cwd: 'here'`)).toEqual(['leasehold.defaults.cwd "here" must be an absolute path'])
    expect(problemsOf(`cwd: 5`)).toHaveLength(1)
    expect(catchProblems(toText(providers, `leasehold: { defaults: [] }`))).toHaveLength(1)
  })

  test('that look wrong are a warning, once, where they are written', () => {
    const { problems } = read(
      `command: '/x'`,
      `env: { MODELS: '~/models' }, idleStopMs: 300, inheritEnv: ['A']`,
      `replicas: [{ baseUrl: 'http://127.0.0.1:2/v1', localService: {} }]`,
    )
    expect(problems.map(({ path }) => path)).toEqual([
      'leasehold.defaults.env.MODELS',
      'leasehold.defaults.idleStopMs',
    ])
  })

  test('hold no secret that is printed', () => {
    const loaded = parseWithValues(
      toText(
        `p: { baseUrl: 'http://127.0.0.1:1/v1', localService: { command: '/x' } }`,
        `leasehold: { defaults: { env: { TOKEN: 'canary-1' } } }`,
      ),
    )
    expect(JSON.stringify(loaded.config)).toContain('canary-1')
    expect(JSON.stringify(toPrintable(loaded))).not.toContain('canary-1')
  })
})
