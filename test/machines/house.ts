import { type ActorRefFrom, type AnyActorRef, createActor, type InspectionEvent } from 'xstate'
import type {
  ProviderEvent,
  ServicePolicy,
  Sharing,
  StartCause,
  SupervisorEmitted,
} from '../../machines/messages.ts'
import { toStateName } from '../../machines/provider/context.ts'
import { supervisedProviderMachine } from '../../machines/provider/supervised.ts'
import type { ProviderState } from '../../machines/provider/tags.ts'
import type { Decision, Share } from '../../machines/scheduler.ts'
import { supervisorMachine } from '../../machines/supervisor.ts'
import type { ServiceEventBody } from '../../src/events/events.ts'
import { defaultPolicy } from '../../src/testing/stage.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'
import { buildActors, createWorld, type World, type WorldOptions } from '../../src/testing/world.ts'

export interface HouseOptions {
  readonly maxConcurrentStarts?: number
  readonly keys: readonly string[]
  readonly policy?: Partial<ServicePolicy>
  readonly world?: Partial<WorldOptions>
  readonly limits?: Sharing['limits']
  /** What each service takes; the rest is {@link defaultShare}. */
  readonly shares?: Readonly<Record<string, Partial<Share>>>
  readonly sharing?: Partial<Sharing>
  /** Hears everything that happens to a service, its own events and those of its process. */
  readonly onFact?: (key: string, fact: ServiceEventBody) => void
  readonly onSaid?: (said: SupervisorEmitted) => void
  /** The root on trial; a mutant of it proves that the net catches. */
  readonly machine?: typeof supervisorMachine
  /** Receives the inspection messages of the root and of everything below it. */
  readonly inspect?: ((event: InspectionEvent) => void) | undefined
}

/** Takes nothing, and is neither protected nor patient. */
export const defaultShare: Omit<Share, 'service'> = {
  needs: {},
  unmeasured: [],
  isPinned: false,
  evictCost: 0,
  minResidencyMs: 0,
  maxStarveMs: 30_000,
}

const houses: { readonly actor: { stop(): unknown } }[] = []
/** To be called after each test. */
export function closeHouses(): void {
  for (const { actor } of houses.splice(0)) actor.stop()
}

/** A supervisor on a virtual clock, with an imitated host per service. */
export function build({
  maxConcurrentStarts = 4,
  keys,
  policy = {},
  world: worldOptions = {},
  limits = {},
  shares = {},
  sharing = {},
  onFact = () => {},
  onSaid = () => {},
  machine = supervisorMachine,
  inspect,
}: HouseOptions) {
  const clock = createVirtualClock()
  const worlds = new Map<string, World>()
  const broken = new Set<string>()
  const said: SupervisorEmitted[] = []
  const heard: { readonly key: string; readonly type: string }[] = []

  const world = (key: string): World => {
    const known = worlds.get(key) ?? createWorld(clock, worldOptions, (fact) => onFact(key, fact))
    worlds.set(key, known)
    return known
  }
  const actor = createActor(toHoused(machine), {
    clock,
    input: { instance: 'g' },
    ...(inspect && { inspect }),
  })
  hosts.set(actor.system, { world, resetFailures: (key) => broken.delete(key) })
  const child = (key: string): ActorRefFrom<typeof supervisedProviderMachine> => {
    const found = actor.getSnapshot().children[key]
    if (found === undefined) throw new Error(`no provider ${key}`)
    return found
  }
  /** What a client does is a fact before its service hears of it. */
  const tell = (
    key: string,
    event: Extract<ProviderEvent, { type: 'lease.requested' | 'lease.cancelled' }>,
  ) => {
    onFact(key, event)
    child(key).send(event)
  }
  const follow = (key: string) => {
    let state: ProviderState = 'down.cold'
    child(key).on('*', (event) => {
      heard.push({ key, type: event.type })
      onFact(key, event)
    })
    child(key).subscribe({
      next: ({ value }) => {
        const to = toStateName(value)
        if (to !== state) onFact(key, { type: 'service.state', from: state, to, reason: null, why: null })
        state = to
      },
      error: () => {},
    })
  }
  actor.on('*', (event) => {
    said.push(event)
    onSaid(event)
    if (event.type === 'service.added') follow(event.key)
  })
  const toShares = (wanted: readonly string[]) =>
    Object.fromEntries(wanted.map((key) => [key, { service: key, ...defaultShare, ...shares[key] }]))
  const configure = (
    wanted: readonly string[],
    changes: Partial<ServicePolicy> = {},
    starts = maxConcurrentStarts,
    capacities = limits,
  ) =>
    actor.send({
      type: 'services.replaced',
      maxConcurrentStarts: starts,
      services: Object.fromEntries(
        wanted.map((key) => [
          key,
          { ...defaultPolicy, drawsOnLimits: Object.keys(capacities).length > 0, ...policy, ...changes },
        ]),
      ),
      sharing: {
        limits: capacities,
        shares: toShares(wanted),
        preload: [],
        defaultKey: null,
        returnToDefaultMs: 0,
        ...sharing,
      },
    })
  actor.start()
  configure(keys)
  houses.push({ actor })

  return {
    actor,
    clock,
    said,
    heard,
    world,
    configure,
    /** A reload that changes nothing but what the services share. */
    reshare: (changes: Partial<Sharing>) => {
      const { services, maxConcurrentStarts: starts, ...before } = actor.getSnapshot().context
      const policyOf = (key: string) => child(key).getSnapshot().context.policy
      actor.send({
        type: 'services.replaced',
        services: Object.fromEntries(Object.keys(services).map((key) => [key, policyOf(key)])),
        maxConcurrentStarts: starts,
        sharing: {
          limits: before.limits,
          shares: before.shares,
          preload: before.preload,
          defaultKey: before.defaultKey,
          returnToDefaultMs: before.returnToDefaultMs,
          ...changes,
        },
      })
    },
    advanceTo: clock.advanceTo,
    context: () => actor.getSnapshot().context,
    /** Keys of the services that start, and of the services that wait for their turn. */
    turns: () => {
      const { residents, queuedStarts } = actor.getSnapshot().context
      return {
        starting: residents.filter(({ phase }) => phase === 'starting').map(({ key }) => key),
        queuedStarts: queuedStarts.map(({ key }) => key),
      }
    },
    /** Who came and who is gone. */
    life: () => said.map(({ type }) => type).filter((type) => type !== 'scheduler.decided'),
    /** What was decided, one line each: `b: evict a (idle-cheapest)`. */
    decisions: () => said.flatMap((event) => (event.type === 'scheduler.decided' ? [toLine(event)] : [])),
    provider: child,
    states: () =>
      Object.fromEntries(
        Object.keys(actor.getSnapshot().children).map((key) => [
          key,
          toStateName(child(key).getSnapshot().value),
        ]),
      ),
    send: (key: string, event: ProviderEvent) => child(key).send(event),
    request: (key: string, id: string, priority = 0, cause?: StartCause) =>
      tell(key, {
        type: 'lease.requested',
        id,
        priority,
        sinceMs: clock.now(),
        ...(cause === undefined ? {} : { cause }),
      }),
    cancel: (key: string, id: string) => tell(key, { type: 'lease.cancelled', id }),
    release: (key: string, id: string) =>
      child(key).send({
        type: 'lease.released',
        id,
        generation: child(key).getSnapshot().context.generation ?? '',
      }),
    breakProvider: (key: string) => {
      broken.add(key)
      child(key).send({ type: 'breaker.reset' })
    },
  }
}

export type House = ReturnType<typeof build>

/** What the actors of one house meet outside. */
interface Host {
  readonly world: (key: string) => World
  /** Whether the actor of this service is to die now. */
  readonly resetFailures: (key: string) => boolean
}

const hosts = new WeakMap<AnyActorRef['system'], Host>()
function hostOf(system: AnyActorRef['system']): Host {
  const host = hosts.get(system)
  if (host === undefined) throw new Error('this actor is in no house')
  return host
}

const toHousedProvider = (machine: typeof supervisedProviderMachine) =>
  machine.provide({
    actors: buildActors((key, system) => hostOf(system).world(key).effects),
    actions: {
      resetFailures: ({ context, self }) => {
        if (hostOf(self.system).resetFailures(context.key)) throw new Error('a bug')
      },
    },
  })

/** Made once for each machine: to provide costs as much as a short workload. */
const housed = new WeakMap<typeof supervisorMachine, typeof supervisorMachine>()
function toHoused(machine: typeof supervisorMachine): typeof supervisorMachine {
  // A mutant may have put another provider in place.
  const { provider = supervisedProviderMachine } = machine.implementations.actors as {
    readonly provider?: typeof supervisedProviderMachine
  }
  const made = housed.get(machine) ?? machine.provide({ actors: { provider: toHousedProvider(provider) } })
  housed.set(machine, made)
  return made
}

/** A decision in one line. */
export function toLine({ choice, because }: Decision): string {
  const taken = choice.taken.map(({ service, how }) => `${how} ${service}`).join(', ')
  const what = choice.type === 'evict' ? taken : `${choice.type}${taken === '' ? '' : ` after ${taken}`}`
  return `${choice.service}: ${what} (${because.cause})`
}
