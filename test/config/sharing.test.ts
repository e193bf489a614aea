import { describe, expect, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import { catchProblems } from './reports.ts'

const service = (port: number, options: object = {}) => ({
  baseUrl: `http://127.0.0.1:${port}/v1`,
  models: [{ id: 'm' }],
  localService: { command: '/bin/server', args: [String(port)], ...options },
})
const toText = (providers: object, leasehold: object = {}, agents: object = {}) =>
  JSON.stringify({ models: { providers }, leasehold, agents })

const messagesOf = (text: string) => catchProblems(text).map(({ path, message }) => `${path}: ${message}`)

describe('budgets and groups', () => {
  test('are limits, and what each service needs of them', () => {
    const config = parseConfig(
      toText(
        { a: service(1, { needs: { vramMiB: 9000 }, pinned: true, evictCost: 7 }), b: service(2) },
        { budgets: { vramMiB: 24_000 }, groups: { gpu: ['a', 'B'] }, preload: ['b'] },
      ),
    )
    expect(config.leasehold).toMatchObject({ budgets: { vramMiB: 24_000 }, groups: { gpu: ['a', 'B'] } })
    expect(config.providers[0]?.localService).toMatchObject({ needs: { vramMiB: 9000 }, pinned: true })
  })

  test('refuse a need that is larger than the whole budget', () => {
    const text = toText({ a: service(1, { needs: { vramMiB: 25_000 } }) }, { budgets: { vramMiB: 24_000 } })
    expect(messagesOf(text)).toEqual([
      'models.providers.a.localService.needs.vramMiB: 25000 is more than the whole budget, leasehold.budgets.vramMiB: 24000',
    ])
  })

  test('refuse a need of a replica where it is written', () => {
    const toReplica = (port: number, localService: object) => ({
      baseUrl: `http://127.0.0.1:${port}/v1`,
      localService: { args: [String(port)], ...localService },
    })
    const replicas = [toReplica(2, {}), toReplica(3, { needs: { vramMiB: 26_000 } })]
    const a = { ...service(1, { needs: { vramMiB: 25_000 } }), replicas }
    expect(messagesOf(toText({ a }, { budgets: { vramMiB: 24_000 } }))).toEqual([
      'models.providers.a.localService.needs.vramMiB: 25000 is more than the whole budget, leasehold.budgets.vramMiB: 24000',
      'models.providers.a.replicas[1].localService.needs.vramMiB: 26000 is more than the whole budget, leasehold.budgets.vramMiB: 24000',
    ])
  })

  test('refuse a need of a budget that is not there, and name the nearest', () => {
    const providers = { a: service(1, { needs: { vramMB: 1 } }) }
    expect(messagesOf(toText(providers, { budgets: { vramMiB: 24_000 } }))).toEqual([
      'models.providers.a.localService.needs.vramMB: there is no budget "vramMB"; the nearest is "vramMiB"',
    ])
    expect(messagesOf(toText(providers))).toEqual([
      'models.providers.a.localService.needs.vramMB: there is no budget "vramMB"; leasehold.budgets has none',
    ])
  })

  test.each([
    ['groups', { groups: { gpu: ['a', 'bb'] } }, 'leasehold.groups.gpu[1]'],
    ['preload', { preload: ['bb'] }, 'leasehold.preload[0]'],
  ])('refuse a provider in %s that is not there', (_, leasehold, path) => {
    const text = toText({ a: service(1), b: service(2) }, leasehold)
    expect(messagesOf(text)).toEqual([`${path}: there is no provider "bb"; the nearest is "b"`])
  })

  test('refuse a provider without a localService', () => {
    const { localService: _, ...remote } = service(1)
    expect(messagesOf(toText({ a: remote }, { preload: ['a'] }))).toEqual([
      'leasehold.preload[0]: "a" has no localService: leasehold does not run it, so it takes no room here',
    ])
  })

  test('refuse a way back to a default model that is not there', () => {
    expect(messagesOf(toText({ a: service(1) }, { returnToDefaultMs: 1 }))).toEqual([
      'leasehold.returnToDefaultMs: there is no default model: set agents.defaults.model',
    ])
  })

  test('refuse names that no budget can have', () => {
    const problems = catchProblems(toText({ a: service(1) }, { budgets: { 'group:x': 1 } }))
    expect(problems).toMatchObject([{ message: expect.stringContaining('is not the name of a budget') }])
  })

  test('warn of pinned services that leave no room for another', () => {
    const warningsOf = (providers: object, leasehold: object) =>
      parseConfig(toText(providers, leasehold)).problems.map(({ path, message }) => `${path}: ${message}`)
    const needy = (port: number, vramMiB: number, pinned = false) =>
      service(port, { needs: { vramMiB }, pinned })
    expect(
      warningsOf({ a: needy(1, 20, true), b: needy(2, 10), c: needy(3, 4) }, { budgets: { vramMiB: 24 } }),
    ).toEqual([
      'models.providers.b.localService: can only start while "a" is down: pinned services leave 4 of vramMiB, and it needs 10',
    ])
    expect(
      warningsOf({ a: service(1, { pinned: true }), b: service(2) }, { groups: { gpu: ['a', 'b'] } }),
    ).toEqual([
      'models.providers.b.localService: can only start while "a" is down: pinned services share the group gpu with it',
    ])
  })
})
