import { NEVER } from 'rxjs'
import { type AnyActorRef, type EventObject, fromCallback, fromEventObservable, fromPromise } from 'xstate'
import type {
  ClaimOutcome,
  HealthCommand,
  LeaseEvent,
  PeerCommand,
  ProbeOutcome,
  ProcessCommand,
  ProviderEvent,
  SleepOutcome,
  Verdict,
  VerdictKind,
} from '../../machines/messages.ts'
import type { ServiceInput } from '../../machines/ports.ts'
import { type Clock, delay } from '../clock.ts'
import type { ServiceEventBody } from '../events/events.ts'
import { createBorrowing } from '../peers/borrowing.ts'
import { HandshakeError, type PeerConnection, type PeerListener } from '../peers/peer-wire.ts'

/** How the environment behaves: the host, its process, and other listeners. Times in milliseconds. */
export interface WorldOptions {
  /** What answers at the address while nothing of ours runs. */
  readonly probe: VerdictKind
  readonly probeMs: number
  /** What a probe finds whatever runs; `null`: the truth. */
  readonly verdict: VerdictKind | null
  readonly claim: ClaimOutcome['outcome']
  readonly claimMs: number
  /**
   * How the supervisor that holds the claim meets us: it grants what is asked for, refuses it as a start that failed,
   * does not prove who it is, says nothing, falls silent after it was met, or is not there. `gone` ends the
   * conversation that goes on, too.
   */
  readonly peer: 'willing' | 'refusing' | 'failing' | 'silent' | 'hung' | 'gone'
  /** Until it has proven who it is, and until it answers a question. */
  readonly peerMs: number
  readonly grantMs: number
  /** `false`: the program cannot be started. */
  readonly canSpawn: boolean
  /** What a spawn that fails says about trying again; `null`: nothing. */
  readonly retry: 'later' | 'never' | null
  /** Whether another program listens on the port, which a ready process then shares with it. */
  readonly isPortShared: boolean
  /** Whether an exit says that the port was taken. */
  readonly isPortTaken: boolean
  readonly spawnMs: number
  /** From spawn to readiness; `null`: never ready. */
  readonly readyAfterMs: number | null
  /** From spawn to an unrequested exit; `null`: it stays. */
  readonly exitAfterMs: number | null
  readonly exitCode: number
  /** From SIGTERM to the exit; `null`: SIGTERM is ignored. */
  readonly termMs: number | null
  /** From SIGKILL to the exit; `null`: it cannot be killed. */
  readonly killMs: number | null
  /** From the order to terminate to the signal: our own connections are closed first. */
  readonly closeMs: number
  /**
   * From an exit that SIGTERM caused to the end of the processes that the leader leaves behind; `null`: they stay until
   * they are killed.
   */
  readonly leaveMs: number | null
  /** From the end of the tree to the receipt. */
  readonly sweepMs: number
  /** Whether something still listens at the address when the tree has ended. */
  readonly isPortHeld: boolean
  /** Processes of the tree that no sweep can end. */
  readonly survivors: number
  /**
   * How the server takes a request to sleep or to wake: it does it, refuses it, or says that it does and does not. `dies`:
   * its process ends.
   */
  readonly sleep: 'obeys' | 'refuses' | 'lies' | 'dies'
  readonly wake: 'obeys' | 'refuses' | 'lies' | 'dies'
  /** From that request until it sleeps, and until it is awake. */
  readonly sleepMs: number
  readonly wakeMs: number
  /** What the check of its sleep says, whatever was asked; `null`: the truth. */
  readonly isAsleep: boolean | null
  readonly warmPollMs: number
  readonly heartbeatMs: number
}

export const defaultWorld: WorldOptions = {
  probe: 'refused',
  probeMs: 5,
  verdict: null,
  claim: 'claimed',
  claimMs: 0,
  peer: 'willing',
  peerMs: 5,
  grantMs: 5,
  canSpawn: true,
  retry: null,
  isPortShared: false,
  isPortTaken: false,
  spawnMs: 5,
  readyAfterMs: 100,
  exitAfterMs: null,
  exitCode: 1,
  termMs: 10,
  killMs: 5,
  closeMs: 0,
  leaveMs: 0,
  sweepMs: 5,
  isPortHeld: false,
  survivors: 0,
  sleep: 'obeys',
  wake: 'obeys',
  sleepMs: 10,
  wakeMs: 50,
  isAsleep: null,
  warmPollMs: 25,
  heartbeatMs: 1_000,
}

/** Pause between two looks at a server that was told to sleep or to wake, in milliseconds. */
const LOOK_EVERY_MS = 5

/** An imitated host on a clock: the effects of a provider machine, and the facts they cause. */
export interface World {
  readonly options: WorldOptions
  /** Changes how the outside behaves from now on. */
  set(changes: Partial<WorldOptions>): void
  /** Ends the running process from outside. */
  crash(how: {
    readonly exitCode?: number | null
    readonly signal?: string | null
    readonly isUnloaded?: true
  }): void
  /** Processes of ours that are alive now. */
  readonly live: number
  /** Processes ever spawned. */
  readonly spawns: number
  /** Whether the running server was told to sleep and is not known to be awake again: it must not be asked anything. */
  readonly isDozing: boolean
  /** Whether the last server sleeps, and was not told to wake: until its receipt it holds no more than that. */
  readonly isAsleep: boolean
  /** How often a server was asked for its health while it was dozing. */
  readonly disturbances: number
  readonly effects: WorldEffects
  /** The effects, for `providerMachine.provide({ actors })`. */
  readonly actors: ReturnType<typeof buildActors>
}

interface Run {
  readonly generation: string
  pid: number | null
  isAlive: boolean
  isSettled: boolean
  isSpared: boolean
  /** The leader has ended of SIGTERM, and left others: ends the wait for them. */
  sweepRest: (() => void) | undefined
  spawnedAtMs: number
  /** `falling`: told to sleep. `rising`: told to wake. */
  wakefulness: 'awake' | 'falling' | 'asleep' | 'rising'
  /** Lets the run that waits for its turn begin. */
  readonly vacate: () => void
}

/** Creates a host on which nothing runs. `onFact` hears everything that happens to a process, as it happens. */
export function createWorld(
  clock: Clock,
  initial: Partial<WorldOptions> = {},
  onFact: (fact: ServiceEventBody) => void = () => {},
): World {
  const state = { options: { ...defaultWorld, ...initial }, spawns: 0, disturbances: 0 }
  const runs: Run[] = []
  /** One process at a time: a run begins when every one before it has its receipt. */
  let vacated = Promise.resolve()
  let report: (event: ProviderEvent) => void = () => {}

  const say = (event: Extract<ServiceEventBody, ProviderEvent>) => {
    onFact(event)
    report(event)
  }
  const settle = (run: Run, how: { exitCode: number | null; signal: string | null }, survivors: number) =>
    void delay(clock, state.options.sweepMs).then(() => {
      if (run.isSettled) return
      run.isSettled = true
      run.vacate()
      const pid = run.pid ?? 0
      const receipt = {
        generation: run.generation,
        pid,
        ...how,
        survivors: Array.from({ length: survivors }, (_, i) => pid + i),
        ...(state.options.isPortHeld
          ? {
              isPortHeld: true,
              portHolder: { port: 8080, ours: [], strangers: [{ pid: 7, exe: '/usr/bin/other' }] },
            }
          : {}),
        durationMs: 0,
      }
      say({ type: 'process.settled', generation: run.generation, receipt })
    })
  const exit = (run: Run, exitCode: number | null, signal: string | null, isUnloaded?: true) => {
    if (!run.isAlive) return
    run.isAlive = false
    // Its receipt named it as a survivor: it does not listen any more.
    if (run.isSettled) return
    say({
      type: 'process.exited',
      generation: run.generation,
      exitCode,
      signal,
      tail: [state.options.isPortTaken ? 'bind: address already in use' : `line of ${run.generation}`],
      ...(isUnloaded && { isServerGone: true, isUnloaded }),
    })
    const finish = () => settle(run, { exitCode, signal }, state.options.survivors)
    const { leaveMs } = state.options
    if (signal !== 'SIGTERM' || leaveMs === 0) return finish()
    run.sweepRest = () => {
      run.sweepRest = undefined
      finish()
    }
    if (leaveMs !== null) clock.setTimeout(() => run.sweepRest?.(), leaveMs)
  }
  const verdictNow = (): Verdict => {
    const { options } = state
    const run = runs.find(({ isAlive }) => isAlive)
    const since = run === undefined ? null : clock.now() - run.spawnedAtMs
    const truth =
      since === null
        ? options.probe
        : options.readyAfterMs !== null && since >= options.readyAfterMs
          ? 'ready'
          : 'loading'
    const kind = options.verdict ?? truth
    const verdict = { kind, detail: `the world says ${kind}` }
    if (run?.pid == null || !options.isPortShared) return verdict
    return {
      ...verdict,
      portHolder: { port: 8080, ours: [{ pid: run.pid }], strangers: [{ pid: 7, exe: '/usr/bin/other' }] },
    }
  }

  const isDozing = () => runs.some((run) => run.isAlive && run.wakefulness !== 'awake')
  /** What the check of its sleep says: that it sleeps, until it is wholly awake. */
  const looksAsleep = () =>
    state.options.isAsleep ??
    runs.some(({ isAlive, wakefulness }) => isAlive && ['asleep', 'rising'].includes(wakefulness))
  const lookUntil = async (isAsleep: boolean, signal: AbortSignal) => {
    while (!signal.aborted && looksAsleep() !== isAsleep) await delay(clock, LOOK_EVERY_MS)
  }
  const tell = async (request: 'sleep' | 'wake', signal: AbortSignal): Promise<SleepOutcome> => {
    const how = state.options[request]
    const run = runs.find(({ isAlive }) => isAlive)
    // It sleeps and wakes by itself.
    if (run?.wakefulness === 'awake' && request === 'wake') return { outcome: 'done' }
    if (run === undefined || how === 'refuses') return { outcome: 'failed', detail: 'the world refuses' }
    run.wakefulness = request === 'sleep' ? 'falling' : 'rising'
    if (how === 'dies') exit(run, state.options.exitCode, null)
    const done = () => {
      run.wakefulness = request === 'sleep' ? 'asleep' : 'awake'
    }
    if (how === 'obeys') clock.setTimeout(done, state.options[`${request}Ms`])
    await lookUntil(request === 'sleep', signal)
    return { outcome: 'done' }
  }

  const fail = (run: Run, message: string) => {
    run.isSettled = true
    run.vacate()
    const { generation } = run
    say({
      type: 'process.failed',
      generation,
      failure: {
        code: 'LEASEHOLD_SPAWN_FAILED',
        message,
        generation,
        ...(state.options.retry === null ? {} : { retry: state.options.retry }),
      },
    })
  }

  const spawn = async (generation: string) => {
    const earlier = vacated
    let vacate = () => {}
    const mine = new Promise<void>((resolve) => {
      vacate = resolve
    })
    vacated = Promise.all([earlier, mine]).then(() => {})
    const run: Run = {
      generation,
      pid: null,
      isAlive: false,
      isSettled: false,
      isSpared: false,
      sweepRest: undefined,
      spawnedAtMs: 0,
      wakefulness: 'awake',
      vacate,
    }
    runs.push(run)
    await earlier
    await delay(clock, state.options.spawnMs)
    if (run.isSettled) return
    if (runs.some(({ isAlive }) => isAlive)) return fail(run, 'a process of the run before it is still alive')
    if (!state.options.canSpawn) return fail(run, 'the program is missing')
    state.spawns += 1
    Object.assign(run, { pid: 1000 + 10 * state.spawns, isAlive: true, spawnedAtMs: clock.now() })
    say({ type: 'process.spawned', generation, pid: run.pid ?? 0 })
    if (state.options.exitAfterMs !== null)
      clock.setTimeout(() => exit(run, state.options.exitCode, null), state.options.exitAfterMs)
  }
  const signal = (run: Run, name: 'SIGTERM' | 'SIGKILL', afterMs: number | null) => {
    say({ type: 'process.signalled', generation: run.generation, signal: name })
    if (afterMs !== null) clock.setTimeout(() => exit(run, null, name), afterMs)
  }
  const obey = async ({ type, generation }: ProcessCommand) => {
    if (type === 'process.spawn') return spawn(generation)
    const run = runs.at(-1)
    if (run === undefined || run.generation !== generation || run.isSettled) return
    if (run.pid === null) return fail(run, 'stopped before it was spawned')
    if (type === 'process.spare') run.isSpared = true
    if (type === 'process.terminate') {
      run.isSpared = false
      await delay(clock, state.options.closeMs)
      if (!run.isSpared && run.isAlive) signal(run, 'SIGTERM', state.options.termMs)
    }
    if (type === 'process.kill' && run.isAlive) signal(run, 'SIGKILL', state.options.killMs)
    if (type === 'process.kill' || type === 'process.sweep') run.sweepRest?.()
    if (type === 'process.sweep' && run.isAlive) settle(run, { exitCode: null, signal: null }, 1)
  }

  const claimNow = (): ClaimOutcome => {
    const outcome = state.options.claim
    if (outcome === 'elsewhere') return { outcome, member: 'attic' }
    if (outcome !== 'impossible') return { outcome }
    return { outcome, failure: { code: 'LEASEHOLD_STATE_UNUSABLE', message: 'the world allows no claim' } }
  }
  const owner = createOwner(clock, () => state.options)

  const effects: WorldEffects = {
    probe: () =>
      delay(clock, state.options.probeMs).then(() => {
        const outcome = claimNow()
        return outcome.outcome === 'held' || outcome.outcome === 'impossible' ? outcome : verdictNow()
      }),
    claim: () => delay(clock, state.options.claimMs).then(claimNow),
    peer: owner.effect,
    process: ({ sendBack, receive }) => {
      report = sendBack
      receive((command) => void obey(command))
    },
    health: createHealth(clock, () => state.options, {
      verdictNow,
      looksAsleep: () => (runs.some(({ isAlive }) => isAlive) ? looksAsleep() : undefined),
      noteProbe: () => {
        if (isDozing()) state.disturbances += 1
      },
    }),
    sleep: (signal) => tell('sleep', signal),
    wake: (signal) => tell('wake', signal),
  }

  return {
    get options() {
      return state.options
    },
    set: (changes) => {
      state.options = { ...state.options, ...changes }
      if (changes.peer === 'gone') owner.leave()
    },
    crash: ({ exitCode = null, signal: name = null, isUnloaded }) => {
      for (const run of runs) exit(run, exitCode, name, isUnloaded)
    },
    get live() {
      return runs.filter(({ isAlive }) => isAlive).length
    },
    get spawns() {
      return state.spawns
    },
    get isDozing() {
      return isDozing()
    },
    get isAsleep() {
      return runs.some((run) => !run.isSettled && run.wakefulness === 'asleep')
    },
    get disturbances() {
      return state.disturbances
    },
    effects,
    actors: buildActors(() => effects),
  }
}

/** The effects of one host as plain functions, for tests with one host per service. */
export interface WorldEffects {
  probe(): Promise<ProbeOutcome>
  claim(): Promise<ClaimOutcome>
  sleep(signal: AbortSignal): Promise<SleepOutcome>
  wake(signal: AbortSignal): Promise<SleepOutcome>
  readonly peer: WorldCallback<PeerCommand>
  readonly process: WorldCallback<ProcessCommand>
  readonly health: WorldCallback<HealthCommand>
}

/** One effect of a host that goes on until it is stopped. */
export type WorldCallback<Command extends EventObject> = Parameters<
  typeof fromCallback<Command, ServiceInput, ProviderEvent>
>[0]

/** The effects of provider machines, each on the host that the service's key or the actor's system leads to. */
export function buildActors(effectsOf: (key: string, system: AnyActorRef['system']) => WorldEffects) {
  return {
    probe: fromPromise<ProbeOutcome, ServiceInput>(({ input, system }) =>
      effectsOf(input.key, system).probe(),
    ),
    claim: fromPromise<ClaimOutcome, ServiceInput>(({ input, system }) =>
      effectsOf(input.key, system).claim(),
    ),
    sleep: fromPromise<SleepOutcome, ServiceInput>(({ input, system, signal }) =>
      effectsOf(input.key, system).sleep(signal),
    ),
    wake: fromPromise<SleepOutcome, ServiceInput>(({ input, system, signal }) =>
      effectsOf(input.key, system).wake(signal),
    ),
    // A script sends what requests would.
    requests: fromEventObservable<LeaseEvent, ServiceInput>(() => NEVER),
    process: fromCallback<ProcessCommand, ServiceInput, ProviderEvent>((scope) =>
      effectsOf(scope.input.key, scope.system).process(scope),
    ),
    health: fromCallback<HealthCommand, ServiceInput, ProviderEvent>((scope) =>
      effectsOf(scope.input.key, scope.system).health(scope),
    ),
    peer: fromCallback<PeerCommand, ServiceInput, ProviderEvent>((scope) =>
      effectsOf(scope.input.key, scope.system).peer(scope),
    ),
  }
}

/** The supervisor that holds the claim of an imitated host: one connection at a time. */
function createOwner(clock: Clock, options: () => WorldOptions) {
  let current: PeerListener | undefined
  const connect = (): PeerConnection => {
    let listener: PeerListener | undefined
    const wants = new Set<string>()
    const say = (message: object) => {
      if (listener === current) listener?.message({ ...message })
    }
    const answer = async (id: string) => {
      await delay(clock, options().grantMs)
      if (!wants.has(id)) return
      if (options().peer === 'willing') say({ type: 'granted', id })
      if (options().peer !== 'refusing') return
      wants.delete(id)
      const failure = { code: 'LEASEHOLD_EXITED_BEFORE_READY', message: 'it failed over there' } as const
      say({ type: 'refused', id, failure })
    }
    return {
      peer: { pid: 7, name: 'other' },
      listen: (given) => {
        listener = given
        current = given
      },
      send: (message) => {
        const { type, id = '' } = message as { readonly type: string; readonly id?: string }
        if (type === 'ping' && options().peer !== 'hung') say({ type: 'pong' })
        if (type === 'return') wants.delete(id)
        if (type !== 'want') return
        wants.add(id)
        void answer(id)
      },
      close: () => {
        if (current === listener) current = undefined
        wants.clear()
      },
    }
  }
  const meet = async (): Promise<PeerConnection> => {
    await delay(clock, options().peerMs)
    const { peer } = options()
    if (peer === 'silent') return new Promise(() => {})
    if (peer === 'gone') throw new HandshakeError('closed')
    if (peer === 'failing') throw new HandshakeError('unproven')
    return connect()
  }
  const effect: WorldEffects['peer'] = ({ input: { key }, sendBack, receive }) => {
    const borrowing = createBorrowing({ key, clock, meet, report: sendBack, resumed$: NEVER })
    receive((command) => {
      if (command.type !== 'claim.release') borrowing.obey(command)
    })
    return borrowing.close
  }
  const leave = () => {
    const left = current
    current = undefined
    left?.closed()
  }
  return { effect, leave }
}

/** What a health check and the check of sleep find now; `noteProbe` hears of every health check as it is sent. */
interface Sight {
  readonly verdictNow: () => Verdict
  readonly looksAsleep: () => boolean | undefined
  readonly noteProbe: () => void
}

function createHealth(
  clock: Clock,
  options: () => WorldOptions,
  { verdictNow, looksAsleep, noteProbe }: Sight,
): WorldEffects['health'] {
  // One timer per host: an actor that died of a bug leaves its watch behind, and its successor's ends it.
  let timer: unknown
  /** Of the poll that waits for a listener. */
  let awaited: unknown
  return ({ sendBack, receive }) => {
    const rest = () => {
      clock.clearTimeout(timer)
      clock.clearTimeout(awaited)
    }
    const awaitListener = (generation: string) => {
      clock.clearTimeout(awaited)
      awaited = clock.setTimeout(() => {
        noteProbe()
        const verdict = verdictNow()
        if (verdict.kind !== 'ready') awaitListener(generation)
        sendBack({ type: 'health.verdict', generation, verdict, isOfRequest: true })
      }, options().warmPollMs)
    }
    const look = (generation: string) =>
      sendBack({ type: 'health.verdict', generation, verdict: verdictNow() })
    const lookAtSleep = (generation: string) => {
      const isAsleep = looksAsleep()
      if (isAsleep !== undefined) return sendBack({ type: 'sleep.seen', generation, isAsleep })
      const verdict = { kind: 'refused', detail: 'nothing answers' } as const
      sendBack({ type: 'health.verdict', generation, verdict })
    }
    const repeat = (generation: string, everyMs: () => number, what: (generation: string) => void) => {
      clock.clearTimeout(timer)
      timer = clock.setTimeout(() => {
        repeat(generation, everyMs, what)
        what(generation)
      }, everyMs())
    }
    /** The heartbeat of a server that is up: a check of its sleep goes with it. */
    const lookAtAll = (generation: string) => {
      noteProbe()
      look(generation)
      if (options().isAsleep !== null) lookAtSleep(generation)
    }
    receive((command) => {
      if (command.type === 'health.await') return awaitListener(command.generation)
      if (command.type !== 'health.check') clock.clearTimeout(awaited)
      if (command.type === 'health.rest') rest()
      else if (command.type === 'health.check') {
        noteProbe()
        clock.setTimeout(() => look(command.generation), options().probeMs)
      } else if (command.type === 'health.warm') repeat(command.generation, () => options().warmPollMs, look)
      else
        repeat(
          command.generation,
          () => options().heartbeatMs,
          command.type === 'health.doze' ? lookAtSleep : lookAtAll,
        )
    })
    return rest
  }
}
