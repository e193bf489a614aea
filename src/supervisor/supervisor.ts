import { randomBytes } from 'node:crypto'
import { type ActorRefFrom, createActor } from 'xstate'
import type { ProviderEmitted } from '../../machines/messages.ts'
import type { providerMachine } from '../../machines/provider.ts'
import { rankReplicas } from '../../machines/replicas.ts'
import { requestMachine } from '../../machines/request.ts'
import { supervisedProviderMachine } from '../../machines/supervised-provider.ts'
import { supervisorMachine } from '../../machines/supervisor.ts'
import { createLenientClock, systemClock } from '../clock.ts'
import { toConfig } from '../config/load.ts'
import type { ModelTarget } from '../config/model-ref.ts'
import { listSecretValues } from '../config/secret-values.ts'
import { ServiceError } from '../errors.ts'
import { createEventHub } from '../events/event-hub.ts'
import type { ServiceEventBody } from '../events/events.ts'
import { listenIn } from '../events/listen-in.ts'
import { createLeaseBook } from '../lease/desk.ts'
import { acquireLease, holdLease } from '../lease/lease.ts'
import { findDecision } from '../lease/room-wait.ts'
import { warmUp } from '../lease/warm-up.ts'
import { createInspections } from '../observe/inspection.ts'
import { logConfig, logEvents } from '../observe/log.ts'
import { createHostClaims } from '../peers/claim.ts'
import { createClaimKeeper } from '../peers/claim-keeper.ts'
import { createGuests } from '../peers/guests.ts'
import { reapOrphans } from '../process/reaping.ts'
import { openStateDirectory, toStateDirectoryPath } from '../process/state-directory.ts'
import { createProcessTable } from '../process/table.ts'
import { rememberAnswerSecrets } from '../request/answer-mask.ts'
import { createExchange } from '../request/exchange.ts'
import { createFetch } from '../request/fetch.ts'
import { createRequestBook } from '../request/open-requests.ts'
import { createTurns } from '../request/turns.ts'
import { createUpstreams } from '../request/upstreams.ts'
import { createEffects } from '../service/actors.ts'
import { createContextSizes } from '../service/context-sizes.ts'
import { createLearning } from '../service/learning.ts'
import { findModelListing, toModelList } from '../service/model-list.ts'
import { openHistory } from '../service/past-runs.ts'
import { createRegistry } from '../service/registry.ts'
import { toShare, toSharing } from '../service/seen-needs.ts'
import { toServiceKey } from '../service/services.ts'
import type { ServiceSnapshot } from '../service/snapshot.ts'
import { chooseInterpreter } from '../statechart/compile.ts'
import { stampDelays } from '../statechart/delays.ts'
import { createScrubber } from '../text/scrubber.ts'
import { createConfiguration } from './configuration.ts'
import { handleProcessSignals } from './host-signals.ts'
import type { StopOptions, Supervisor, SupervisorOptions } from './interface.ts'

/** The lowest there is: what is brought up without a request makes nobody in use give way. */
const BACKGROUND_PRIORITY = -100

/** Creates a supervisor. Nothing is started before somebody asks for it, but for what is to be preloaded. */
export function createSupervisor(options: SupervisorOptions): Supervisor {
  const { environment = process.env, logger, name = 'library' } = options
  const config = toConfig(options.config, environment)
  const clock = createLenientClock(options.clock ?? systemClock, () => {
    for (const key of registry.activeKeys()) registry.send(key, { type: 'host.resumed' })
  })
  const instance = randomBytes(6).toString('hex')
  const scrubber = createScrubber(listSecretValues(config, environment))
  const hub = createEventHub(clock, scrubber.value)
  const configuration = createConfiguration({
    config,
    publish: hub.publish,
    isClosing: () => isClosing,
    apply: (config) => {
      scrubber.learn(listSecretValues(config, environment))
      hub.rescrub()
      registry.replace(config)
      configure()
      if (logger !== undefined) logConfig(config, logger)
    },
  })
  const toStateDirectory = () => options.stateDir ?? toStateDirectoryPath(environment)
  const stateDirectory = () => openStateDirectory(toStateDirectory())
  const table = createProcessTable({
    environment,
    clock,
    watchdog: true,
    onWatchdogEvent: hub.publish,
    clean: scrubber.text,
    stateDirectory,
  })
  const upstreams = createUpstreams(clock, ({ provider }) => {
    const key = toServiceKey(provider)
    const address = effects.addressOf(key)
    // The supervisor that runs a borrowed server looks after its port, and knows which users its processes are.
    const isManaged =
      provider.localService !== undefined && registry.snapshotOf(key)?.ownership !== 'borrowed'
    return isManaged ? { address, refuse: () => effects.refuseOf(key, provider.baseUrl) } : { address }
  })
  const history = openHistory({ path: toStateDirectory, ensure: stateDirectory })
  const registry = createRegistry({
    config,
    clock,
    // The root knows its children by key; xstate types them only by id patterns.
    actorOf: (key) => root.getSnapshot().children[key] as ActorRefFrom<typeof providerMachine> | undefined,
    keysOf: () => Object.keys(root.getSnapshot().children),
    outputOf: table.outputOf,
    guestsOf: (key) => guests.of(key),
    leaseTimesOf: (key) => leases.leaseTimesOf(key),
    decisionOf: (key) => findDecision(root, root.getSnapshot().context, key, clock),
    history,
    memoryOf: (key) => learning.memoryOf(key),
  })
  const publish = (key: string, event: ServiceEventBody) =>
    hub.publish({ service: registry.nameOf(key), key, ...event })
  const withRetryAfter = (key: string, message: Extract<ProviderEmitted, { type: 'lease.refused' }>) => {
    const retryAfterMs = registry.retryAfter(key, message.failure)
    return retryAfterMs === undefined ? message : { ...message, retryAfterMs }
  }
  const leases = createLeaseBook({
    clock,
    placeOf: registry.placeOf,
    limits: () => configuration.current.leasehold,
    send: registry.send,
    publish,
    toError: registry.toError,
    isClosing: () => isClosing,
    inTurn: createTurns(),
  })
  const reap = async () => {
    const reapings = await reapOrphans({ state: stateDirectory(), owner: table.owner, clock })
    for (const reaping of reapings) hub.publish(reaping)
  }
  const guests = createGuests({ leases, publish, self: { pid: process.pid, name } })
  const claims = createClaimKeeper(
    createHostClaims({
      clock,
      name,
      stateDirectory,
      onClaimed: reap,
      onGuest: (address, guest) => guests.receive(claims.keyOf(address), guest),
    }),
    (key) => new URL(registry.serviceOf(key).healthUrl).origin,
  )

  /** Room that nobody answers for any more is free as soon as nothing of it is left. */
  const forgetStrays = () => {
    const left = new Set(table.entries().map(({ generation }) => generation))
    for (const { phase, generation } of root.getSnapshot().context.residents)
      if (phase === 'stray' && !left.has(generation))
        root.send({ type: 'run.ended', generation, survivors: 0 })
  }

  /** The root decides by what a service was last seen to need and to cost. */
  const remeasure = (key: string) => {
    const service = registry.services.get(key)
    if (service?.policy.drawsOnLimits)
      root.send({
        type: 'share.measured',
        key,
        share: toShare(service, configuration.current.leasehold, learning.seenOf(key)),
      })
  }
  const learning = createLearning({
    clock,
    table,
    history,
    nvidiaSmi: () => configuration.current.leasehold.nvidiaSmi,
    onGrown: remeasure,
    onLook: forgetStrays,
  })

  const effects = createEffects({
    clock,
    table,
    claims,
    serviceOf: registry.serviceOf,
    heartbeatMs: () => configuration.current.leasehold.heartbeatMs,
    disconnect: upstreams.disconnect,
    publish: (key, event) => {
      publish(key, event)
      learning.hear(key, event)
    },
    scrub: scrubber.value,
  })
  const contextSizes = createContextSizes({
    clock,
    serviceOf: registry.serviceOf,
    addressOf: effects.addressOf,
  })
  const compile = chooseInterpreter(environment)
  const provider = listenIn(compile(supervisedProviderMachine.provide({ actors: effects.actors })), publish)
  const root = createActor(compile(supervisorMachine.provide({ actors: { provider } })), {
    id: 'supervisor',
    clock,
    input: { instance },
  })
  stampDelays(root, clock)
  const openRequests = createRequestBook()
  const inspections = createInspections({
    root: () => root,
    requests: () => [...openRequests.open.values()].map(({ actor }) => actor),
  })
  if (options.inspect !== undefined) inspections.attach(options.inspect)
  root.on('service.added', ({ key }) => {
    publish(key, { type: 'service.added', ...registry.birthOf(key) })
    registry.follow(key, {
      message: (message) => {
        publish(key, message.type === 'lease.refused' ? withRetryAfter(key, message) : message)
        leases.deliver(key, message)
      },
      changed: (change, context) => {
        publish(key, { type: 'service.state', ...change })
        contextSizes.hear(key, change, context.generation)
        if (change.from === 'starting.warming') remeasure(key)
        if (change.to === 'down.cold' || change.to === 'retired')
          void upstreams.disconnectAll(`${context.instance}.`)
      },
    })
  })
  root.on('service.retired', ({ key }) => {
    publish(key, { type: 'service.retired' })
    leases.abandon(key, { code: 'LEASEHOLD_REMOVED', message: 'it was removed' })
    if (!registry.forget(key)) return
    effects.forget(key)
    leases.forget(key)
  })
  root.on('service.failed', ({ key, message }) => {
    publish(key, { type: 'service.failed', message })
    leases.abandon(key, { code: 'LEASEHOLD_INTERNAL', message: `its supervision failed: ${message}` })
    void table.reap(key).then(forgetStrays)
  })

  root.on('scheduler.decided', ({ key, type, choice, because, rejected }) =>
    publish(key, { type, choice, because, rejected }),
  )
  root.on('service.wanted', ({ key, cause }) => {
    // Why it could not be had is among the events; nobody waits for it.
    holdLease(leases, key, { priority: BACKGROUND_PRIORITY, cause }).then(
      ({ release }) => release(),
      () => {},
    )
  })

  const configure = () => {
    const policies = [...registry.services].map(([key, { policy }]) => [key, policy] as const)
    const { maxConcurrentStarts } = configuration.current.leasehold
    const sharing = toSharing(configuration.current, registry.services, learning.seenOf)
    root.send({
      type: 'services.replaced',
      services: Object.fromEntries(policies),
      maxConcurrentStarts,
      sharing,
    })
  }
  const describe = (key: string): ServiceSnapshot => {
    const snapshot = registry.snapshotOf(key)
    if (snapshot !== undefined) return snapshot
    throw new ServiceError(registry.serviceOf(key).name, {
      code: 'LEASEHOLD_SHUTTING_DOWN',
      message: 'it is not supervised any more',
    })
  }
  const rank = (replicas: readonly ModelTarget[]) =>
    replicas.length < 2
      ? replicas
      : rankReplicas(replicas.map(({ provider }) => registry.standingOf(provider))).flatMap(
          (index) => replicas[index] ?? [],
        )
  let requests = 0
  const dispatch = createExchange({
    clock,
    machine: compile(requestMachine),
    requests: openRequests,
    inspection: inspections.optionsOf,
    config: () => configuration.current,
    leases,
    rank,
    upstreamOf: upstreams.of,
    scrub: scrubber.text,
    secretsOf: rememberAnswerSecrets(() => configuration.current, environment),
    toId: () => {
      requests += 1
      return `${instance}-${requests}`
    },
    noteRefused: (key, generation) => {
      const verdict = { kind: 'refused', detail: 'a request was refused the connection' } as const
      publish(key, { type: 'health.verdict', verdict })
      registry.send(key, { type: 'health.verdict', generation, verdict, isOfRequest: true })
    },
    publish: (requestId, event) => hub.publish({ requestId, ...event }),
  })
  const standing = { stateOf: registry.stateOf, contextOf: contextSizes.of }
  const models = () => toModelList(configuration.current, standing)
  const model = (ref: string) => findModelListing(configuration.current, ref, standing)

  let isClosing = false
  let closing: Promise<void> | undefined
  const finish = async () => {
    await new Promise<void>((resolve) => {
      if (root.getSnapshot().status !== 'active') resolve()
      else root.subscribe({ complete: resolve, error: () => resolve() })
    })
    learning.close()
    contextSizes.close()
    await table.close()
    await upstreams.disconnectAll()
    signals?.[Symbol.dispose]()
    hub.publish({ type: 'supervisor.closed' })
    hub.close()
  }
  const close = ({ force = false }: StopOptions = {}) => {
    isClosing = true
    if (root.getSnapshot().status === 'active') {
      root.send({ type: 'shutdown', force })
    }
    closing ??= finish()
    return closing
  }

  if (logger !== undefined) {
    logEvents(hub.events$, logger)
    logConfig(config, logger)
  }
  const { handleSignals = false } = options
  const signals =
    handleSignals === false
      ? undefined
      : handleProcessSignals({
          close,
          killAllSync: table.killAllSync,
          ...(handleSignals === true ? {} : handleSignals),
        })
  root.start()
  configure()

  return {
    fetch: createFetch({ dispatch, listModels: models, findModel: model }),
    events$: hub.events$,
    seq$: hub.seq$,
    pastEvents: (afterSeq = 0, limit, choose) => hub.past(afterSeq, limit, choose),
    get config() {
      return configuration.current
    },
    acquire: (ref, acquireOptions) =>
      acquireLease(() => configuration.current, leases, rank, ref, acquireOptions),
    dispatch,
    models,
    model,
    snapshot: () =>
      scrubber.value({
        instance,
        seq: hub.lastSeq,
        atMs: hub.nowMs,
        state: String(root.getSnapshot().value),
        config: configuration.standing(),
        watchdog: table.watchdog(),
        services: registry.snapshots(),
      }),
    service: (id) => scrubber.value(describe(registry.keyOf(id))),
    requests: (limit) => openRequests.list(clock.now(), limit),
    cancel: openRequests.cancel,
    inspect: inspections.attach,
    output: (id) => table.outputOf(registry.keyOf(id)),
    start: async (id, startOptions) => {
      const key = registry.keyOf(id)
      registry.send(key, { type: 'breaker.reset' })
      const up = await warmUp(key, {
        ...startOptions,
        root,
        leases,
        toError: registry.toError,
        look: () => describe(key),
      })
      // What is borrowed is let go with this lease, and its owner keeps it up.
      return up.ownership === 'borrowed' ? up : describe(key)
    },
    stop: async (id, { force = false } = {}) => {
      const key = registry.keyOf(id)
      const { holder, generation: stopped } = describe(key)
      registry.send(key, { type: 'service.stop', reason: 'asked', force })
      // A service that a reload removed is forgotten as soon as it is retired.
      let last: ServiceSnapshot | undefined
      // A request that came meanwhile begins the next run in the same step, so it need never be seen down.
      await registry.untilState(key, (state, generation) => {
        if (state === 'retired') last = describe(key)
        return (
          state.startsWith('down.') || state === 'retired' || (stopped !== null && generation !== stopped)
        )
      })
      return { ...(last ?? describe(key)), holder }
    },
    replaceConfig: (next) =>
      configuration.replace(Promise.resolve(next).then((given) => toConfig(given, environment))),
    close,
    [Symbol.asyncDispose]: () => close(),
  }
}
