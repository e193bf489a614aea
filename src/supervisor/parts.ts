import { randomBytes } from 'node:crypto'
import { Subject } from 'rxjs'
import { type ActorRefFrom, createActor } from 'xstate'
import type { providerMachine } from '../../machines/provider/chart.ts'
import { supervisedProviderMachine } from '../../machines/provider/supervised.ts'
import { hasTag } from '../../machines/provider/tags.ts'
import { requestMachine } from '../../machines/request.ts'
import { listSleepersBeside, toNeeds } from '../../machines/scheduler.ts'
import { supervisorMachine } from '../../machines/supervisor.ts'
import { createLenientClock, systemClock } from '../clock.ts'
import type { ProviderConfig } from '../config/config.ts'
import { toConfig } from '../config/load.ts'
import type { ModelTarget } from '../config/model-ref.ts'
import { listSecretValues } from '../config/secret-values.ts'
import { createEventHub } from '../events/event-hub.ts'
import type { RequestEventBody, ServiceEventBody } from '../events/events.ts'
import { listenIn } from '../events/listen-in.ts'
import { createLeaseBook } from '../lease/desk.ts'
import { findDecision } from '../lease/room-wait.ts'
import { createHardwareWatch } from '../observe/hardware.ts'
import { createInspections } from '../observe/inspection.ts'
import { logConfig } from '../observe/log.ts'
import { createLogSorter } from '../observe/own-log.ts'
import { createTimeline } from '../observe/timeline.ts'
import { createClaimKeeper } from '../peers/claim-keeper.ts'
import { createGuests } from '../peers/guests.ts'
import { createHostClaims } from '../peers/host-claims.ts'
import type { PeerConnection } from '../peers/peer-wire.ts'
import { buildChildEnvironment } from '../process/environment.ts'
import { readGpus } from '../process/gpus.ts'
import { readHost, readHostFacts } from '../process/host-reading.ts'
import type { RecordedServer } from '../process/owner-record.ts'
import { LeftServerError, reapOrphans } from '../process/reaping.ts'
import { openStateDirectory, toStateDirectoryPath } from '../process/state-directory.ts'
import { createProcessTable } from '../process/table.ts'
import { rememberAnswerSecrets } from '../request/answer-mask.ts'
import { createBodyCapture } from '../request/body-capture.ts'
import { rememberClientNames } from '../request/client-name.ts'
import type { Exchange } from '../request/exchange.ts'
import { createMembership } from '../request/membership.ts'
import { createLeadsOn } from '../request/one-hop.ts'
import { createRequestBook, joinBooks } from '../request/open-requests.ts'
import { explainChoice, findRoom, rankTargets } from '../request/ranking.ts'
import { createRequestLog } from '../request/request-log.ts'
import { createRequests } from '../request/requests.ts'
import { createServerCalls, type ServerCallRecord } from '../request/server-calls.ts'
import { createTurns } from '../request/turns.ts'
import { createUpstreams } from '../request/upstreams.ts'
import { createEffects } from '../service/actors.ts'
import { createCatalogue } from '../service/catalogue.ts'
import { createConfiguration } from '../service/config-in-force.ts'
import { createContextSizes } from '../service/context-sizes.ts'
import { createLearning } from '../service/learning.ts'
import { createLeaseRequests } from '../service/lease-requests.ts'
import { toStartCost } from '../service/own-offers.ts'
import { createDurations } from '../service/past-durations.ts'
import { openHistory } from '../service/past-runs.ts'
import { createRegistry } from '../service/registry.ts'
import { toSharing } from '../service/seen-needs.ts'
import { toClaimAddress, toEnvironment, toServiceKey } from '../service/services.ts'
import { stampDelays } from '../statechart/armed-delays.ts'
import { chooseInterpreter } from '../statechart/compile.ts'
import { createScrubber } from '../text/scrubber.ts'
import { hasPassed } from '../transport/hops.ts'
import { createMemberTls } from '../transport/member-tls.ts'
import { createClusterSeat } from './cluster-seat.ts'
import type { SupervisorOptions } from './interface.ts'
import { createLeftServers, findServiceOf } from './left-servers.ts'
import { createStartPlace } from './start-place.ts'

/** The parts of one supervisor. */
export type Parts = ReturnType<typeof createParts>

/** What a supervisor consists of. Each part is given what it needs of the parts above it; nothing is started. */
export function createParts(options: SupervisorOptions) {
  const { environment = process.env, logger, name = 'library' } = options
  const config = toConfig(options.config, environment)
  const instance = randomBytes(6).toString('hex')
  const gap$ = new Subject<void>()
  const clock = createLenientClock(options.clock ?? systemClock, () => gap$.next())

  const catalogue = createCatalogue(config)
  const limits = () => catalogue.config.leasehold
  const scrubber = createScrubber(listSecretValues(config, environment))
  const hub = createEventHub(clock, scrubber.value, createLogSorter())
  const publish = (key: string, event: ServiceEventBody) => {
    hub.publish({ service: catalogue.nameOf(key), key, ...event })
    seat.noteChange()
  }

  const stateDirectoryPath = () => options.stateDir ?? toStateDirectoryPath(environment)
  const stateDirectory = () => openStateDirectory(stateDirectoryPath())
  const table = createProcessTable({
    environment,
    clock,
    watchdog: true,
    onWatchdogEvent: hub.publish,
    clean: scrubber.text,
    stateDirectory,
  })
  const history = openHistory({ path: stateDirectoryPath, ensure: stateDirectory })
  const learning = createLearning({ clock, table, history, nvidiaSmi: () => limits().nvidiaSmi })

  const leftServers = createLeftServers(() => root.getSnapshot().context)
  const arrival$ = new Subject<{ readonly address: string; readonly guest: PeerConnection }>()
  const hostClaims = createHostClaims({
    clock,
    name,
    stateDirectory,
    onClaimed: async (address) => {
      const serviceOf = (server: RecordedServer) => {
        const service = findServiceOf(server, catalogue.services)
        const env = service && toEnvironment(service)
        const { inheritEnv } = service?.localService ?? {}
        return {
          key: service?.key ?? server.key,
          env: buildChildEnvironment({ host: environment, env, inheritEnv, markers: {} }),
        }
      }
      const options = { state: stateDirectory(), owner: table.owner, clock, serviceOf }
      const { events, left } = await reapOrphans(options)
      for (const event of events) hub.publish(event)
      const found = [...catalogue.services.values()]
        .filter((service) => toClaimAddress(service) === address)
        .map((service) => leftServers.findInTheWay(left, service))
        .find((one) => one !== undefined)
      if (found !== undefined) throw new LeftServerError(found)
    },
    onReleased: leftServers.forget,
    onGuest: (address, guest) => arrival$.next({ address, guest }),
  })
  const claims = createClaimKeeper(hostClaims, (key) => toClaimAddress(catalogue.serviceOf(key)))
  const guests = createGuests({ publish, self: { pid: process.pid, name } })

  const upstreams = createUpstreams(clock)
  const { cluster } = config.leasehold
  const memberTls = cluster && createMemberTls(cluster.secret).connect
  /** Members with an https address prove the secret by TLS: the one of the start, as the cluster itself does. */
  const tlsOf = ({ memberOf, baseUrl }: ProviderConfig) =>
    memberOf !== undefined && baseUrl.startsWith('https:') ? memberTls : undefined
  const leaseRequests = createLeaseRequests()
  const effects = createEffects({
    clock,
    table,
    claims,
    place: (key, signal) => startPlace.place(key, signal),
    listSleepersBeside: (key) => listSleepersBeside(root.getSnapshot().context, key),
    requests$: leaseRequests.requests$,
    needsOf: (key) => toNeeds(root.getSnapshot().context, key),
    serviceOf: catalogue.serviceOf,
    tlsOf,
    heartbeatMs: () => limits().heartbeatMs,
    disconnect: upstreams.disconnect,
    resumed$: gap$,
    publish: (key, event) => {
      publish(key, event)
      learning.hear(key, event)
    },
    scrub: scrubber.value,
  })
  const contextSizes = createContextSizes({
    clock,
    serviceOf: catalogue.serviceOf,
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
  const isClosing = () => !root.getSnapshot().matches('running')

  const leaseTimes = createDurations()
  const requestLog = createRequestLog()
  const timeline = createTimeline()
  const hardware = createHardwareWatch({
    clock,
    nowMs: () => hub.nowMs,
    readHostFacts,
    readHost,
    readGpus: (signal) => readGpus(limits().nvidiaSmi, { signal }),
  })
  const registry = createRegistry({
    catalogue,
    clock,
    // The root knows its children by key; xstate types them only by id patterns.
    actorOf: (key) => root.getSnapshot().children[key] as ActorRefFrom<typeof providerMachine> | undefined,
    keysOf: () => Object.keys(root.getSnapshot().children),
    outputOf: table.outputOf,
    guestsOf: guests.of,
    leaseTimesOf: leaseTimes.of,
    totalsOf: requestLog.totalsOf,
    decisionOf: (key) => findDecision(root, root.getSnapshot().context, key, clock),
    history,
    memoryOf: learning.memoryOf,
  })
  const leases = createLeaseBook({
    clock,
    leaseTimes,
    placeOf: registry.placeOf,
    limits,
    send: leaseRequests.send,
    mail: registry.send,
    publish,
    toError: registry.toError,
    isClosing,
    inTurn: createTurns(),
  })
  gap$.subscribe(() => {
    for (const key of registry.activeKeys()) registry.send(key, { type: 'host.resumed' })
    seat.noteStandstill()
  })
  arrival$.subscribe(({ address, guest }) => guests.receive(claims.keyOf(address), guest, leases))
  const rank = (replicas: readonly ModelTarget[]) =>
    replicas.length < 2 ? replicas : rankTargets(replicas, loadOf, membership)
  const startMsOf = (key: string) => history.startsOf(key)?.medianMs ?? null
  /** Among members a start here is compared with one elsewhere, by what both need. */
  const loadOf = (provider: ProviderConfig) => {
    const load = registry.loadOf(provider)
    const { state } = load
    if (membership.neighbourhood === undefined || provider.memberOf !== undefined || state === null)
      return load
    if (hasTag(state, 'up') || hasTag(state, 'starting')) return load
    return { ...load, ...toStartCost({ startMsOf, scheduling: root.getSnapshot().context }, provider) }
  }
  const locate = ({ provider }: ModelTarget) => {
    const key = toServiceKey(provider)
    const address = effects.addressOf(key)
    // The supervisor that runs a borrowed server watches its port, and knows which users its processes are.
    const isManaged =
      provider.localService !== undefined && registry.snapshotOf(key)?.ownership !== 'borrowed'
    const tls = tlsOf(provider)
    return isManaged ? { address, refuse: () => effects.refuseOf(key, provider.baseUrl) } : { address, tls }
  }
  const openRequests = createRequestBook<Exchange>()
  const openServerCalls = createRequestBook<ServerCallRecord>()
  const inspections = createInspections({
    root: () => root,
    requests: () => [...openRequests.open, ...openServerCalls.open].map(([, { actor }]) => actor),
    nameOf: catalogue.nameOf,
  })
  const secretsOf = rememberAnswerSecrets(() => catalogue.config, environment)
  let requests = 0
  const common = {
    clock,
    machine: requestMachine,
    compile,
    inspection: inspections.optionsOf,
    createId: () => {
      requests += 1
      return `${instance}-${requests}`
    },
    publish: (requestId: string, event: RequestEventBody) => hub.publish({ requestId, ...event }),
    clientOf: rememberClientNames(),
    loadMsOf: registry.loadMsOf,
    keep: requestLog.add,
  }
  const openServerCall = createServerCalls({ ...common, book: openServerCalls })
  const bodies = createBodyCapture(() => catalogue.config.leasehold.captureBodies, scrubber.text)
  const dispatch = createRequests({
    ...common,
    watchBodies: bodies.watch,
    requests: openRequests,
    config: () => catalogue.config,
    ownConfig: () => membership.own,
    sharedConfig: () => membership.shared,
    leases,
    rank,
    explainChoice: (replicas, chosen) => explainChoice(replicas, chosen, loadOf, membership),
    findRoom: (targets, from) => findRoom(targets, loadOf, membership, from),
    findAway: (ref) => seat.findAway(ref),
    upstreamOf: (target, generation) => upstreams.of(target, generation, locate),
    scrub: scrubber.text,
    secretsOf,
    leadsOn: createLeadsOn(() => catalogue.config, effects.instanceOf),
    isFromListed: (headers) => [...effects.listInstances()].some((one) => hasPassed(headers, one)),
    neighbourhood: () => membership.neighbourhood,
    noteRefused: (key, generation) => {
      const verdict = { kind: 'refused', detail: 'a request was refused the connection' } as const
      publish(key, { type: 'health.verdict', verdict })
      registry.send(key, { type: 'health.verdict', generation, verdict, isOfRequest: true })
    },
  })

  const replaceServices = () =>
    root.send({
      type: 'services.replaced',
      services: Object.fromEntries([...catalogue.services].map(([key, { policy }]) => [key, policy])),
      maxConcurrentStarts: limits().maxConcurrentStarts,
      sharing: toSharing(catalogue.config, catalogue.services, learning.seenOf),
    })
  const membership = createMembership(config, {
    apply: (next) => {
      catalogue.replace(next)
      replaceServices()
    },
    lost: ({ member, boot }) => {
      for (const [, exchange] of openRequests.open) {
        exchange.lose(member)
        exchange.loseOrigin(member, boot)
      }
    },
  })
  const seat = createClusterSeat({
    config: config.leasehold.cluster,
    clock,
    membership,
    facts: {
      loadOf: registry.loadOf,
      startMsOf,
      contextOf: contextSizes.of,
      scheduling: () => root.getSnapshot().context,
    },
    serviceOf: catalogue.serviceOf,
    lastByteOf: (member) => {
      let last = Number.NEGATIVE_INFINITY
      for (const [, exchange] of openRequests.open) last = Math.max(last, exchange.lastByteOf(member))
      return last
    },
    publish: hub.publish,
    revoke: (key, member) => startPlace.revoke(key, member),
  })
  const startPlace = createStartPlace({
    seat,
    waitersOf: registry.waitersOf,
    requestOf: (id) => openRequests.open.get(id),
    giveUp: (key, member) => registry.send(key, { type: 'start.revoked', member }),
  })
  const configuration = createConfiguration({
    current: () => catalogue.config,
    publish: hub.publish,
    isClosing,
    apply: (next) => {
      scrubber.learn(listSecretValues(next, environment))
      hub.rescrub()
      membership.replace(next)
      if (logger !== undefined) logConfig(next, logger)
    },
  })

  return {
    environment,
    clock,
    instance,
    catalogue,
    scrubber,
    hub,
    publish,
    table,
    learning,
    upstreams,
    leaseRequests,
    effects,
    contextSizes,
    root,
    leaseTimes,
    requestLog,
    timeline,
    hardware,
    registry,
    leases,
    rank,
    openRequests: joinBooks([openRequests, openServerCalls]),
    inspections,
    secretsOf,
    bodies,
    dispatch,
    openServerCall,
    replaceServices,
    membership,
    seat,
    configuration,
  }
}
