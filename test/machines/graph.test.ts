import { isDeepStrictEqual } from 'node:util'
import { describe, expect, test } from 'vitest'
import type { AnyEventObject, AnyStateMachine, SnapshotFrom } from 'xstate'
import type { ProviderEvent, ServicePolicy, StopReason, VerdictKind } from '../../machines/messages.ts'
import { providerMachine } from '../../machines/provider/chart.ts'
import { type ProviderContext, toStateName, UNHEALTHY_MISSES } from '../../machines/provider/context.ts'
import { MAX_REFUSALS, requestMachine } from '../../machines/request.ts'
import { supervisorMachine } from '../../machines/supervisor.ts'
import { defaultPolicy } from '../../src/testing/stage.ts'
import { defaultShare } from './house.ts'
import { definitionsOf, findUntaken, walk } from './walk.ts'

type ProviderSnapshot = SnapshotFrom<typeof providerMachine>
type SupervisorSnapshot = SnapshotFrom<typeof supervisorMachine>

const policies: Record<string, Partial<ServicePolicy>> = {
  'one lease at a time, starts abandoned, breaker of two': {
    maxConcurrent: 1,
    maxQueue: 2,
    breakerFailures: 2,
    abandonStartMs: 100,
    idleStopMs: 1_000,
  },
  'two leases, starts never abandoned, breaker of one': {
    maxConcurrent: 2,
    maxQueue: 1,
    breakerFailures: 1,
  },
  'told to sleep': {
    maxConcurrent: 1,
    maxQueue: 2,
    breakerFailures: 1,
    idleStopMs: 1_000,
    sleep: { afterMs: 100, isSelf: false, requestMs: 50, wakeMs: 50 },
  },
  'sleeps by itself': {
    maxConcurrent: 1,
    maxQueue: 1,
    breakerFailures: 1,
    sleep: { afterMs: 0, isSelf: true, requestMs: 0, wakeMs: 50 },
  },
  'without a local service': { managed: false, maxConcurrent: 1, maxQueue: 1, breakerFailures: 2 },
}

/** What the public may send, and what effects and timers report, in every variant that a guard tells apart. */
function toEvents({ generation, ownership, policy, waiters, leases }: ProviderContext): ProviderEvent[] {
  const verdicts: VerdictKind[] = ['refused', 'loading', 'ready', 'failed', 'foreign']
  const reasons: StopReason[] = ['evicted', 'yielded', 'asked', 'removed', 'shutdown']
  const ofGeneration = (generation: string): ProviderEvent[] => [
    { type: 'sleep.seen', generation, isAsleep: true },
    { type: 'sleep.seen', generation, isAsleep: false },
    { type: 'lease.released', id: 'a', generation },
    ...verdicts.map((kind) => ({
      type: 'health.verdict' as const,
      generation,
      verdict: { kind, detail: 'seen on the walk' },
    })),
    {
      type: 'health.verdict',
      generation,
      verdict: {
        kind: 'ready',
        detail: 'a stranger is',
        portHolder: { port: 1, ours: [], strangers: [{ pid: 2 }] },
      },
    },
    {
      type: 'health.verdict',
      generation,
      verdict: {
        kind: 'foreign',
        detail: 'another user is there',
        portHolder: { port: 1, ours: [], strangers: [], uid: 3 },
      },
    },
    {
      type: 'health.verdict',
      generation,
      verdict: { kind: 'refused', detail: 'a request saw it' },
      isOfRequest: true,
    },
  ]
  const ofProcess = (generation: string): ProviderEvent[] => [
    { type: 'process.spawned', generation, pid: 1 },
    {
      type: 'process.failed',
      generation,
      failure: { code: 'LEASEHOLD_SPAWN_FAILED', message: 'no such file' },
    },
    ...(['later', 'never'] as const).map((retry) => ({
      type: 'process.failed' as const,
      generation,
      failure: { code: 'LEASEHOLD_SPAWN_FAILED' as const, message: 'no memory', retry },
    })),
    {
      type: 'process.failed',
      generation,
      failure: { code: 'LEASEHOLD_PORT_TAKEN', message: 'its port is taken' },
    },
    { type: 'process.signalled', generation, signal: 'SIGTERM' },
    ...[[], ['bind: address already in use'], ['error: invalid argument: --foo']].map((tail) => ({
      type: 'process.exited' as const,
      generation,
      exitCode: 1,
      signal: null,
      tail,
    })),
    {
      type: 'process.exited',
      generation,
      exitCode: 0,
      signal: null,
      tail: [],
      isServerGone: true,
      isUnloaded: true,
    },
    ...[[], [1]].map((survivors) => ({
      type: 'process.settled' as const,
      generation,
      receipt: { generation, pid: 1, exitCode: 1, signal: null, survivors, durationMs: 0 },
    })),
  ]
  const failure = { code: 'LEASEHOLD_OWNER_LOST', message: 'gone' } as const
  const ofPeer = (generation: string): ProviderEvent[] => [
    { type: 'peer.met', generation, holder: { pid: 7, name: 'other' } },
    ...['a', 'b', 'x'].flatMap((id): ProviderEvent[] => [
      // Its owner counts the leases, by the same configuration.
      ...(leases < policy.maxConcurrent ? [{ type: 'peer.granted', generation, id } as const] : []),
      { type: 'peer.refused', generation, id, failure },
      { type: 'peer.refused', generation, id, failure: { code: 'LEASEHOLD_QUEUE_FULL', message: 'full' } },
    ]),
    { type: 'peer.lost', generation, failure },
    { type: 'peer.failed', generation, failure },
    { type: 'peer.silent', generation, failure },
  ]
  return [
    ...['a', 'b', 'c'].map((id) => ({ type: 'lease.requested' as const, id })),
    { type: 'lease.requested', id: 'a', keepAliveMs: 0 },
    { type: 'lease.cancelled', id: 'a' },
    { type: 'waiter.expired', id: 'a' },
    ...reasons.flatMap((reason) =>
      [false, true].map((force) => ({ type: 'service.stop' as const, reason, force })),
    ),
    ...(policy.sleep === null
      ? []
      : [{ type: 'service.stop' as const, reason: 'yielded' as const, sleeps: true }]),
    { type: 'service.stay' },
    { type: 'service.sleep' },
    { type: 'sleep.due' },
    { type: 'breaker.reset' },
    ...(policy.sleep === null ? [] : [{ type: 'lease.requested', id: 'a', cause: 'preload' } as const]),
    { type: 'policy.replaced', policy },
    ...(policy.sleep === null
      ? []
      : [{ type: 'policy.replaced' as const, policy: { ...policy, sleep: null } }]),
    { type: 'policy.replaced', policy: { ...policy, idleStopMs: policy.idleStopMs + 1 } },
    { type: 'host.resumed' },
    { type: 'start.revoked', member: 'attic' },
    { type: 'start.permitted' },
    { type: 'start.permitted', follows: true },
    { type: 'start.declined' },
    { type: 'start.declined', failure },
    // Its timer is armed only while no request waits, and a new waiter cancels it.
    ...(waiters.length > 0 ? [] : [{ type: 'start.abandoned' } as const]),
    { type: 'stability.reached' },
    ...ofGeneration('old'),
    ...ofProcess('old'),
    ...ofPeer('old'),
    ...(generation === null || ownership !== 'borrowed' ? [] : ofPeer(generation)),
    ...(generation === null ? [] : ofGeneration(generation)),
    // Nothing is reported of a process that is not ours.
    ...(generation === null || ownership !== 'owned' ? [] : ofProcess(generation)),
  ]
}

/** What xstate itself sends: timers that fire and effects that end. */
function toOwnEvents(machine: AnyStateMachine): AnyEventObject[] {
  const timers = [...definitionsOf(machine)]
    .map(({ eventType }) => eventType)
    .filter((type) => type.startsWith('xstate.after.'))
  const ends = [
    ...['refused', 'loading', 'ready', 'failed', 'foreign'].map((kind) => ({
      type: 'xstate.done.actor.probe',
      output: { kind, detail: 'seen on the walk' },
    })),
    ...[
      { outcome: 'held' },
      { outcome: 'impossible', failure: { code: 'LEASEHOLD_STATE_UNUSABLE', message: 'no claim' } },
    ].flatMap((output) => [
      { type: 'xstate.done.actor.probe', output },
      { type: 'xstate.done.actor.claim', output },
    ]),
    { type: 'xstate.error.actor.probe', error: 'a bug' },
    ...['sleep', 'wake'].flatMap((name) => [
      { type: `xstate.done.actor.${name}`, output: { outcome: 'done' } },
      { type: `xstate.done.actor.${name}`, output: { outcome: 'failed', detail: 'it refused' } },
      { type: `xstate.error.actor.${name}`, error: 'a bug' },
    ]),
    { type: 'xstate.done.actor.claim', output: { outcome: 'claimed' } },
    { type: 'xstate.done.actor.claim', output: { outcome: 'elsewhere', member: 'attic' } },
    ...['claim', 'wake'].map((name) => ({
      type: `xstate.done.actor.${name}`,
      output: { outcome: 'no-room' },
    })),
    { type: 'xstate.error.actor.claim', error: 'a bug' },
  ]
  return [...[...new Set(timers)].map((type) => ({ type })), ...ends]
}

/** The walks of what can sleep tell apart only what has to do with sleep: the other walks find the rest. */
function toSleepKey({ value, context }: ProviderSnapshot): string {
  const { ownership, isAsleep, isUnreachable, waiters, misses, stop, why, policy } = context
  const name = toStateName(value)
  return JSON.stringify([
    value,
    isAsleep,
    why?.kind,
    ...(name.startsWith('ready')
      ? [
          ownership,
          waiters.length,
          waiters.some(({ id }) => id === 'a'),
          waiters.every(({ cause }) => cause === 'preload'),
          Math.min(misses, UNHEALTHY_MISSES),
        ]
      : [waiters.length > 0, stop, stop === 'yielded' ? ownership : null]),
    isUnreachable,
    policy.sleep === null,
  ])
}

/** The part of the memory that guards look at, counters only as far as they tell: so the walk ends. */
function toKey({ value, context }: ProviderSnapshot): string {
  const { ownership, generation, leases, waiters, failures, retries, follows, misses, stop, policy } = context
  const { why, lostPeers, failure, keepAliveMs } = context
  const isKnown = waiters.some(({ id }) => id === 'a')
  const failed = Math.min(failures, policy.breakerFailures)
  return JSON.stringify([
    value,
    ownership,
    generation === null,
    leases,
    waiters.length,
    isKnown,
    failed,
    // One walk tells these apart: three would take three times as long, and find nothing else.
    ...(policy.managed && policy.breakerFailures === 2 ? [retries, follows] : []),
    Math.min(misses, UNHEALTHY_MISSES),
    stop,
    why?.kind,
    context.isUnreachable,
    lostPeers,
    failure?.retry === 'cooldown',
    // The other walks find nothing else.
    policy.managed && policy.breakerFailures === 1 && keepAliveMs !== null,
  ])
}

const own = toOwnEvents(providerMachine)
const walks = Object.entries(policies).map(([name, policy]) => ({
  name,
  walk: walk<ProviderSnapshot>(providerMachine, {
    input: { key: 'demo', instance: 'g', policy: { ...defaultPolicy, ...policy } },
    toEvents: ({ context }) => [...toEvents(context), ...own],
    toKey: policy.sleep === undefined ? toKey : toSleepKey,
  }),
}))

describe('a walk through every state of the provider', () => {
  test('takes every transition', () => {
    const taken = new Set(walks.flatMap(({ walk }) => [...walk.taken]))
    expect(findUntaken(providerMachine, taken)).toEqual([])
  })

  test.each(walks)('breaks no rule of the memory: $name', ({ walk }) => {
    const broken = walk.states.filter((state) => !isSound(state)).map(toKey)
    expect(broken).toEqual([])
  })

  test('has a reason for every state that fits it', () => {
    const found = new Map<string, Set<string>>()
    for (const { walk } of walks)
      for (const { value, context } of walk.states) {
        const name = toStateName(value)
        found.set(name, (found.get(name) ?? new Set()).add(context.why?.kind ?? 'none'))
      }
    const now = [...found].map(([name, kinds]) => [name, [...kinds].toSorted().join(' ')])
    expect(Object.fromEntries(now)).toEqual(reasons)
  })

  test('answers every event in every state, or ignores it on purpose', () => {
    const answered = new Set(walks.flatMap(({ walk }) => [...walk.answered]))
    const names = new Set(walks.flatMap(({ walk }) => walk.states.map(({ value }) => toStateName(value))))
    names.delete('retired')
    const ignoredNow = Object.fromEntries(
      [...names]
        .toSorted()
        .map((name) => [name, publicTypes.filter((type) => !answered.has(`${name} ${type}`)).join(' ')]),
    )
    expect(ignoredNow).toEqual(ignored)
  })
})

function isSound({ value, context }: ProviderSnapshot): boolean {
  const { leases, waiters, policy, ownership, generation, keepAliveMs } = context
  const name = toStateName(value)
  const isDown = name.startsWith('down')
  const isUp = name.startsWith('ready') || name.startsWith('leased') || name.startsWith('idle-stopping')
  return (
    leases >= 0 &&
    leases <= policy.maxConcurrent &&
    leases > 0 === name.startsWith('leased') &&
    waiters.length <= policy.maxQueue &&
    new Set(waiters.map(({ id }) => id)).size === waiters.length &&
    (waiters.length === 0 || !['down.cold', 'down.tripped', 'retired'].includes(name)) &&
    // A service that is ready makes a request wait only until it listens again.
    (waiters.length === 0 || name !== 'ready' || context.isUnreachable) &&
    // A sleeping server is never leased.
    (!context.isAsleep || /^(ready\.|idle-stopping|retired)/.test(name)) &&
    (context.isAsleep || !name.startsWith('ready.')) &&
    (ownership !== 'borrowed' || /^(starting.warming|leased.open|leased.draining|retired)$/.test(name)) &&
    // What a lease asked for ends with its run.
    (keepAliveMs === null || isUp || name === 'retired') &&
    (!isDown || (generation === null && ownership === 'none')) &&
    (!name.startsWith('idle-stopping') || ownership === 'owned') &&
    (policy.managed || ownership !== 'owned') &&
    isDeepStrictEqual(JSON.parse(JSON.stringify(context)), context)
  )
}

describe('a walk through every state of a request', () => {
  const { states, taken } = walk<SnapshotFrom<typeof requestMachine>>(requestMachine, {
    input: { id: 'r1' },
    toEvents: () => [
      { type: 'request.resolved', candidates: ['a/x', 'b/y'] },
      { type: 'request.failed', code: 'LEASEHOLD_READY_TIMEOUT', retryable: true },
      { type: 'request.failed', code: 'LEASEHOLD_BAD_REQUEST', retryable: false },
      { type: 'request.failed', code: 'LEASEHOLD_REMOVED', retryable: true },
      { type: 'request.failed', code: 'LEASEHOLD_ELSEWHERE', retryable: true },
      { type: 'request.failed', code: 'LEASEHOLD_OWNER_LOST', retryable: true, isOfMember: true },
      { type: 'lease.granted', timeLimitMs: null },
      { type: 'lease.granted', timeLimitMs: 1_000 },
      { type: 'time.elapsed' },
      { type: 'server.loading', limitMs: 250 },
      { type: 'connection.refused', code: 'LEASEHOLD_UPSTREAM_FAILED' },
      { type: 'connection.broken' },
      { type: 'member.queued', moveAfterMs: 0 },
      { type: 'member.queued', moveAfterMs: 1_000 },
      { type: 'member.granted' },
      ...toOwnEvents(requestMachine),
      { type: 'response.started', status: 200 },
      { type: 'response.ended' },
      { type: 'request.cancelled' },
    ],
    toKey: ({ value, context: { attempts, index, loadings, refusals, restarts, status } }) =>
      JSON.stringify([value, index, refusals, loadings, restarts, status, attempts.map(({ ref }) => ref)]),
  })

  test('takes every transition', () => {
    expect(findUntaken(requestMachine, taken)).toEqual([])
  })

  test('tries each candidate at most once, in order, and a few times more where no process listened', () => {
    for (const { context } of states) {
      const tried = context.attempts.map(({ ref }) => ref)
      const inOrder = [...new Set(tried)]
      expect(context.candidates.slice(0, inOrder.length)).toEqual(inOrder)
      for (const ref of inOrder) {
        const isLast = ref === context.candidates.at(-1)
        const most = 1 + (isLast ? MAX_REFUSALS : 1)
        expect(tried.filter((one) => one === ref).length).toBeLessThanOrEqual(most)
      }
      expect(tried).toEqual(tried.toSorted())
    }
  })
})

describe('a walk through every state of a supervisor of two services', () => {
  const policy = { ...defaultPolicy, drawsOnLimits: true }
  const share = { ...defaultShare, needs: { room: 1 } }
  const { states, taken } = walk<SupervisorSnapshot>(supervisorMachine, {
    input: { instance: 'g' },
    toEvents: ({ context: { alive, residents, queuedStarts } }) => [
      ...[{}, { a: policy }, { b: policy }, { a: policy, b: policy }].map((services) => ({
        type: 'services.replaced',
        services,
        maxConcurrentStarts: 1,
        sharing: {
          limits: { room: 1 },
          shares: { a: { service: 'a', ...share }, b: { service: 'b', ...share } },
          preload: ['a'],
          defaultKey: 'a',
          returnToDefaultMs: 1,
        },
      })),
      { type: 'shutdown' },
      { type: 'default.due' },
      { type: 'share.measured', key: 'a', share: { service: 'a', ...share } },
      ...(queuedStarts.length > 0 ? [{ type: 'starts.aged' }] : []),
      ...queuedStarts.flatMap(({ key, generation }) => [
        { type: 'start.overdue', generation },
        { type: 'start.changed', key, waiting: 0, priority: 0, isPreload: false },
      ]),
      ...residents.flatMap(({ key, generation }) => [
        { type: 'residency.over', generation },
        { type: 'service.used', key, generation },
        { type: 'service.rested', key, generation },
        { type: 'service.leaving', key, generation },
        { type: 'service.falling-asleep', key, generation },
        { type: 'service.asleep', key, generation },
        { type: 'service.awake', key, generation },
        { type: 'run.ended', generation, survivors: 0 },
        { type: 'run.ended', generation, survivors: 1 },
      ]),
      ...alive.flatMap((key) => [
        { type: `xstate.done.actor.${key}` },
        { type: `xstate.error.actor.${key}`, error: 'a bug' },
        { type: 'start.finished', key, isRunning: true },
        { type: 'start.finished', key, isRunning: false },
        // A provider asks once, until it has finished, and not while a run of it is up.
        ...(queuedStarts.some((one) => one.key === key) || residents.some((one) => one.key === key)
          ? key !== 'a' || queuedStarts.length > 0 || residents.some(({ phase }) => phase !== 'leaving')
            ? []
            : [
                {
                  type: 'start.foreseen',
                  key,
                  generation: `${key}.2`,
                  waiting: 1,
                  priority: 0,
                  isPreload: false,
                },
              ]
          : [
              {
                type: 'start.requested',
                key,
                generation: `${key}.1`,
                waiting: 1,
                priority: 0,
                isPreload: false,
              },
            ]),
      ]),
    ],
    toKey: ({ value, context: { services, alive, residents, queuedStarts, isDisplaced } }) =>
      JSON.stringify([
        value,
        Object.keys(services).toSorted(),
        alive.toSorted(),
        residents.map(({ key, phase, residency }) => [key, phase, residency]).toSorted(),
        queuedStarts.map(({ key, waiting, isOverdue }) => [key, waiting, isOverdue]),
        isDisplaced,
      ]),
  })

  test('takes every transition', () => {
    expect(findUntaken(supervisorMachine, taken)).toEqual([])
  })

  test('keeps an actor for every service, and permits starts within the limits', () => {
    const broken = states.filter(({ value, context }) => {
      const { alive, services, residents, queuedStarts, maxConcurrentStarts } = context
      const starting = residents.filter(({ phase }) => phase === 'starting')
      const present = queuedStarts.filter(({ isForeseen }) => !isForeseen)
      const wantStart = [...starting, ...present].map(({ key }) => key)
      if (value === 'stopped') return alive.length > 0
      return !(
        (value !== 'running' || Object.keys(services).every((key) => alive.includes(key))) &&
        starting.length <= maxConcurrentStarts &&
        residents.length <= 1 &&
        (present.length < queuedStarts.length || present.length === 0 || residents.length === 1) &&
        new Set(wantStart).size === wantStart.length &&
        wantStart.every((key) => alive.includes(key)) &&
        isDeepStrictEqual(JSON.parse(JSON.stringify(context)), context)
      )
    })
    expect(broken.map(({ value, context }) => [value, context])).toEqual([])
  })
})

const publicTypes = [
  'lease.requested',
  'lease.cancelled',
  'lease.released',
  'service.stop',
  'breaker.reset',
  'policy.replaced',
]

/** What a state does not answer to: nothing waits in it, nothing is leased in it, or the stop is already there. */
const ignored: Record<string, string> = {
  'down.cold': 'lease.cancelled lease.released',
  'down.backoff': 'lease.released',
  'down.tripped': 'lease.cancelled lease.released',
  probing: 'lease.released',
  'starting.claiming': 'lease.released',
  'starting.spawning': 'lease.released',
  'starting.warming': 'lease.released',
  ready: 'lease.released',
  'ready.falling-asleep': 'lease.released',
  'ready.asleep': 'lease.released',
  'ready.waking': 'lease.released',
  'leased.open': '',
  'leased.draining': '',
  'idle-stopping.terminating': 'lease.released',
  'idle-stopping.killing': 'lease.released',
  'idle-stopping.sweeping': 'lease.released',
}

/** The reasons that a state can have: the cause of a stop is kept when it is over. */
const reasons: Record<string, string> = {
  'down.cold':
    'abandoned cooled-down declined elsewhere failed gone idle left none released reset sleep-failed stop unloaded unwanted',
  'down.backoff': 'failed',
  'down.tripped': 'failed',
  probing: 'failed gone held requested reset retried wanted-again',
  'starting.claiming': 'absent wanted-again',
  'starting.spawning': 'spawning',
  'starting.warming': 'held loading loading-elsewhere',
  ready: 'adopted awake became-ready released',
  'ready.falling-asleep': 'falling-asleep',
  'ready.asleep': 'asleep',
  'ready.waking': 'waking',
  'leased.open': 'adopted awake became-ready called-off leased stayed',
  'leased.draining': 'stop',
  'idle-stopping.terminating': 'abandoned elsewhere failed idle sleep-failed stop',
  'idle-stopping.killing': 'abandoned elsewhere failed idle sleep-failed stop',
  'idle-stopping.sweeping': 'abandoned elsewhere failed idle sleep-failed stop',
  retired: 'failed stop',
}
