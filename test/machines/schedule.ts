import fc from 'fast-check'
import type { ServicePolicy, StopReason } from '../../machines/messages.ts'
import type { providerMachine } from '../../machines/provider/chart.ts'
import { createStage, type Stage, type StageOptions } from '../../src/testing/stage.ts'
import { defaultWorld, type WorldOptions } from '../../src/testing/world.ts'

/** One thing that happens. `pick` chooses among the ids that fit at that moment, so that shrinking keeps its sense. */
type Move =
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'request'; readonly priority: number }
  | {
      readonly kind: 'repeat' | 'cancel' | 'cancelTooLate' | 'release' | 'releaseStale'
      readonly pick: number
    }
  | { readonly kind: 'stop'; readonly reason: StopReason; readonly force: boolean }
  | { readonly kind: 'reset' | 'crash' | 'verdictStale' | 'exitStale' | 'sleep' }
  | { readonly kind: 'world'; readonly changes: Partial<WorldOptions> }

/** A policy, a world and what happens in it. */
export interface Schedule {
  readonly policy: Partial<ServicePolicy>
  readonly moves: readonly Move[]
}

/** Polls are slower than in scripts: a long wait would be nothing but polls. */
const calmWorld: WorldOptions = { ...defaultWorld, warmPollMs: 50, heartbeatMs: 5_000 }

const policy: fc.Arbitrary<Partial<ServicePolicy>> = fc.record({
  managed: fc.constantFrom(true, true, true, true, false),
  readyTimeoutMs: fc.constant(2_000),
  idleStopMs: fc.constantFrom(0, 50, 1_000),
  sleep: fc.constantFrom(
    null,
    { afterMs: 0, isSelf: false, requestMs: 100, wakeMs: 100 },
    { afterMs: 25, isSelf: false, requestMs: 100, wakeMs: 100 },
  ),
  stopGraceMs: fc.constantFrom(0, 500),
  drainTimeoutMs: fc.constantFrom(0, 1_000, 30_000),
  abandonStartMs: fc.constantFrom(null, 0, 100),
  maxConcurrent: fc.constantFrom(1, 2, 1024),
  maxQueue: fc.constantFrom(1, 3, 1000),
  maxQueueMs: fc.constantFrom(300, 20_000),
  backoffMs: fc.constantFrom(0, 100),
  breakerFailures: fc.constantFrom(1, 2, 5),
  breakerCooldownMs: fc.constantFrom(0, 10_000),
  stabilityMs: fc.constantFrom(0, 10_000),
})

const changes: fc.Arbitrary<Partial<WorldOptions>> = fc.constantFrom<Partial<WorldOptions>[]>(
  { ...calmWorld },
  { readyAfterMs: null },
  { readyAfterMs: 1_000 },
  { readyAfterMs: 0 },
  { probe: 'ready' },
  { probe: 'loading' },
  { probe: 'foreign' },
  { probe: 'failed' },
  { probe: 'refused' },
  { verdict: 'refused' },
  { verdict: 'foreign' },
  { verdict: 'loading' },
  { verdict: null },
  { claim: 'held' },
  { claim: 'held', probe: 'loading' },
  { claim: 'held', peer: 'refusing' },
  { claim: 'impossible' },
  { claim: 'elsewhere' },
  { claim: 'claimed' },
  { peer: 'willing' },
  { peer: 'gone' },
  { peer: 'failing' },
  { peer: 'silent' },
  { peer: 'hung' },
  { peer: 'refusing' },
  { grantMs: 100 },
  { claimMs: 100 },
  { probeMs: 100 },
  { spawnMs: 100 },
  { canSpawn: false },
  { canSpawn: false, retry: 'later' },
  { canSpawn: false, retry: 'never' },
  { retry: null },
  { isPortShared: true },
  { isPortShared: false },
  { isPortTaken: true },
  { isPortTaken: false },
  { canSpawn: true },
  { exitAfterMs: 20 },
  { exitAfterMs: 150 },
  { exitAfterMs: null },
  { termMs: null },
  { termMs: 2_000 },
  { termMs: 0 },
  { killMs: null },
  { closeMs: 50 },
  { sweepMs: 200 },
  { sweepMs: 10_000 },
  { sleep: 'refuses' },
  { sleep: 'lies' },
  { sleep: 'dies' },
  { sleepMs: 200 },
  { wake: 'refuses' },
  { wake: 'lies' },
  { wake: 'dies' },
  { wakeMs: 200 },
  { survivors: 1 },
  { survivors: 0 },
)

const pick = fc.nat({ max: 7 })
const move: fc.Arbitrary<Move> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.constantFrom(0, 1, 5, 10, 25, 50, 100, 100, 200, 500, 1_000, 5_000, 60_000),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('request' as const), priority: fc.constantFrom(0, 0, 5) }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('release' as const), pick }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom('repeat' as const, 'cancel', 'cancel', 'cancelTooLate', 'releaseStale'),
      pick,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('stop' as const),
      // A retirement ends the story, so it is rare.
      reason: fc.constantFrom<StopReason[]>(
        ...Array<StopReason>(8).fill('asked'),
        ...Array<StopReason>(8).fill('evicted'),
        'removed',
        'shutdown',
      ),
      force: fc.constantFrom(false, false, true),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'reset' as const,
        'crash',
        'crash',
        'verdictStale',
        'exitStale',
        'sleep',
        'sleep',
      ),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('world' as const), changes }) },
)

/** Random schedules of up to 60 moves. */
export const schedules: fc.Arbitrary<Schedule> = fc.record({
  policy,
  moves: fc.array(move, { maxLength: 60, size: 'max' }),
})

/**
 * Plays a schedule; every invariant is checked after every move. Then the world turns kind and every client leaves:
 * no request may wait, nothing may be held or run, and a service that is not retired must serve once more.
 */
export async function playSchedule(
  { policy, moves }: Schedule,
  machine?: typeof providerMachine,
  inspect?: StageOptions['inspect'],
): Promise<void> {
  const stage = createStage({
    policy,
    world: calmWorld,
    ...(machine && { machine }),
    ...(inspect && { inspect }),
  })
  try {
    let born = 0
    for (const one of moves) {
      // No request is routed to a retired service.
      if (stage.view().state === 'retired') break
      await play(stage, one, `r${born}`)
      born += 1
    }
    await playOut(stage)
  } finally {
    stage.stop()
  }
}

async function play(stage: Stage, move: Move, freshId: string): Promise<void> {
  const { ledger, world, clock } = stage
  const choose = (ids: ReadonlySet<string>, pick: number) => [...ids][pick % Math.max(1, ids.size)]
  const { generation } = stage.view().context
  switch (move.kind) {
    case 'wait':
      return stage.advanceTo(clock.now() + move.ms)
    case 'request':
      return stage.send({ type: 'lease.requested', id: freshId, priority: move.priority })
    case 'repeat':
    case 'cancel': {
      const id = choose(ledger.waiting, move.pick)
      if (id === undefined) return
      return stage.send({ type: move.kind === 'repeat' ? 'lease.requested' : 'lease.cancelled', id })
    }
    case 'cancelTooLate': {
      const id = choose(ledger.held, move.pick)
      return id === undefined ? undefined : stage.send({ type: 'lease.cancelled', id })
    }
    case 'release': {
      const id = choose(ledger.held, move.pick)
      if (id === undefined || generation === null) return
      return stage.send({ type: 'lease.released', id, generation })
    }
    case 'releaseStale':
      return stage.send({
        type: 'lease.released',
        id: choose(ledger.held, move.pick) ?? 'r0',
        generation: OLD_GENERATION,
      })
    case 'stop':
      return stage.send({ type: 'service.stop', reason: move.reason, force: move.force })
    case 'sleep':
      return stage.send({ type: 'service.sleep' })
    case 'reset':
      return stage.send({ type: 'breaker.reset' })
    case 'verdictStale':
      return stage.send({
        type: 'health.verdict',
        generation: OLD_GENERATION,
        verdict: { kind: 'ready', detail: 'much too late' },
      })
    case 'exitStale':
      return stage.send({
        type: 'process.exited',
        generation: OLD_GENERATION,
        exitCode: 1,
        signal: null,
        tail: [],
      })
    case 'crash':
      return world.crash({ exitCode: 1 })
    case 'world':
      return world.set(move.changes)
  }
}

/** Runs are counted from one, so this one has always ended. */
const OLD_GENERATION = 'g.0'
const FAR_MS = 600_000

async function playOut(stage: Stage): Promise<void> {
  const { ledger, world, clock } = stage
  const later = () => stage.advanceTo(clock.now() + FAR_MS)
  world.set(calmWorld)
  const { generation } = stage.view().context
  for (const id of ledger.held) stage.send({ type: 'lease.released', id, generation: generation ?? '' })
  if (stage.view().state !== 'retired') stage.send({ type: 'service.stop', reason: 'asked' })
  await later()
  // What even SIGKILL could not end is gone by now.
  world.crash({ signal: 'SIGKILL' })
  await later()
  const open = ledger.checkEnd()
  if (open.length > 0) throw new Error(`left open at the end: ${open.join(', ')}`)
  // What only a person can end, a person ends.
  if (stage.view().context.failure?.retry === 'never' && stage.view().state === 'down.tripped')
    stage.send({ type: 'breaker.reset' })
  const { state, context, timers } = stage.view()
  if (state === 'retired' || !context.policy.managed) return
  if (state !== 'down.cold') throw new Error(`at rest in ${state} with the timers ${timers.join(', ')}`)
  stage.send({ type: 'lease.requested', id: 'last' })
  await stage.advanceTo(clock.now() + 1_000)
  const answer = stage.facts.findLast((fact) => 'id' in fact && fact.id === 'last')
  if (answer?.type !== 'lease.granted') throw new Error(`the last request got ${JSON.stringify(answer)}`)
}
