import {
  catchError,
  EMPTY,
  exhaustMap,
  filter,
  from,
  map,
  merge,
  mergeMap,
  type Observable,
  share,
  switchMap,
  takeWhile,
  tap,
  timer,
} from 'rxjs'
import type { HealthCommand, ProviderEvent, Verdict } from '../../machines/messages.ts'
import { type Clock, toScheduler } from '../clock.ts'
import type { ServiceEventBody } from '../events/events.ts'
import { createHeartbeat$, createWarmHealth$ } from '../health/health.ts'
import { probe } from '../health/probe.ts'
import type { SleepLook } from '../health/sleep-check.ts'
import { isSameVerdict, toOwnVerdict } from '../health/verdict.ts'
import type { RunHandle } from '../process/run.ts'
import { listPortsOf, listUnreachedOf, toAddress } from '../process/tcp-ports.ts'
import type { Service } from './services.ts'

type HealthCheck = Exclude<HealthCommand, { type: 'health.rest' }>
type VerdictEvent = Extract<ProviderEvent, { type: 'health.verdict' }>
type SleepEvent = Extract<ProviderEvent, { type: 'sleep.seen' }>

export interface HealthStreamOptions {
  readonly clock: Clock
  /** The last run of a service. */
  readonly runOf: (key: string) => RunHandle | undefined
  /** What a run prints. */
  readonly outputOf: (key: string) => Observable<unknown> | undefined
  /** Time between two heartbeats of a service that is up, in milliseconds. */
  readonly heartbeatMs: () => number
  readonly publish: (key: string, event: ServiceEventBody) => void
  /** One health check. Rejects when it could not be made. */
  readonly check: (key: string) => Promise<Verdict>
  /** Whether its server sleeps. `undefined`: it has no check of that. */
  readonly lookAtSleep: (key: string) => Promise<SleepLook | undefined>
  /** Adds to a verdict who answered, where this host can tell. */
  readonly explain: (key: string, verdict: Verdict, run?: RunHandle) => Verdict
  readonly serviceOf: (key: string) => Service
  /** Removes secrets from a text. */
  readonly scrub: (text: string) => string
}

/** When the processes of a server that became ready are looked up, in milliseconds. */
const MEMBERS_AFTER_MS = 250
/** How often the process behind a refused connection is looked into, in milliseconds. */
const EXPLAIN_EVERY_MS = 1_000
/** Ports of one process tree that are asked whether the server answers there instead. */
const MAX_PORTS = 8

/**
 * `health$` of a service: the verdicts that its chart asks for with its commands. `health.warm` polls, and probes at once
 * when the process prints something; `health.watch` is a slow heartbeat, beside which `health.await` polls until the
 * server is ready again; `health.check` makes one check; `health.doze` asks a server that sleeps whether it still does;
 * `health.rest` ends all but `health.check`.
 */
export function createHealth$(
  options: HealthStreamOptions,
): (key: string, commands$: Observable<HealthCommand>) => Observable<VerdictEvent | SleepEvent> {
  const { clock, runOf, outputOf, heartbeatMs, publish, check, lookAtSleep, serviceOf } = options

  return (key, commands$) => {
    let last: Verdict | undefined
    const judge = createJudge(key, options, () => last)
    /** Our process is gone, though its exit is not told yet: another server answered. */
    const isGone = (generation: string) => {
      const run = runOf(key)
      return run?.generation === generation && !run.isAlive()
    }
    const tell = (verdicts$: Observable<Verdict>, generation: string, isOfRequest = false) =>
      verdicts$.pipe(
        filter((verdict) => verdict.kind !== 'ready' || !isGone(generation)),
        tap((verdict) => {
          if (last === undefined || !isSameVerdict(verdict, last))
            publish(key, { type: 'health.verdict', verdict })
          last = verdict
        }),
        map(
          (verdict): VerdictEvent => ({
            type: 'health.verdict',
            generation,
            verdict,
            ...(isOfRequest && { isOfRequest }),
          }),
        ),
      )
    const output$ = () => outputOf(key) ?? EMPTY
    const warm$ = (generation: string) => {
      const look = async () => {
        // What is answered slowly may have been true before the answer to the load.
        const wasDetached = runOf(key)?.isDetached() ?? false
        return judge.warm(generation, await check(key), wasDetached)
      }
      return tell(createWarmHealth$({ probe: look, clock, output$: output$() }), generation)
    }
    const looks$ = (generation: string) =>
      timer(heartbeatMs(), heartbeatMs(), toScheduler(clock)).pipe(
        exhaustMap(() => from(lookAtSleep(key))),
        filter((seen): seen is SleepLook => seen !== undefined && !isGone(generation)),
      )
    const toSeen = (seen: SleepLook, generation: string): SleepEvent[] =>
      'isAsleep' in seen ? [{ type: 'sleep.seen', generation, isAsleep: seen.isAsleep }] : []
    /** A server may sleep by itself, or be told to by another program, and its health check may be as good as before. */
    const sleeps$ = (generation: string) =>
      serviceOf(key).policy.sleep !== null && runOf(key)?.generation === generation
        ? looks$(generation).pipe(mergeMap((seen) => toSeen(seen, generation)))
        : EMPTY
    const doze$ = (generation: string) => {
      const seen$ = looks$(generation).pipe(share())
      const unknown$ = seen$.pipe(mergeMap((seen) => ('verdict' in seen ? [seen.verdict] : [])))
      return merge(seen$.pipe(mergeMap((seen) => toSeen(seen, generation))), tell(unknown$, generation))
    }
    const watch$ = (generation: string) => {
      const look = async () => judge.up(generation, await check(key))
      // Whether a model that we loaded is gone, its run says: it looks twice.
      const isLeftToRun = ({ kind }: Verdict) =>
        kind === 'refused' &&
        serviceOf(key).localService?.daemon !== undefined &&
        runOf(key)?.generation === generation
      const beats$ = createHeartbeat$({ probe: look, clock, everyMs: heartbeatMs() })
      const heartbeat$ = tell(beats$.pipe(filter((verdict) => !isLeftToRun(verdict))), generation)
      const awaited$ = commands$.pipe(
        filter(({ type }) => type === 'health.await'),
        exhaustMap(() => {
          const polls$ = createWarmHealth$({ probe: look, clock, output$: output$() })
          return tell(polls$.pipe(takeWhile(({ kind }) => kind !== 'ready', true)), generation, true)
        }),
      )
      return merge(heartbeat$, awaited$, sleeps$(generation))
    }
    const paced$ = commands$.pipe(
      filter(({ type }) => type !== 'health.check' && type !== 'health.await'),
      switchMap((command) => {
        judge.forget()
        if (command.type === 'health.warm') return warm$(command.generation)
        if (command.type === 'health.doze') return doze$(command.generation)
        return command.type === 'health.watch' ? watch$(command.generation) : EMPTY
      }),
    )
    const checks$ = commands$.pipe(
      filter((command): command is HealthCheck => command.type === 'health.check'),
      mergeMap(({ generation }) => {
        const checked = check(key).then((verdict) => judge.up(generation, verdict))
        return tell(from(checked).pipe(catchError(() => EMPTY)), generation)
      }),
    )
    return merge(paced$, checks$)
  }
}

/**
 * The verdict on a model that is being loaded. A daemon may list it from the beginning of its load on, so the answer to the
 * load counts, too: then the process that sent it has ended. One that listens anew between two models is waited for.
 */
function toLoadVerdict(verdict: Verdict, run: RunHandle, wasDetached: boolean): Verdict {
  // Before its answer to our load the daemon may speak of an earlier one.
  if (verdict.isLoadFailed && wasDetached) return { ...verdict, kind: 'failed' }
  if (verdict.kind !== 'ready' || run.isDetached()) return verdict
  return { ...verdict, kind: 'loading', detail: 'the model is being loaded' }
}

/** What a verdict means for a run of ours. */
function createJudge(
  key: string,
  { clock, runOf, explain, serviceOf, scrub }: HealthStreamOptions,
  last: () => Verdict | undefined,
) {
  /** When a refused connection was last looked into, in milliseconds of the clock. */
  let explainedAtMs = clock.now()
  /** The port, or the host and port, at which the process was ready when that was last looked into. */
  let elsewhere: string | undefined

  /** The health URL without what may be secret in it. */
  const toShownUrl = () => {
    const { origin, pathname } = new URL(serviceOf(key).healthUrl)
    return scrub(`${origin}${pathname}`)
  }
  /** Where else the process of a run listens, and whether it is ready there as it should be at its own address. */
  const findElsewhere = async (run: RunHandle) => {
    const { healthUrl, healthHeaders } = serviceOf(key)
    const own = toAddress(healthUrl)
    const members = run.members()
    const ports = listPortsOf(members).filter((port) => port !== own.port)
    const places = [...ports.map(String), ...listUnreachedOf(own, members)]
    const looks = places.slice(0, MAX_PORTS).map(async (place) => {
      const url = new URL(healthUrl)
      if (place.includes(':')) url.host = place
      else url.port = place
      const options = { url: url.href, headers: healthHeaders, clock, timeoutMs: EXPLAIN_EVERY_MS }
      const verdict = await probe(options).catch(() => undefined)
      return verdict?.kind === 'ready' ? [place] : []
    })
    return { places, ready: (await Promise.all(looks)).flat() }
  }
  /** What a refused connection means while the process lives: it may listen elsewhere. */
  const explainRefused = async (verdict: Verdict, run: RunHandle): Promise<Verdict> => {
    const before = last()
    if (clock.now() - explainedAtMs < EXPLAIN_EVERY_MS) return before?.kind === 'refused' ? before : verdict
    explainedAtMs = clock.now()
    const { places, ready } = await findElsewhere(run)
    const known = elsewhere
    elsewhere = ready[0]
    if (places.length === 0) return verdict
    const names = places.map((place) => (place.includes(':') ? place : `port ${place}`))
    const detail = `${verdict.detail}; its process listens on ${names.join(', ')} instead`
    // A helper of a server that is still loading may answer for a moment: only the second look decides.
    if (known === undefined || !ready.includes(known)) return { ...verdict, detail }
    const isHost = known.includes(':')
    const { host } = new URL(serviceOf(key).healthUrl)
    const asked = isHost ? host : toAddress(serviceOf(key).healthUrl).port
    const mismatch = `listens on ${known} instead of ${asked}: set its ${isHost ? 'host' : 'port'} in args, or baseUrl and healthUrl to ${known}`
    return { ...verdict, kind: 'failed', detail, mismatch }
  }

  return {
    /** Another phase begins. */
    forget: () => {
      elsewhere = undefined
    },
    /** While it warms up. */
    warm: async (generation: string, verdict: Verdict, wasDetached: boolean): Promise<Verdict> => {
      const run = runOf(key)
      if (run?.generation !== generation) return verdict
      if (serviceOf(key).localService?.daemon !== undefined) return toLoadVerdict(verdict, run, wasDetached)
      if (verdict.kind === 'refused') return explainRefused(verdict, run)
      // Its workers are recorded a moment later: the look takes milliseconds, and requests wait for this verdict.
      if (verdict.kind === 'ready') clock.setTimeout(() => run.members(), MEMBERS_AFTER_MS)
      const explained = explain(key, verdict, run)
      const { portHolder: holder } = explained
      const hasStrangers = holder !== undefined && (holder.strangers.length > 0 || holder.uid !== undefined)
      return hasStrangers ? explained : toOwnVerdict(explained, toShownUrl())
    },
    /** While it is up: of a process of ours any 2xx is good, as it was when it became ready. */
    up: (generation: string, verdict: Verdict): Verdict =>
      runOf(key)?.generation === generation && verdict.portHolder?.uid === undefined
        ? toOwnVerdict(verdict, toShownUrl())
        : verdict,
  }
}
