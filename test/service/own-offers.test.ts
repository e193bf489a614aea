import { expect, test } from 'vitest'
import type { Resident, SchedulerState } from '../../machines/scheduler.ts'
import { parseConfig } from '../../src/config/load.ts'
import { findClaimed, listOwnOffers } from '../../src/service/own-offers.ts'
import { toServiceKey, toServices } from '../../src/service/services.ts'

const localService = { command: '/bin/server' }
const config = parseConfig(
  JSON.stringify({
    models: {
      providers: {
        llama: {
          baseUrl: 'http://127.0.0.1:9001/v1',
          models: [{ id: 'm' }],
          localService,
          replicas: [{ baseUrl: 'http://127.0.0.1:9002/v1', localService: { command: '/bin/other' } }],
        },
        Zeta: { baseUrl: 'http://127.0.0.1:9003/v1', models: [{ id: 'z' }], localService },
        alpha: { baseUrl: 'http://127.0.0.1:9003/v1', models: [{ id: 'a' }], localService },
      },
    },
  }),
)
const claims = (isShared: (id: string) => boolean) =>
  [...toServices(config).values()].map(({ providers }) => [
    providers.map(({ id }) => id).join(),
    findClaimed(providers, isShared),
  ])

test('a start is claimed under the first provider that is shared; a replica is started without a claim', () => {
  expect(claims(() => true)).toEqual([
    ['llama', 'llama'],
    ['llama#2', undefined],
    ['Zeta,alpha', 'alpha'],
  ])
  expect(claims((id) => id === 'Zeta')).toEqual([
    ['llama', undefined],
    ['llama#2', undefined],
    ['Zeta,alpha', 'zeta'],
  ])
})

const sleeper = parseConfig(
  JSON.stringify({
    models: {
      providers: { llama: { baseUrl: 'http://127.0.0.1:9001/v1', models: [{ id: 'm' }], localService } },
    },
  }),
)
const [provider] = sleeper.providers
const key = provider === undefined ? '' : toServiceKey(provider)

const share = {
  address: undefined,
  unmeasured: [],
  isPinned: false,
  evictCost: 0,
  minResidencyMs: 0,
  maxStarveMs: 1_000,
}

/** What the card of this member says of a service that holds 2 of 10 asleep and needs 8 awake, beside another one. */
function tellOf(state: string, phase: Resident['phase'] | undefined, others: number) {
  const resident = (of: string, amount: number, its: Resident['phase']): Resident => ({
    ...{ key: of, generation: of, phase: its, holds: { vram: amount }, residency: 'over' as const },
    ...{ isAsleep: its === 'asleep', lastUse: 0, level: 0 },
  })
  const scheduling: SchedulerState = {
    limits: { vram: 10 },
    maxConcurrentStarts: 1,
    shares: {
      [key]: { ...share, service: 'llama', needs: { vram: 8 }, asleepNeeds: { vram: 2 }, canSleep: true },
      other: { ...share, service: 'other', needs: { vram: others } },
    },
    queuedStarts: [],
    residents: [
      ...(phase === undefined ? [] : [resident(key, phase === 'asleep' ? 2 : 8, phase)]),
      ...(others > 0 ? [resident('other', others, 'leased')] : []),
    ],
    level: 0,
  }
  const { llama } = listOwnOffers({
    config: sleeper,
    isShared: () => true,
    isOfMember: () => false,
    loadOf: () => ({ state, leases: 0, queue: 0, maxConcurrent: 4 }),
    startMsOf: () => null,
    contextOf: () => undefined,
    scheduling,
  })
  return llama && [llama.state, llama.isAsleep ?? false, llama.fit]
}

test('a card says whether a server sleeps, and whether there is room to wake it', () => {
  expect(tellOf('down.cold', undefined, 0)).toEqual(['cold', false, 'fits'])
  // What it holds asleep is a part of what it needs awake: 2 + 8 would be all of 10.
  expect(tellOf('ready.asleep', 'asleep', 2)).toEqual(['cold', true, 'fits'])
  expect(tellOf('ready.asleep', 'asleep', 5)).toEqual(['cold', true, 'waits'])
  expect(tellOf('ready.falling-asleep', 'falling-asleep', 0)).toEqual(['cold', true, 'fits'])
  expect(tellOf('ready.waking', 'starting', 0)?.slice(0, 2)).toEqual(['starting', false])
  expect(tellOf('ready', 'idle', 0)?.slice(0, 2)).toEqual(['ready', false])
})
