import type { ConnectionOptions } from 'node:tls'
import { type Observable, Subject, type Subscription } from 'rxjs'
import { fromCallback, fromEventObservable, fromPromise } from 'xstate'
import type {
  ClaimOutcome,
  HealthCommand,
  LeaseEvent,
  PeerCommand,
  Presence,
  ProbeOutcome,
  ProcessCommand,
  ProviderEvent,
  SleepOutcome,
  Verdict,
} from '../../machines/messages.ts'
import type { ServiceInput } from '../../machines/ports.ts'
import type { Amounts } from '../../machines/scheduler.ts'
import type { Clock } from '../clock.ts'
import type { LocalServiceConfig, ProviderConfig } from '../config/config.ts'
import { findEngine } from '../config/engines.ts'
import type { ServiceEventBody } from '../events/events.ts'
import { judgeLoaded } from '../health/loaded-check.ts'
import { PROBE_TIMEOUT_MS, type ProbeOptions, probe } from '../health/probe.ts'
import { NO_LISTENER } from '../health/verdict.ts'
import { createBorrowing } from '../peers/borrowing.ts'
import type { ClaimKeeper } from '../peers/claim-keeper.ts'
import type { OutsideCommands } from '../process/outside.ts'
import type { RunHandle } from '../process/run.ts'
import type { ProcessTable } from '../process/table.ts'
import { findOtherUser, findPortHolder, findSoleHolder, toAddress } from '../process/tcp-ports.ts'
import { createHealth$ } from './health-stream.ts'
import type { LeaseRequests } from './lease-requests.ts'
import { type Service, toEnvironment } from './services.ts'
import { createSleepRequests } from './sleep-requests.ts'

/** What the effects of all services work with. */
export interface Surroundings {
  readonly clock: Clock
  readonly table: ProcessTable
  readonly claims: ClaimKeeper
  /** Whether a service whose claim on this host is ours may be started on this host. Rejects with the signal's reason. */
  readonly place: (key: string, signal: AbortSignal) => Promise<ClaimOutcome>
  /** The services whose sleep leaves room for a service. */
  readonly listSleepersBeside: (key: string) => readonly string[]
  /** The parts of shared limits that a run of a service holds. */
  readonly needsOf: (key: string) => Amounts
  /** Lease requests, cancellations and releases of a service. */
  readonly requests$: LeaseRequests['requests$']
  /** The service as it is configured now. */
  readonly serviceOf: (key: string) => Service
  /** What a TLS connection to the server of a provider needs beside what its URL says. */
  readonly tlsOf: (provider: ProviderConfig) => ConnectionOptions | undefined
  /** Time between two heartbeats of a service that is up, in milliseconds. */
  readonly heartbeatMs: () => number
  /** Closes our connections to a generation, and waits until its server can have noticed. */
  readonly disconnect: (generation: string) => Promise<void>
  /** The host or this process resumed after it stood still. */
  readonly resumed$: Observable<void>
  readonly publish: (key: string, event: ServiceEventBody) => void
  /** Masks secrets in text of servers and peers. */
  readonly scrub: <T>(value: T) => T
}

type Daemon = NonNullable<LocalServiceConfig['daemon']>

interface CheckOptions {
  readonly signal?: AbortSignal
  readonly models?: readonly string[]
  readonly timeoutMs?: number
}

/** Least time of the look before a start, in milliseconds: a busy host takes a while to refuse a connection. */
const MIN_LOOK_MS = 250

const SLEEPS: Verdict = {
  kind: 'loading',
  detail: 'it sleeps, and leasehold wakes only servers that it started: wake it, or stop it',
}

export type Effects = ReturnType<typeof createEffects>

/** Every effect of the provider machine, for its `provide`. They never throw: what fails becomes an event. */
export function createEffects({
  clock,
  table,
  claims,
  place,
  listSleepersBeside,
  needsOf,
  requests$,
  serviceOf,
  tlsOf,
  heartbeatMs,
  disconnect,
  resumed$,
  publish,
  scrub,
}: Surroundings) {
  /** The subscriptions of each service, by key: an actor that fails leaves its own behind. */
  const watches = new Map<string, Subscription>()
  /** The last run of each service. */
  const runs = new Map<string, RunHandle>()
  /**
   * Where the server of each service was found ready first, until the next start or look for one: it is asked and used
   * there, whatever else comes to the name of its address. Servers that leasehold does not run have no entry: their name may move to another address.
   */
  const addresses = new Map<string, string>()
  /** The instances of the servers that are leaseholds themselves. */
  const instances = new Map<string, string>()
  const toOtherUserText = (uid: number, port: number) =>
    `another user of this host (uid ${uid}) listens on port ${port}`
  /** The verdict on a server of another user of this host. It is not asked: the question carries the key. */
  const findOtherUsers = (key: string, origins: Iterable<string>): Verdict | undefined => {
    const ours = () => runs.get(key)?.members() ?? []
    // A container or a unit may run as a user of its own.
    if (serviceOf(key).localService?.external) return undefined
    for (const url of origins) {
      const address = toAddress(url)
      const uid = findOtherUser(address, ours)
      if (uid === undefined) continue
      const { strangers = [] } = findPortHolder(address, ours()) ?? {}
      const detail = toOtherUserText(uid, address.port)
      return { kind: 'foreign', detail, portHolder: { port: address.port, ours: [], strangers, uid } }
    }
    return undefined
  }
  const check = async (key: string, more: CheckOptions = {}): Promise<Verdict> => {
    const { healthUrl, healthHeaders, localService, providers } = serviceOf(key)
    const { origin } = new URL(healthUrl)
    const others = new Set(providers.map(({ baseUrl }) => new URL(baseUrl).origin))
    others.delete(origin)
    let otherUsers = localService && findOtherUsers(key, others)
    if (otherUsers !== undefined) return scrub(otherUsers)
    // After the connection is made: only then is there a listener, and a look costs as much as the rest of a probe.
    const refuse = () => {
      otherUsers = localService && findOtherUsers(key, [origin])
      return otherUsers !== undefined
    }
    const onReadyAt = (address: string, instance: string | undefined) => {
      if (localService !== undefined && !addresses.has(key)) addresses.set(key, address)
      if (instance !== undefined) instances.set(key, instance)
      else instances.delete(key)
    }
    const address = addresses.get(key)
    const [provider] = providers
    const tls = provider && tlsOf(provider)
    const options = {
      url: healthUrl,
      headers: healthHeaders,
      clock,
      address,
      tls,
      refuse,
      onReadyAt,
      ...more,
    }
    const { daemon } = localService ?? {}
    const verdict = await probe(daemon ? askLoaded(options, daemon) : options, more.signal)
    return scrub(otherUsers ?? verdict)
  }
  /**
   * Whether a model of a daemon is loaded. A daemon that does not listen has none; of a host that is away nothing is
   * known. `serviceOf` may not know the service any more: it was removed, and its model is not unloaded yet.
   */
  const lookForModel = async (
    { key, healthUrl, healthHeaders }: Service,
    daemon: Daemon,
  ): Promise<Presence> => {
    const options = { url: healthUrl, headers: healthHeaders, clock, address: addresses.get(key) }
    const verdict = await probe(askLoaded(options, daemon)).catch(() => undefined)
    if (verdict?.kind === 'ready') return 'there'
    const isTold = verdict?.status !== undefined || verdict?.detail === NO_LISTENER
    return verdict?.kind === 'refused' && isTold ? 'gone' : 'unknown'
  }
  /** Before a start: nothing loads a model where no daemon listens, and no other service makes room for it. */
  const refuseWithoutDaemon = (key: string, verdict: Verdict): Verdict => {
    const { localService, healthUrl } = serviceOf(key)
    if (localService?.daemon === undefined || verdict.kind !== 'refused' || verdict.status !== undefined)
      return verdict
    const { origin } = new URL(healthUrl)
    if (verdict.detail !== NO_LISTENER)
      return {
        ...verdict,
        kind: 'failed',
        fault: `its daemon at ${origin} cannot be reached: ${verdict.detail}`,
      }
    const start = findEngine(localService.engine)?.toDaemon?.({
      model: '',
      context: undefined,
      name: '',
    }).start
    const cure =
      start === undefined ? 'start the daemon of the model' : `start it, for instance with "${start}"`
    return { ...verdict, kind: 'failed', fault: `its daemon does not listen at ${origin}: ${cure}` }
  }
  /**
   * A server that leasehold did not start may sleep, and is not woken: a request, or a health check, could end it.
   * `undefined`: it does not sleep, or wakes by itself, or that cannot be told.
   */
  const lookForSleep = async (key: string, signal?: AbortSignal): Promise<Verdict | undefined> => {
    const { policy } = serviceOf(key)
    if (policy.sleep === null || policy.sleep.isSelf || runs.get(key)?.isAlive()) return undefined
    const seen = await sleepRequests.look(key, signal)
    return seen !== undefined && 'isAsleep' in seen && seen.isAsleep ? SLEEPS : undefined
  }
  /**
   * A server that answers before ours runs may be for other models. A server that never ends its answer is waited for
   * until the deadline, so the check counts as part of the wait.
   */
  const checkOther = async (key: string, signal: AbortSignal): Promise<Verdict> => {
    const { providers, policy } = serviceOf(key)
    const models = providers.flatMap((provider) => provider.models.map(({ upstreamId }) => upstreamId))
    const timeoutMs = Math.min(PROBE_TIMEOUT_MS, Math.max(MIN_LOOK_MS, policy.readyTimeoutMs))
    const begunMs = clock.now()
    const verdict = (await lookForSleep(key, signal)) ?? (await check(key, { signal, models, timeoutMs }))
    return verdict.kind === 'loading' ? { ...verdict, tookMs: Math.round(clock.now() - begunMs) } : verdict
  }
  /**
   * A port that the file leaves to leasehold says nothing about a server that answers there before ours is started: it
   * may be the service of another file, whose ports begin at the same number.
   */
  const refuseAtAssignedPort = (key: string, verdict: Verdict): Verdict => {
    if (serviceOf(key).localService?.isPortAssigned !== true) return verdict
    if (verdict.kind !== 'ready' && verdict.kind !== 'loading') return verdict
    const { port } = toAddress(serviceOf(key).healthUrl)
    return {
      kind: 'foreign',
      detail: `another server answers at port ${port}, which was assigned to this service; set another leasehold.firstPort`,
    }
  }
  /** Adds the process that answered to a verdict. */
  const explain = (key: string, verdict: Verdict, run?: RunHandle): Verdict => {
    const { localService, healthUrl } = serviceOf(key)
    if (localService === undefined || !['foreign', 'ready'].includes(verdict.kind)) return verdict
    // The listener of a container or a unit is not below our process, by intention.
    if (localService.external && run !== undefined) return verdict
    if (verdict.portHolder?.uid !== undefined) return verdict
    const address = toAddress(healthUrl)
    const pid = run?.pid() ?? null
    const portHolder =
      (pid === null ? undefined : findSoleHolder(address, pid)) ??
      findPortHolder(address, run?.members() ?? [])
    return portHolder === undefined ? verdict : { ...verdict, portHolder }
  }
  const sleepRequests = createSleepRequests({
    clock,
    serviceOf,
    addressOf: (key) => addresses.get(key),
    isForeign: (key) => findOtherUsers(key, [new URL(serviceOf(key).healthUrl).origin]) !== undefined,
    disconnect: async (key) => {
      const generation = runs.get(key)?.generation
      if (generation !== undefined) await disconnect(generation)
    },
    check,
    scrub,
  })
  const health$ = createHealth$({
    clock,
    runOf: (key) => runs.get(key),
    outputOf: (key) => table.outputOf(key)?.lines$,
    heartbeatMs,
    publish,
    check: async (key) => (await lookForSleep(key)) ?? check(key),
    lookAtSleep: sleepRequests.look,
    explain,
    serviceOf,
    scrub,
  })

  /** How each service is told what its health stream did not see. */
  const tellers = new Map<string, (event: ProviderEvent) => void>()
  /**
   * Whether a server that was counted as asleep is awake, because it was woken by another client. The heartbeat may be as
   * late as its period, so each is asked before its room is used.
   */
  const isRoomLost = async (key: string, signal: AbortSignal): Promise<boolean> => {
    const looks = listSleepersBeside(key).map(async (other) => {
      const generation = runs.get(other)?.generation
      const seen = await sleepRequests.look(other, signal)
      if (generation === undefined || seen === undefined || !('isAsleep' in seen) || seen.isAsleep) return
      tellers.get(other)?.({ type: 'sleep.seen', generation, isAsleep: false })
      return listSleepersBeside(key).includes(other) ? undefined : other
    })
    return (await Promise.all(looks)).some((other) => other !== undefined)
  }

  const actors = {
    probe: fromPromise<ProbeOutcome, ServiceInput>(async ({ input: { key }, signal }) => {
      if (serviceOf(key).localService === undefined) return checkOther(key, signal)
      // Waits for the receipt of our own run at this address: a server of ours that is being stopped must not be adopted.
      const claimed = await claims.take(key, signal)
      if (claimed.outcome !== 'claimed') return claimed
      addresses.delete(key)
      const verdict = refuseWithoutDaemon(key, refuseAtAssignedPort(key, await checkOther(key, signal)))
      // The claim is kept, so that no other supervisor starts the service, too.
      if (verdict.kind !== 'refused' || signal.aborted) claims.release(key)
      return verdict.kind === 'foreign' ? explain(key, verdict) : verdict
    }),

    claim: fromPromise<ClaimOutcome, ServiceInput>(async ({ input: { key }, signal }) => {
      const claimed = await claims.take(key, signal)
      if (claimed.outcome !== 'claimed') return claimed
      const placed = (await isRoomLost(key, signal))
        ? ({ outcome: 'no-room' } as const)
        : await place(key, signal)
      if (placed.outcome !== 'claimed') claims.release(key)
      return placed
    }),

    sleep: fromPromise<SleepOutcome, ServiceInput>(({ input: { key }, signal }) =>
      sleepRequests.sleep(key, signal),
    ),
    wake: fromPromise<SleepOutcome, ServiceInput>(async ({ input: { key }, signal }) =>
      (await isRoomLost(key, signal)) ? { outcome: 'no-room' } : sleepRequests.wake(key, signal),
    ),

    peer: fromCallback<PeerCommand, ServiceInput, ProviderEvent>(({ input: { key }, sendBack, receive }) => {
      const borrowing = createBorrowing({
        key,
        clock,
        meet: () => claims.meet(key),
        report: sendBack,
        resumed$,
      })
      receive((command) => {
        if (command.type === 'claim.release') claims.release(key)
        else borrowing.obey(command)
      })
      return () => {
        borrowing.close()
        claims.release(key)
      }
    }),

    requests: fromEventObservable<LeaseEvent, ServiceInput>(({ input }) => requests$(input.key)),

    process: fromCallback<ProcessCommand, ServiceInput, ProviderEvent>(
      ({ input: { key }, sendBack, receive }) => {
        const spawn = (generation: string) => {
          const service = serviceOf(key)
          const { localService } = service
          if (localService === undefined) return
          const { command, args, cwd, inheritEnv, daemon } = localService
          const outside = toOutside(service, {
            look: daemon && (() => lookForModel(service, daemon)),
            needs: needsOf(key),
          })
          claims.noteBegin(key)
          addresses.delete(key)
          const run = table.run(
            {
              key,
              generation,
              command,
              args,
              env: toEnvironment(service),
              inheritEnv,
              ...(cwd === undefined ? {} : { cwd }),
              beforeSignal: () => disconnect(generation),
              // The listener there is the daemon, which was there before and stays.
              ...(daemon === undefined ? { address: toAddress(service.healthUrl) } : {}),
              ...(outside === undefined ? {} : { outside }),
            },
            (event) => {
              if (event.type === 'process.exited') void disconnect(generation)
              if (event.type === 'process.settled' || event.type === 'process.failed') claims.noteEnd(key)
              publish(key, event)
              sendBack(event)
            },
          )
          runs.set(key, run)
        }
        receive(({ type, generation }) => {
          const run = runs.get(key)
          if (type === 'process.spawn') spawn(generation)
          else if (run?.generation !== generation) return
          else if (type === 'process.terminate') run.terminate()
          else if (type === 'process.spare') run.spare()
          else if (type === 'process.kill') run.kill()
          else run.sweep()
        })
      },
    ),

    health: fromCallback<HealthCommand, ServiceInput, ProviderEvent>(
      ({ input: { key }, sendBack, receive }) => {
        const commands$ = new Subject<HealthCommand>()
        const rest = () => watches.get(key)?.unsubscribe()
        rest()
        watches.set(key, health$(key, commands$).subscribe(sendBack))
        tellers.set(key, sendBack)
        receive((command) => commands$.next(command))
        return rest
      },
    ),
  }

  return {
    actors,
    /** Where a service's server was found, if it was. */
    addressOf: (key: string): string | undefined => addresses.get(key),
    /** The instance of the leasehold that answers as the server of a service; `undefined`: it is none, or was not asked yet. */
    instanceOf: (key: string): string | undefined => instances.get(key),
    /** The leaseholds that are listed here as servers. */
    listInstances: (): Iterable<string> => instances.values(),
    /** Why the server at the address of a service may not be used; `undefined`: it may. */
    refuseOf: (key: string, baseUrl: string): string | undefined => {
      if (serviceOf(key).localService?.external) return undefined
      const { host, port } = toAddress(baseUrl)
      const uid = findOtherUser({ host, port }, () => runs.get(key)?.members() ?? [])
      return uid === undefined ? undefined : toOtherUserText(uid, port)
    },
    /** Drops what is kept of a service that is gone. */
    forget: (key: string) => {
      table.forget(key)
      runs.delete(key)
      addresses.delete(key)
      instances.delete(key)
      watches.delete(key)
      tellers.delete(key)
    },
  }
}

/** The check of a daemon whether it has a model loaded, in place of a health check. */
function askLoaded(options: ProbeOptions, { loaded }: Daemon): ProbeOptions {
  const { method, body, headers } = loaded
  return {
    ...options,
    headers: { ...options.headers, ...headers },
    request: { method, ...(body === undefined ? {} : { body: Buffer.from(JSON.stringify(body)) }) },
    judge: (answer) => judgeLoaded(answer, loaded),
  }
}

/** The commands of a server that is more than its process. */
function toOutside(
  { localService, policy }: Service,
  { look, needs }: { readonly look: (() => Promise<Presence>) | undefined; readonly needs: Amounts },
): OutsideCommands | undefined {
  if (localService?.stopCommand === undefined) return undefined
  const { stopCommand, statusCommand, external, daemon } = localService
  return {
    stop: stopCommand,
    ...(statusCommand === undefined ? {} : { status: statusCommand }),
    isExternal: external,
    ...(look === undefined ? {} : { isModel: true, look }),
    ...(daemon === undefined || daemon.endsWithClient ? {} : { loadOutlastsMs: policy.readyTimeoutMs }),
    needs,
    timeoutMs: policy.stopCommandMs,
  }
}
