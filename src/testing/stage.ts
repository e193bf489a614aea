import { type AnyActorRef, createActor, type InspectionEvent, type SnapshotFrom } from 'xstate'
import type { ProcessEvent, ProviderEvent, ServicePolicy } from '../../machines/messages.ts'
import { providerMachine } from '../../machines/provider/chart.ts'
import { toStateName } from '../../machines/provider/context.ts'
import type { ProviderState } from '../../machines/provider/tags.ts'
import type { ServiceEventBody } from '../events/events.ts'
import { toTimers } from '../service/snapshot.ts'
import { createLedger, type Invariant, InvariantError, type Ledger, type ProviderView } from './invariants.ts'
import { silenceMachine } from './silence.ts'
import { createVirtualClock, type VirtualClock } from './virtual-clock.ts'
import { buildActors, createWorld, type World, type WorldOptions } from './world.ts'

/** Policy of a service in tests: short, round durations, and everything that is off by default is off. */
export const defaultPolicy: ServicePolicy = {
  managed: true,
  drawsOnLimits: false,
  readyTimeoutMs: 30_000,
  idleStopMs: 0,
  stopGraceMs: 500,
  stopCommandMs: 0,
  drainTimeoutMs: 1_000,
  abandonStartMs: null,
  sleep: null,
  maxConcurrent: 1024,
  maxQueue: 1000,
  maxQueueMs: 60_000,
  backoffMs: 1_000,
  backoffMaxMs: 60_000,
  breakerFailures: 5,
  breakerCooldownMs: 30_000,
  stabilityMs: 60_000,
}

/** One provider machine on a virtual clock in an imitated world, with its books kept and checked. */
export interface Stage {
  readonly clock: VirtualClock
  readonly world: World
  readonly ledger: Ledger
  /** Every fact so far, in order. */
  readonly facts: readonly (ServiceEventBody & { readonly atMs: number })[]
  view(): ProviderView
  /** Sends an event and checks every invariant; a repeated question of a waiter is entered once. */
  send(event: ProviderEvent): void
  advanceTo(timeMs: number): Promise<void>
  stop(): void
}

export interface StageOptions {
  readonly policy?: Partial<ServicePolicy> | undefined
  readonly world?: Partial<WorldOptions> | undefined
  /** The world does nothing by itself: what the machine hears of processes and probes is sent to it. */
  readonly silent?: boolean | undefined
  /** The machine on stage; a mutant of it proves that the net catches. */
  readonly machine?: typeof providerMachine | undefined
  /** Receives the inspection messages of the machine. */
  readonly inspect?: ((event: InspectionEvent) => void) | undefined
}

/** Sets the stage. Throws {@link InvariantError} from `send` and `advanceTo` as soon as one is broken. */
export function createStage({
  policy,
  world: worldOptions,
  machine = providerMachine,
  silent = false,
  inspect,
}: StageOptions = {}): Stage {
  const clock = createVirtualClock()
  const ledger = createLedger({ isDozing: () => world.isDozing })
  const facts: (ServiceEventBody & { atMs: number })[] = []
  const broken: Invariant[] = []
  let failure: unknown
  let state: ProviderState = 'down.cold'

  const record = (fact: ServiceEventBody) => {
    facts.push({ ...fact, atMs: clock.now() })
    broken.push(...ledger.record(fact))
  }
  const world = createWorld(clock, worldOptions, record)
  const actor = createActor(stageMachine(machine, silent), {
    clock,
    ...(inspect && { inspect }),
    input: { key: 'demo', instance: 'g', policy: { ...defaultPolicy, ...policy } },
  })
  worlds.set(actor.system, world)
  const view = (): ProviderView => readProvider(actor)
  const check = (where: string) => {
    if (failure !== undefined) throw failure
    broken.push(...ledger.check(view()))
    if (world.disturbances > 0) broken.push('sleepersAreLeftAlone')
    if (broken.length > 0)
      throw new InvariantError(broken.splice(0), `${where}, at ${clock.now()} ms in ${view().state}`)
  }

  actor.on('*', record)
  actor.subscribe({
    next: (snapshot) => {
      const to = toStateName(snapshot.value)
      if (to === state) return
      record({ type: 'service.state', from: state, to, reason: null, why: snapshot.context.why })
      state = to
    },
    error: (error) => {
      failure = error
    },
  })
  actor.start()

  return {
    clock,
    world,
    ledger,
    facts,
    view,
    send: (asked) => {
      const event = asked.type === 'lease.requested' ? { sinceMs: clock.now(), ...asked } : asked
      const isStale = 'generation' in event && event.generation !== view().context.generation
      const before = isStale && JSON.stringify(actor.getPersistedSnapshot())
      if (event.type === 'lease.requested' && !ledger.held.has(event.id)) record(event)
      if (event.type === 'lease.cancelled' && ledger.waiting.has(event.id)) record(event)
      if (event.type === 'lease.released' && !isStale && ledger.held.has(event.id)) record(event)
      if (event.type === 'service.stop') record(event)
      if (silent && event.type.startsWith('process.')) record(event as ProcessEvent)
      actor.send(event)
      if (
        isStale &&
        event.type !== 'process.settled' &&
        JSON.stringify(actor.getPersistedSnapshot()) !== before
      )
        broken.push('oldGenerationsAreMute')
      check(`after ${event.type}`)
    },
    advanceTo: async (timeMs) => {
      await clock.advanceTo(timeMs)
      check('while time passed')
    },
    stop: () => actor.stop(),
  }
}

/** The world of every actor on a stage, by its system. */
const worlds = new WeakMap<AnyActorRef['system'], World>()
const staged = new WeakMap<typeof providerMachine, typeof providerMachine>()
const silenced = new WeakMap<typeof providerMachine, typeof providerMachine>()

/** Every start is permitted at once. Made once for each machine: to provide costs as much as a whole short story. */
function stageMachine(machine: typeof providerMachine, silent: boolean): typeof providerMachine {
  const known = silent ? silenced : staged
  const made =
    known.get(machine) ??
    (silent ? silenceMachine(machine) : machine).provide({
      ...(silent ? {} : { actors: buildActors((_key, system) => worldOf(system).effects) }),
      actions: {
        requestStart: ({ self }) => self.send({ type: 'start.permitted' }),
        requestWake: ({ self }) => self.send({ type: 'start.permitted' }),
        finishStart: () => {},
      },
    })
  known.set(machine, made)
  return made
}

function worldOf(system: AnyActorRef['system']): World {
  const world = worlds.get(system)
  if (world === undefined) throw new Error('this actor is on no stage')
  return world
}

/** State, memory and armed delays of a running provider actor. */
export function readProvider(
  actor: AnyActorRef & { getSnapshot(): SnapshotFrom<typeof providerMachine> },
): ProviderView {
  const { value, context } = actor.getSnapshot()
  return { state: toStateName(value), context, timers: toTimers(actor).map(({ name }) => name) }
}
