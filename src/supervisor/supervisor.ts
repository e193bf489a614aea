import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import type { Observable } from 'rxjs'
import { type ActorRefFrom, createActor, type InspectionEvent, type Observer } from 'xstate'
import type { Failure, ProviderEvent, StopReason } from '../../machines/messages.ts'
import type { providerMachine } from '../../machines/provider.ts'
import { toBackoffMs, toStateName } from '../../machines/provider-context.ts'
import { supervisedProviderMachine, supervisorMachine } from '../../machines/supervisor.ts'
import { type Clock, systemClock } from '../clock.ts'
import type { Config } from '../config/config.ts'
import type { ModelTarget } from '../config/model-ref.ts'
import { BadRequestError, ServiceError } from '../errors.ts'
import type { ServiceEventBody, SupervisorEvent } from '../events.ts'
import { createLocalClaims } from '../process/claim.ts'
import type { Output } from '../process/output.ts'
import { createProcessTable } from '../process/table.ts'
import { createUpstream, type Upstream } from '../transport/upstream.ts'
import { createEffects } from './actors.ts'
import { createEventHub } from './event-hub.ts'
import { createExchange, type ModelCall, type ModelRequest, type ModelResponseHandler } from './exchange.ts'
import { createFetch } from './fetch.ts'
import { type AcquireOptions, acquireLease, type Lease } from './lease.ts'
import { createLeaseBook } from './leases.ts'
import { logEvents } from './log.ts'
import { findModelListing, type ModelListing, toModelList } from './models.ts'
import { type Service, toServiceKey, toServices } from './services.ts'
import { handleProcessSignals } from './signals.ts'
import { type ServiceSnapshot, type SupervisorSnapshot, toServiceSnapshot } from './snapshot.ts'

export interface SupervisorOptions {
  /** What `loadConfig` gives. */
  readonly config: Config
  /** A pino logger; the supervisor's events are written to children of it. @default silent */
  readonly logger?: Logger
  /** An xstate inspector: sees every machine of the supervisor. @default none */
  readonly inspect?: Observer<InspectionEvent> | ((event: InspectionEvent) => void)
  /**
   * Whether SIGINT, SIGTERM and SIGHUP close the supervisor and end the process; a second one ends it at once.
   * @default false
   */
  readonly handleSignals?: boolean
  /** The host's environment; children get an allow-listed part of it. @default process.env */
  readonly environment?: Readonly<Record<string, string | undefined>>
  /** @default the system's */
  readonly clock?: Clock
}

export interface StopOptions {
  /** Cuts open leases instead of draining them. @default false */
  readonly force?: boolean
}

/** The supervision core. Closing it stops every service that it owns; both ways to close are idempotent. */
export interface Supervisor {
  /** A drop-in `fetch`: any OpenAI client that uses it becomes on-demand. */
  readonly fetch: typeof globalThis.fetch
  /** Every fact as it happens. Completes when the supervisor is closed. */
  readonly events$: Observable<SupervisorEvent>
  /** The configuration in force. */
  readonly config: Config
  /**
   * Waits until the service of a model is up and holds it.
   * @throws {@link ServiceError} when it cannot be, with the cause; {@link ModelNotFoundError};
   * {@link ProviderUnavailableError}; {@link AbortedError} when the signal comes first.
   */
  acquire(ref?: string, options?: AcquireOptions): Promise<Lease>
  /** Sends a model request on its way, without streams or promises in between: what the gateway and `fetch` use. */
  dispatch(request: ModelRequest, handler: ModelResponseHandler): ModelCall
  /** Every configured model and the state of its service. Starts nothing. */
  models(): readonly ModelListing[]
  /** One model by any reference. @throws {@link ModelNotFoundError} */
  model(ref: string): ModelListing
  /** Every service as it stands. */
  snapshot(): SupervisorSnapshot
  /** What the last process of a service printed, and prints. `id`: a provider id. Absent: it never ran. */
  output(id: string): Output | undefined
  /**
   * Brings a service up without a request; an open breaker is closed for it. The start goes on when the signal aborts.
   * @throws {@link ServiceError} when it does not become ready
   */
  start(id: string, options?: AcquireOptions): Promise<ServiceSnapshot>
  /** Stops a service that is ours and lets go of one that is not. Settles when it is down, with its receipt. */
  stop(id: string, options?: StopOptions): Promise<ServiceSnapshot>
  /** Puts another configuration into force. Services that are the same in both are not touched. */
  replaceConfig(next: Config): Promise<void>
  /** Drains and stops everything; `force` does not drain. Settles when nothing of it is left. */
  close(options?: StopOptions): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

type ProviderActor = ActorRefFrom<typeof providerMachine>

/** Creates a supervisor. Nothing is started before somebody asks for it. */
export function createSupervisor(options: SupervisorOptions): Supervisor {
  const { clock = systemClock, environment = process.env } = options
  let config = options.config
  let services = toServices(config)
  /** What was ever configured: a service that is being removed is still described here. */
  const known = new Map<string, Service>(services)
  const entered = new Map<string, number>()
  const upstreams = new Map<string, Upstream>()
  const hub = createEventHub(clock)
  const table = createProcessTable({ environment, clock })

  const serviceOf = (key: string): Service => {
    const service = known.get(key)
    if (service === undefined) throw new RangeError(`There is no service ${key}.`)
    return service
  }
  const publish = (key: string, event: ServiceEventBody) =>
    hub.publish({ service: serviceOf(key).name, key, ...event })
  const disconnect = async (generation: string) => {
    const upstream = upstreams.get(generation)
    upstreams.delete(generation)
    await upstream?.close()
  }
  const upstreamOf = ({ provider }: ModelTarget, generation: string) => {
    const upstream = upstreams.get(generation) ?? createUpstream(new URL(provider.baseUrl).origin, clock)
    upstreams.set(generation, upstream)
    return upstream
  }

  const provider = supervisedProviderMachine.provide({
    actors: createEffects({
      clock,
      table,
      claims: createLocalClaims(),
      serviceOf,
      heartbeatMs: () => config.leasehold.heartbeatMs,
      disconnect,
      publish,
    }),
  })
  const root = createActor(supervisorMachine.provide({ actors: { provider } }), {
    clock,
    input: {
      instance: randomBytes(6).toString('hex'),
      maxConcurrentStarts: config.leasehold.maxConcurrentStarts,
    },
    ...(options.inspect === undefined ? {} : { inspect: options.inspect }),
  })
  const actorOf = (key: string) => root.getSnapshot().children[key] as ProviderActor | undefined

  const toError = (key: string, failure: Failure) => {
    const tail = failure.tail ?? toTail(table.outputOf(key), failure)
    const retryAfterMs = toRetryAfterMs(key, failure)
    return new ServiceError(
      serviceOf(key).name,
      tail === undefined ? failure : { ...failure, tail },
      retryAfterMs === undefined ? {} : { retryAfterMs },
    )
  }
  const toRetryAfterMs = (key: string, { code }: Failure): number | undefined => {
    const actor = actorOf(key)
    if (actor === undefined) return undefined
    const { context } = actor.getSnapshot()
    if (code === 'LEASEHOLD_QUEUE_FULL') return 1_000
    if (code === 'LEASEHOLD_CIRCUIT_OPEN') {
      const snapshot = snapshotOf(key)
      return snapshot?.timers[0]?.remainingMs ?? context.policy.breakerCooldownMs
    }
    return context.failures > 0 ? toBackoffMs(context) : undefined
  }
  const leases = createLeaseBook({
    send: (key, event) => sendTo(key, event),
    publish,
    toError,
  })
  const sendTo = (key: string, event: ProviderEvent): boolean => {
    const actor = actorOf(key)
    if (actor === undefined || actor.getSnapshot().status !== 'active') return false
    actor.send(event)
    return true
  }

  /** Follows a new provider actor: its messages go to whom they concern, its state changes to everyone. */
  const follow = (key: string) => {
    const actor = actorOf(key)
    if (actor === undefined) return
    let state = toStateName(actor.getSnapshot().value)
    entered.set(key, clock.now())
    actor.on('*', (message) => {
      publish(key, message)
      leases.deliver(key, message)
    })
    actor.subscribe({
      next: ({ value, context }) => {
        const to = toStateName(value)
        if (to === state) return
        entered.set(key, clock.now())
        publish(key, {
          type: 'service.state',
          from: state,
          to,
          reason: to.startsWith('down.') ? (context.failure?.code ?? null) : context.stop,
        })
        if (to === 'down.cold' || to === 'retired') dropUpstreams(context.instance)
        state = to
      },
      // The supervisor machine hears of it and replaces the actor; here it only must not go unhandled.
      error: () => {},
    })
  }
  const dropUpstreams = (instance: string) => {
    for (const generation of upstreams.keys())
      if (generation.startsWith(`${instance}.`)) void disconnect(generation)
  }

  root.on('service.added', ({ key }) => {
    publish(key, { type: 'service.added' })
    follow(key)
  })
  root.on('service.retired', ({ key }) => {
    publish(key, { type: 'service.retired' })
    leases.abandon(key, { code: 'LEASEHOLD_STOPPED', message: 'it was removed' })
  })
  root.on('service.failed', ({ key, message }) => {
    publish(key, { type: 'service.failed', message })
    leases.abandon(key, { code: 'LEASEHOLD_INTERNAL', message: `its supervision failed: ${message}` })
    void table.reap(key)
  })
  root.start()
  const configure = () => {
    root.send({
      type: 'services.replaced',
      services: Object.fromEntries([...services].map(([key, { policy }]) => [key, policy])),
    })
  }

  const snapshotOf = (key: string): ServiceSnapshot | undefined => {
    const actor = actorOf(key)
    return actor && toServiceSnapshot(actor, serviceOf(key), entered.get(key) ?? clock.now(), clock.now())
  }
  const stateOf = (key: string) => snapshotOf(key)?.state
  const keyOf = (id: string): string => {
    const lower = id.toLowerCase()
    const found = config.providers.find((one) => one.id.toLowerCase() === lower)
    const key =
      found === undefined
        ? [...services.values()].find(({ name, key: own }) => name === id || own === id)?.key
        : toServiceKey(found)
    if (key === undefined || !services.has(key))
      throw new BadRequestError(
        `There is no service "${id}". There are: ${[...services.values()].map(({ name }) => name).join(', ')}.`,
        { status: 404 },
      )
    return key
  }
  /** Settles as soon as the service's state satisfies `is`, or its actor is gone. */
  const untilState = (key: string, is: (state: string) => boolean): Promise<void> =>
    new Promise((resolve) => {
      const actor = actorOf(key)
      if (actor === undefined || is(toStateName(actor.getSnapshot().value))) return resolve()
      const watch = actor.subscribe({
        next: ({ value }) => {
          if (!is(toStateName(value))) return
          watch.unsubscribe()
          resolve()
        },
        complete: resolve,
        error: () => resolve(),
      })
    })
  const described = (key: string): ServiceSnapshot => {
    const snapshot = snapshotOf(key)
    if (snapshot === undefined)
      throw new ServiceError(serviceOf(key).name, {
        code: 'LEASEHOLD_SHUTTING_DOWN',
        message: 'it is not supervised any more',
      })
    return snapshot
  }

  const requestPrefix = randomBytes(4).toString('hex')
  let requests = 0
  const dispatch = createExchange({
    clock,
    config: () => config,
    leases,
    upstreamOf,
    toId: () => `${requestPrefix}-${++requests}`,
    publish: (requestId, event) => hub.publish({ requestId, ...event }),
  })

  const close = async ({ force = false }: StopOptions = {}) => {
    root.send({ type: 'shutdown', force })
    closing ??= finish()
    await closing
  }
  let closing: Promise<void> | undefined
  const finish = async () => {
    await new Promise<void>((resolve) => {
      if (root.getSnapshot().status !== 'active') resolve()
      else root.subscribe({ complete: resolve, error: () => resolve() })
    })
    await table.close()
    await Promise.all([...upstreams.keys()].map(disconnect))
    signals?.[Symbol.dispose]()
    hub.publish({ type: 'supervisor.closed' })
    hub.close()
  }

  const supervisor: Supervisor = {
    fetch: createFetch({
      dispatch,
      listModels: () => supervisor.models(),
      findModel: (ref) => supervisor.model(ref),
    }),
    events$: hub.events$,
    get config() {
      return config
    },
    acquire: (ref, acquireOptions) => acquireLease(config, leases, ref, acquireOptions),
    dispatch,
    models: () => toModelList(config, stateOf),
    model: (ref) => findModelListing(config, ref, stateOf),
    snapshot: () => ({
      state: String(root.getSnapshot().value),
      services: [...services.keys()].flatMap((key) => snapshotOf(key) ?? []),
    }),
    output: (id) => table.outputOf(keyOf(id)),
    start: async (id, startOptions) => {
      const key = keyOf(id)
      sendTo(key, { type: 'breaker.reset' })
      const providerId = serviceOf(key).providers[0]?.id
      const lease = await acquireLease(
        config,
        leases,
        `${providerId}/${config.providers.find((one) => one.id === providerId)?.models[0]?.id ?? 'any'}`,
        startOptions,
      )
      lease.release()
      return described(key)
    },
    stop: async (id, { force = false } = {}) => {
      const key = keyOf(id)
      const reason: StopReason = 'asked'
      publish(key, { type: 'service.stop', reason, force })
      sendTo(key, { type: 'service.stop', reason, force })
      await untilState(key, (state) => state.startsWith('down.') || state === 'retired')
      return described(key)
    },
    replaceConfig: async (next) => {
      config = next
      services = toServices(next)
      for (const [key, service] of services) known.set(key, service)
      configure()
      hub.publish({ type: 'config.replaced' })
    },
    close,
    [Symbol.asyncDispose]: () => close(),
  }
  if (options.logger !== undefined) logEvents(hub.events$, options.logger)
  configure()
  const signals =
    options.handleSignals === true ? handleProcessSignals(close, () => table.killAllSync()) : undefined
  return supervisor
}

/** The last lines of the process, for failures that are about a process and do not carry them yet. */
function toTail(output: Output | undefined, { code }: Failure): readonly string[] | undefined {
  if (
    code !== 'LEASEHOLD_READY_TIMEOUT' &&
    code !== 'LEASEHOLD_BACKEND_FAILED' &&
    code !== 'LEASEHOLD_UNHEALTHY'
  )
    return undefined
  return output?.tail(20).map(({ text }) => text)
}
