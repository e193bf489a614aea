import type {
  Failure,
  FailureCode,
  Listener,
  OutsideEnd,
  PortHolder,
  ProviderEvent,
  Receipt,
  StopReason,
  Verdict,
} from '../messages.ts'
import type { Decision } from '../scheduler.ts'
import { findTellingLine, isLastingCause } from '../telling-line.ts'
import type { ProviderContext } from './context.ts'
import { SWEEP_TIMEOUT_MS } from './delays.ts'

export const UNEXPLAINED: Failure = { code: 'LEASEHOLD_INTERNAL', message: 'no cause was recorded' }

/** An owner's refusals that say nothing about the server. */
export const NO_START_FAILURES: ReadonlySet<FailureCode> = new Set([
  'LEASEHOLD_QUEUE_FULL',
  'LEASEHOLD_QUEUE_TIMEOUT',
  'LEASEHOLD_STOPPED',
  'LEASEHOLD_ELSEWHERE',
  'LEASEHOLD_REMOVED',
  'LEASEHOLD_SHUTTING_DOWN',
])

/** How a start fails that began: the next one would take as long, and may fail in the same way. */
export const START_FAILURES: ReadonlySet<FailureCode> = new Set([
  'LEASEHOLD_SPAWN_FAILED',
  'LEASEHOLD_EXITED_BEFORE_READY',
  'LEASEHOLD_READY_TIMEOUT',
  'LEASEHOLD_BACKEND_FAILED',
  'LEASEHOLD_HEALTH_MISMATCH',
])

/** A port conflict is not a failed start and does not count towards the breaker. */
export function countsAsFailure(failure: Failure | null): boolean {
  return failure?.code !== 'LEASEHOLD_FOREIGN_SERVER' && failure?.code !== 'LEASEHOLD_PORT_TAKEN'
}

export function toStopFailure(reason: StopReason | null): Failure {
  if (reason === 'shutdown') return { code: 'LEASEHOLD_SHUTTING_DOWN', message: 'leasehold is shutting down' }
  if (reason === 'removed')
    return { code: 'LEASEHOLD_REMOVED', message: 'it was removed from the configuration' }
  return { code: 'LEASEHOLD_STOPPED', message: 'it was stopped on request' }
}

export function toExitFailure(code: FailureCode, event: ProviderEvent): Failure {
  if (event.type !== 'process.exited') return UNEXPLAINED
  const { generation, exitCode, signal, tail, telling = findTellingLine(tail) } = event
  const isEarly = code === 'LEASEHOLD_EXITED_BEFORE_READY'
  // After readiness only the last lines can say why: older ones are about something else.
  const said = isEarly ? telling : findTellingLine(tail)
  if (event.daemon !== undefined)
    return {
      code,
      message: `its process left the foreground: it ended with code 0, and ${describeDaemon(event.daemon)}have command run the server in the foreground`,
      generation,
      exitCode,
      signal,
      tail,
      // A launcher that ends after its server is ready does so each time.
      ...(isEarly ? {} : { retry: 'cooldown' }),
    }
  const when = isEarly ? ' before it was ready' : ''
  if (event.isUnloaded)
    return {
      code,
      message: `its daemon has unloaded the model, or has ended${when}`,
      generation,
      exitCode,
      signal,
      tail,
    }
  if (event.isServerGone)
    return {
      code,
      message: `its server is gone${when}: ask what runs it, a container engine or systemd, for its log`,
      generation,
      exitCode,
      signal,
      tail,
    }
  // A SIGKILL of ours ends a stop and never comes here.
  const guess = signal === 'SIGKILL' ? ', which was not ours: the system may have been out of memory' : ''
  const how = signal === null ? `exited with code ${exitCode}` : `was ended by ${signal}${guess}`
  // A launcher that puts its server into the background ends like this; its server was killed with its tree.
  const isLauncher = isEarly && exitCode === 0 && said === undefined
  const why = isLauncher
    ? ': have command run the server in the foreground'
    : said === undefined
      ? ''
      : `: ${said.line}`
  return {
    code,
    message: `the process ${how}${when}${why}`,
    generation,
    exitCode,
    signal,
    tail,
    ...(said === undefined ? {} : { telling: said }),
    ...(isEarly && isLastingCause(said) ? { retry: 'cooldown' } : {}),
  }
}

function describeDaemon(daemon: PortHolder): string {
  return daemon.ours.length === 0
    ? `${nameStrangers(daemon)} listens on its port ${daemon.port}; end that process, and `
    : `${nameListeners(daemon.ours)}, which listened on its port ${daemon.port}, was ended with it; `
}

/** The process ended because another process has its port. */
export function toPortFailure(event: ProviderEvent): Failure {
  if (event.type !== 'process.exited') return UNEXPLAINED
  const { portHolder } = event
  const by = portHolder === undefined ? '' : nameListeners(portHolder.strangers)
  return {
    ...toExitFailure('LEASEHOLD_PORT_TAKEN', event),
    message:
      `the process ended because its port ${portHolder?.port ?? ''} is taken`.replace('  ', ' ') +
      (by === '' ? '' : ` by ${by}`),
    retry: 'later',
  }
}

/** `isLast`: leasehold shuts down, so that nothing is tried again. */
export function toSurvivorsFailure(event: ProviderEvent, isLast: boolean): Failure {
  return {
    code: 'LEASEHOLD_STOP_TIMEOUT',
    message:
      event.type === 'process.settled'
        ? describeSurvivors(event.receipt, isLast)
        : `no receipt within ${SWEEP_TIMEOUT_MS} ms of the sweep`,
  }
}

function describeSurvivors({ survivors, portHolder, outside }: Receipt, isLast: boolean): string {
  if (survivors.length > 0) return `its processes ${survivors.join(', ')} survived SIGKILL`
  if (outside !== undefined && outside.status !== 'gone') return describeLeftServer(outside, isLast)
  const port = portHolder === undefined ? '' : ` ${portHolder.port}`
  return `its processes have ended, but ${portHolder === undefined ? UNSEEN : nameStrangers(portHolder)} still listens on its port${port}: end that process, and if command puts the server into the background, have it run in the foreground`
}

function describeLeftServer({ exitCodes, status, detail }: OutsideEnd, isLast: boolean): string {
  const how = exitCodes
    .map((code) => (code === null ? 'could not be run to its end' : `ended with code ${code}`))
    .join(', then ')
  const left =
    status === 'there' ? 'its server is still there' : 'statusCommand cannot tell whether its server is gone'
  const isRevived = status === 'there' && exitCodes.every((code) => code === 0)
  const cause = isRevived
    ? '. If a restart policy or its unit starts it again, switch that off; otherwise stop it yourself'
    : ': stop it yourself'
  const next = isLast ? 'the next leasehold tries the command again' : 'the command is tried again'
  return `its stopCommand ${how}, and ${left}${detail === undefined ? '' : ` (${detail})`}${cause}; ${next}`
}

const UNSEEN = 'a process that cannot be seen'

function nameStrangers({ strangers }: PortHolder): string {
  return strangers.length === 0 ? UNSEEN : nameListeners(strangers)
}

export function toVerdictFailure(verdict: Verdict | undefined, pid: number | null = null): Failure {
  if (verdict === undefined) return UNEXPLAINED
  if (verdict.fault !== undefined)
    return {
      code: verdict.kind === 'foreign' ? 'LEASEHOLD_FOREIGN_SERVER' : 'LEASEHOLD_NOT_REACHABLE',
      message: verdict.fault,
      verdict,
    }
  if (verdict.mismatch !== undefined) return toMismatchFailure(verdict.mismatch, pid, verdict)
  if (verdict.kind === 'foreign')
    return { code: 'LEASEHOLD_FOREIGN_SERVER', message: describeListeners(verdict.portHolder), verdict }
  if (verdict.kind === 'failed')
    return {
      code: 'LEASEHOLD_BACKEND_FAILED',
      message: 'the server says that it will never be ready',
      verdict,
    }
  return { code: 'LEASEHOLD_NOT_REACHABLE', message: 'nothing answers at its address', verdict }
}

/** Our own process does not do what its configuration expects: `the server we started (pid 7) answers 404 at …`. */
export function toMismatchFailure(mismatch: string, pid: number | null, verdict: Verdict): Failure {
  const name = pid === null ? 'the server we started' : `the server we started (pid ${pid})`
  return {
    code: 'LEASEHOLD_HEALTH_MISMATCH',
    message: `${name} ${mismatch}`,
    ...(pid === null ? {} : { pid }),
    verdict,
    // A wrong port or scheme does not change by itself.
    ...(verdict.kind === 'failed' ? { retry: 'cooldown' } : {}),
  }
}

/** Which process has the port, in words: `process 12 (/usr/bin/nc) listens on its port 8080`. */
export function describeListeners(holder: PortHolder | undefined): string {
  if (holder?.uid !== undefined) {
    const who = holder.strangers.length === 0 ? '' : `: ${nameListeners(holder.strangers)}`
    return `its port ${holder.port} belongs to another user of this host (uid ${holder.uid})${who}`
  }
  if (holder === undefined || holder.strangers.length === 0) return 'another server answers at its address'
  const strangers = nameListeners(holder.strangers)
  const listens = holder.strangers.length === 1 ? 'listens' : 'listen'
  if (holder.ours.length === 0)
    return `its port ${holder.port} belongs to another program: ${strangers} ${listens} on it`
  return `its port ${holder.port} is shared with another program: ${strangers} ${listens} on it beside ${nameListeners(holder.ours)}`
}

/**
 * A listener beside our living process. When none of its tree listens, it may be the server that our process started:
 * one that left the session of its launcher with a cleaned environment shows no sign of that.
 */
export function describeUnproven(holder: PortHolder | undefined, pid: number | null): string {
  const text = describeListeners(holder)
  if (
    holder === undefined ||
    holder.ours.length > 0 ||
    holder.strangers.length === 0 ||
    holder.uid !== undefined
  )
    return text
  const launcher = pid === null ? '' : ` (pid ${pid})`
  return `${text}. If that is the server that command${launcher} started: it left the session of its launcher with a cleaned environment, so nothing proves that it is ours. End it, and have command run the server in the foreground, or let it keep LEASEHOLD_OWNER and LEASEHOLD_GENERATION in its environment`
}

function nameListeners(listeners: readonly Listener[]): string {
  return listeners
    .map(({ pid, exe }) => `process ${pid}${exe === undefined ? '' : ` (${exe})`}`)
    .join(' and ')
}

/** Services that are pinned hold the room of a start for as long as they run: waiting for it is of no use. */
export function toPinnedFailure({ because, rejected }: Decision): Failure {
  const names = rejected.map(({ service }) => service).join(' and ')
  const limits = because.needed
    .filter(({ limit }) => rejected.some(({ holds }) => (holds[limit] ?? 0) > 0))
    .map(({ limit, amount, capacity }) =>
      limit.startsWith('group:')
        ? `the place of the group ${limit.slice('group:'.length)}`
        : `${amount} of ${capacity} of ${limit}`,
    )
  const isOne = rejected.length === 1
  return {
    code: 'LEASEHOLD_NO_ROOM',
    message: `it needs ${limits.join(' and ')}, and ${names} ${isOne ? 'holds' : 'hold'} that room and ${isOne ? 'is' : 'are'} pinned: stop ${names}, or remove pinned there`,
  }
}

/** Without a failure of a start or a run it is a stop that opened the breaker. */
function describeFailures(failures: number): string {
  if (failures === 0) return 'its last stop left processes behind'
  return failures === 1
    ? 'it failed once, and would fail in the same way'
    : `it failed ${failures} times in a row`
}

export function toTrippedFailure({ failure, failures }: ProviderContext): Failure {
  if (failure?.retry === 'never') return failure
  return {
    code: 'LEASEHOLD_CIRCUIT_OPEN',
    message: `not tried again yet: ${describeFailures(failures)}`,
    ...(failure === null ? {} : { cause: failure }),
  }
}
