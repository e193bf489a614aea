import type { AnyActorRef, SnapshotFrom } from 'xstate'
import type { ServicePolicy } from '../../machines/messages.ts'
import type { providerMachine } from '../../machines/provider/chart.ts'
import { delay, systemClock } from '../clock.ts'
import type { Config } from '../config/config.ts'
import { parseConfig } from '../config/load.ts'
import type { ServiceEventBody } from '../events/events.ts'
import type { AcquireOptions, Lease } from '../lease/lease.ts'
import { originalOf } from '../observe/inspection.ts'
import { isAlive } from '../process/tree.ts'
import { toServiceKey } from '../service/services.ts'
import { createSupervisor } from '../supervisor/supervisor.ts'
import { createLedger, type Invariant, invariants, type ProviderView } from './invariants.ts'
import { createRealHost, findMarked, type RealHost, realWorldOptions } from './real-host.ts'
import { findFailures, type Seen, type Story, type StoryFact, type StoryStep } from './run-script.ts'
import type { Script, ScriptEvent, ScriptStep } from './script.ts'
import { defaultPolicy, readProvider } from './stage.ts'

/** Longest time that an expectation is waited for, in milliseconds. */
const PATIENCE_MS = 10_000
/** Time between two looks at what is expected, in milliseconds. */
const LOOK_EVERY_MS = 10
/** The only provider of a script's configuration. */
const PROVIDER = 'demo'

const playableEvents: readonly ScriptEvent['type'][] = [
  'lease.requested',
  'lease.cancelled',
  'lease.released',
  'service.stop',
  'breaker.reset',
]

/** What a run of a script takes. */
export interface RealScriptOptions {
  /** Ends the story early; the step that was being played fails. */
  readonly signal?: AbortSignal
}

/**
 * Plays a script on this host: a supervisor, a child process and sockets, all of them real. What is sent is sent no
 * earlier than `at`, in milliseconds since the story began. What is expected is waited for, at most ten seconds, as a
 * fact: `state` is met by a state that was reached since the step before, too. Facts carry the script's own ids
 * and the generations `g.1`, `g.2` and so on. When it is over nothing of it is left, and that is checked.
 * Expectations that are not met are in the story.
 * @throws {@link Error} before anything is started, when the script asks for what cannot be done from outside.
 */
export async function runRealScript(script: Script, { signal }: RealScriptOptions = {}): Promise<Story> {
  const refusals = findRefusals(script)
  if (refusals.length > 0) throw new Error(`The script cannot be played for real: ${refusals.join('; ')}.`)
  const host = await createRealHost(script.world)
  try {
    const steps = await tell(createRealStage(host, script, signal), script)
    return { script, steps, ok: steps.every(({ failures }) => failures.length === 0) }
  } finally {
    await host.close()
  }
}

/** Plays the steps up to the first that fails; what is left over at the end is a failure of the last one. */
async function tell(stage: RealStage, script: Script): Promise<StoryStep[]> {
  const steps: StoryStep[] = []
  for (const step of script.steps) {
    steps.push(await stage.play(step))
    if (steps.some(({ failures }) => failures.length > 0)) break
  }
  const left = await stage.close()
  return steps.map((step, index) =>
    index === steps.length - 1 ? { ...step, failures: [...step.failures, ...left] } : step,
  )
}

/** Why a script cannot be played for real: one fragment for each thing that only an imitated world can do. */
function findRefusals({ real, world, steps }: Script): string[] {
  const worlds = [world, ...steps.map((step) => step.world ?? {})].flatMap(Object.keys)
  const events = steps.flatMap(({ send }) => [send ?? []].flat())
  const ids = events.flatMap((event) => (event.type === 'lease.requested' ? [event.id] : []))
  return [
    ...(real ? [] : ['it is not marked `real: true`']),
    ...worlds
      .filter((name) => !realWorldOptions.some((known) => known === name))
      .map((name) => `a test cannot arrange \`world.${name}\``),
    ...events
      .filter(({ type }) => !playableEvents.includes(type))
      .map(({ type }) => `a client cannot send \`${type}\``),
    ...events
      .filter((event) => event.type === 'lease.released' && event.generation !== undefined)
      .map(() => 'a release is always of the generation that was granted'),
    ...events
      .filter((event) => event.type === 'service.stop' && event.reason === 'evicted')
      .map(() => 'a client cannot evict a service'),
    ...steps
      .filter(({ crash }) => typeof crash?.exitCode === 'number')
      .map(() => 'a crash from outside is by a signal'),
    ...steps.filter(({ crash }) => crash?.isUnloaded).map(() => 'the demo server has no daemon'),
    ...(new Set(ids).size === ids.length ? [] : ['each request needs an id of its own']),
  ]
}

/** A supervisor on a host, with its books kept in the script's own words. */
interface RealStage {
  play(step: ScriptStep): Promise<StoryStep>
  /** Ends everything, and says what is wrong with what is left of it. */
  close(): Promise<readonly string[]>
}

function createRealStage(host: RealHost, script: Script, signal: AbortSignal | undefined): RealStage {
  const config = buildConfig(host, { ...defaultPolicy, ...script.service })
  const key = config.providers.map(toServiceKey)[0]
  const ledger = createLedger()
  const facts: StoryFact[] = []
  const broken: Invariant[] = []
  const pids: number[] = []
  const generations = new Set<string>()
  const scriptIds = new Map<string, string>()
  const holders = new Map<string, Holder>()
  const pending: Promise<unknown>[] = []
  /** The script's id of the request that is being made. */
  let requesting = ''
  let provider: ProviderActor | undefined
  let seen = 0

  const supervisor = createSupervisor({
    config,
    inspect: ({ type, actorRef }) => {
      if (type !== '@xstate.actor') return
      const actor = originalOf(actorRef as AnyActorRef)
      if (actor.id === key) provider = actor as ProviderActor
    },
  })
  const startedAtMs = systemClock.now()
  supervisor.events$.subscribe((event) => {
    if (!('key' in event)) return
    if (event.type === 'lease.requested') scriptIds.set(event.id, requesting)
    if (event.type === 'process.spawned') {
      pids.push(event.pid)
      generations.add(event.generation)
    }
    const { seq: _seq, time: _time, service: _service, key: _key, ...body } = event
    record(body)
  })
  const record = (body: ServiceEventBody) => {
    const fact: StoryFact = inScriptWords({ ...body, atMs: Math.round(systemClock.now() - startedAtMs) })
    facts.push(fact)
    broken.push(...ledger.record(fact))
  }
  /** The same value with the script's ids, and with generations as they are called on the virtual clock. */
  const inScriptWords = <T>(value: T): T =>
    JSON.parse(JSON.stringify(value), (name, inner) => {
      if (name === 'id') return scriptIds.get(inner) ?? inner
      return name === 'generation' && typeof inner === 'string' ? inner.replace(/^.*\./, 'g.') : inner
    })

  const viewNow = (): ProviderView => {
    if (provider === undefined) throw new Error('The supervisor has no actor for its service.')
    const { timers, ...rest } = readProvider(provider)
    const named = timers.map((name) => name.replace(/(?<=^waiter\.).*$/, (id) => scriptIds.get(id) ?? id))
    return { ...inScriptWords(rest), timers: named }
  }
  const living = () => pids.filter((pid) => isAlive(pid))
  const look = (): Seen => {
    const { state, context, timers } = viewNow()
    return {
      state,
      facts: facts.slice(seen),
      leases: context.leases,
      queue: context.waiters.map(({ id }) => id),
      spawns: pids.length,
      live: living().length,
      timers,
      ownership: context.ownership,
      why: context.why,
    }
  }

  const request = (id: string, wish: Pick<AcquireOptions, 'priority' | 'keepAliveMs'>) => {
    const holder: Holder = { leave: new AbortController(), lease: undefined }
    holders.set(id, holder)
    requesting = id
    const asked = supervisor.acquire(`${PROVIDER}/any`, { ...wish, signal: holder.leave.signal }).then(
      (lease) => {
        holder.lease = lease
      },
      // A refusal is a fact like any other.
      () => {},
    )
    pending.push(asked)
  }
  const release = async (id: string) => {
    const holder = holders.get(id)
    const giveUpAtMs = systemClock.now() + PATIENCE_MS
    while (holder?.lease === undefined && systemClock.now() < giveUpAtMs && !signal?.aborted)
      await delay(systemClock, LOOK_EVERY_MS)
    if (holder?.lease === undefined) throw new Error(`${id} has no lease to release.`)
    holder.lease.release()
  }
  const stop = ({ reason, force = false }: StopFact) => {
    if (reason === 'asked') return supervisor.stop(PROVIDER, { force })
    return reason === 'shutdown' ? supervisor.close({ force }) : supervisor.replaceConfig(parseConfig('{}'))
  }
  const send = async (event: ScriptEvent) => {
    if (event.type === 'lease.requested')
      request(event.id, { priority: event.priority, keepAliveMs: event.keepAliveMs })
    else if (event.type === 'lease.cancelled') holders.get(event.id)?.leave.abort()
    else if (event.type === 'lease.released') await release(event.id)
    else if (event.type === 'service.stop') pending.push(stop(event).catch(() => {}))
    // A start that is given up before it begins closes the breaker and starts nothing.
    else pending.push(supervisor.start(PROVIDER, { signal: AbortSignal.abort() }).catch(() => {}))
  }

  const act = async (step: ScriptStep) => {
    await until(startedAtMs + step.at)
    signal?.throwIfAborted()
    if (step.world !== undefined) await host.set(step.world, living().length > 0)
    if (step.crash !== undefined)
      for (const pid of living()) process.kill(pid, step.crash.signal ?? 'SIGKILL')
    for (const event of [step.send ?? []].flat()) await send(event)
  }
  const until = async (timeMs: number) => {
    while (systemClock.now() < timeMs && !signal?.aborted)
      await delay(systemClock, Math.min(timeMs - systemClock.now(), 100))
  }
  /** Polls until every expectation is met, or one cannot be met any more. Returns the unmet ones. */
  const watch = async (step: ScriptStep): Promise<string[]> => {
    const giveUpAtMs = systemClock.now() + PATIENCE_MS
    for (;;) {
      const view = look()
      broken.push(...ledger.check(viewNow()))
      if (broken.length > 0) return broken.splice(0).map((name) => `broken: ${invariants[name]}`)
      const failures = findFailuresInTime(step, view)
      const isHopeless = findFailures({ at: step.at, never: step.never }, view).length > 0
      if (failures.length === 0 || isHopeless || signal?.aborted || systemClock.now() > giveUpAtMs)
        return failures
      await delay(systemClock, LOOK_EVERY_MS)
    }
  }

  return {
    play: async (step) => {
      const failures = await act(step)
        .then(() => watch(step))
        .catch((error) => [error instanceof Error ? error.message : String(error)])
      const since = facts.slice(seen)
      seen = facts.length
      return { step, state: viewNow().state, facts: since, failures }
    },
    close: async () => {
      for (const { leave, lease } of holders.values()) {
        leave.abort()
        lease?.release()
      }
      await supervisor.close({ force: true })
      await Promise.all(pending)
      const strays = [...generations].flatMap((generation) =>
        findMarked(`LEASEHOLD_GENERATION=${generation}`),
      )
      const left = new Set([...living(), ...strays])
      return [
        ...[...broken, ...ledger.checkEnd()].map((name) => `broken: ${invariants[name]}`),
        ...(left.size === 0 ? [] : [`left alive: ${[...left].join(', ')}`]),
      ]
    },
  }
}

type ProviderActor = AnyActorRef & { getSnapshot(): SnapshotFrom<typeof providerMachine> }
type StopFact = Extract<ScriptEvent, { type: 'service.stop' }>

/** Who asked for a lease, and got it or not. */
interface Holder {
  readonly leave: AbortController
  lease: Lease | undefined
}

/** The failures of a step where `state` may also be one that was passed since the step before. */
function findFailuresInTime(step: ScriptStep, seen: Seen): string[] {
  const passed = seen.facts.flatMap((fact) => (fact.type === 'service.state' ? [fact.to] : []))
  return [seen.state, ...passed]
    .map((state) => findFailures(step, { ...seen, state }))
    .reduce((best, failures) => (failures.length < best.length ? failures : best))
}

/** A configuration with one provider that lives by this policy. It goes the way of any other: as text. */
function buildConfig({ port, command, args }: RealHost, policy: ServicePolicy): Config {
  const {
    managed,
    drawsOnLimits,
    backoffMs,
    backoffMaxMs,
    breakerFailures,
    breakerCooldownMs,
    stabilityMs,
    // It follows from a stop command, and a script has none.
    stopCommandMs: _,
    // The demo server cannot sleep.
    sleep: _sleep,
    ...limits
  } = policy
  const localService = {
    ...limits,
    abandonStartMs: limits.abandonStartMs ?? undefined,
    command,
    args,
    healthUrl: `http://127.0.0.1:${port}/health`,
  }
  const provider = { baseUrl: `http://127.0.0.1:${port}/v1`, ...(managed ? { localService } : {}) }
  return parseConfig(
    JSON.stringify({
      models: { mode: 'replace', providers: { [PROVIDER]: provider } },
      leasehold: {
        backoffMs,
        backoffMaxMs,
        breakerFailures,
        breakerCooldownMs,
        stabilityMs,
        heartbeatMs: 1_000,
      },
    }),
  )
}
