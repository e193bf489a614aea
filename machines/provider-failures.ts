import type {
  Failure,
  FailureCode,
  Listener,
  PortOwner,
  ProviderEvent,
  Receipt,
  StopReason,
  Verdict,
} from './messages.ts'
import { type ProviderContext, SWEEP_TIMEOUT_MS } from './provider-context.ts'
import { findTellingLine, isLastingCause } from './telling-line.ts'

export const UNEXPLAINED: Failure = { code: 'LEASEHOLD_INTERNAL', message: 'no cause was recorded' }

/** Refusals that say nothing about the server. */
export const NO_START_FAILURES: ReadonlySet<FailureCode> = new Set([
  'LEASEHOLD_QUEUE_FULL',
  'LEASEHOLD_QUEUE_TIMEOUT',
  'LEASEHOLD_STOPPED',
  'LEASEHOLD_REMOVED',
  'LEASEHOLD_SHUTTING_DOWN',
])

/** A stranger on our port is nobody's failure to start, so it does not count towards the breaker. */
export function chargeOf(failure: Failure | null): 0 | 1 {
  return failure?.code === 'LEASEHOLD_FOREIGN_SERVER' || failure?.code === 'LEASEHOLD_PORT_TAKEN' ? 0 : 1
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
  // What a server printed long before it crashed is not why.
  const said = isEarly ? telling : findTellingLine(tail)
  if (event.daemon !== undefined)
    return {
      code,
      message: `its process left the foreground: it ended with code 0, and ${toStrangerNames(event.daemon)} listens on its port ${event.daemon.port}; end that process, and have command run the server in the foreground`,
      generation,
      exitCode,
      signal,
      tail,
    }
  // Of our own SIGKILLs nobody is told in this way: they end a stop.
  const guess = signal === 'SIGKILL' ? ', which was not ours: the system may have been out of memory' : ''
  const how = signal === null ? `exited with code ${exitCode}` : `was ended by ${signal}${guess}`
  const when = isEarly ? ' before it was ready' : ''
  // A launcher that puts its server into the background ends so: what it left was killed with its tree.
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

/** The process ended because another one has its port, or because it may not open it. */
export function toPortFailure(event: ProviderEvent): Failure {
  if (event.type !== 'process.exited') return UNEXPLAINED
  const { portOwner } = event
  const by = portOwner === undefined ? '' : toNames(portOwner.strangers)
  return {
    ...toExitFailure('LEASEHOLD_PORT_TAKEN', event),
    message:
      `the process ended because its port ${portOwner?.port ?? ''} is taken`.replace('  ', ' ') +
      (by === '' ? '' : ` by ${by}`),
    retry: 'later',
  }
}

export function toSurvivorsFailure(event: ProviderEvent): Failure {
  return {
    code: 'LEASEHOLD_STOP_TIMEOUT',
    message:
      event.type === 'process.settled'
        ? toLeftText(event.receipt)
        : `no receipt within ${SWEEP_TIMEOUT_MS} ms of the sweep`,
  }
}

function toLeftText({ survivors, portOwner }: Receipt): string {
  if (survivors.length > 0) return `its processes ${survivors.join(', ')} survived SIGKILL`
  const port = portOwner === undefined ? '' : ` ${portOwner.port}`
  return `its processes have ended, but ${portOwner === undefined ? UNSEEN : toStrangerNames(portOwner)} still listens on its port${port}: end that process, and if command puts the server into the background, have it run in the foreground`
}

const UNSEEN = 'a process that cannot be seen'

function toStrangerNames({ strangers }: PortOwner): string {
  return strangers.length === 0 ? UNSEEN : toNames(strangers)
}

export function toVerdictFailure(verdict: Verdict | undefined, pid: number | null = null): Failure {
  if (verdict === undefined) return UNEXPLAINED
  if (verdict.mismatch !== undefined) return toMismatchFailure(verdict.mismatch, pid, verdict)
  if (verdict.kind === 'foreign')
    return { code: 'LEASEHOLD_FOREIGN_SERVER', message: toOwnerText(verdict.owner), verdict }
  if (verdict.kind === 'failed')
    return {
      code: 'LEASEHOLD_BACKEND_FAILED',
      message: 'the server says that it will never be ready',
      verdict,
    }
  return { code: 'LEASEHOLD_NOT_REACHABLE', message: 'nothing answers at its address', verdict }
}

/** Our own process runs, but not as its configuration says: `the server we started (pid 7) answers 404 at …`. */
export function toMismatchFailure(mismatch: string, pid: number | null, verdict: Verdict): Failure {
  const name = pid === null ? 'the server we started' : `the server we started (pid ${pid})`
  return {
    code: 'LEASEHOLD_HEALTH_MISMATCH',
    message: `${name} ${mismatch}`,
    ...(pid === null ? {} : { pid }),
    verdict,
    // Another port or scheme does not change by itself.
    ...(verdict.kind === 'failed' ? { retry: 'cooldown' } : {}),
  }
}

/** Who has the port, in words: `process 12 (/usr/bin/nc) listens on its port 8080`. */
export function toOwnerText(owner: PortOwner | undefined): string {
  if (owner?.uid !== undefined) {
    const who = owner.strangers.length === 0 ? '' : `: ${toNames(owner.strangers)}`
    return `its port ${owner.port} belongs to another user of this host (uid ${owner.uid})${who}`
  }
  if (owner === undefined || owner.strangers.length === 0) return 'another server answers at its address'
  const strangers = toNames(owner.strangers)
  const listens = owner.strangers.length === 1 ? 'listens' : 'listen'
  if (owner.ours.length === 0)
    return `its port ${owner.port} belongs to another program: ${strangers} ${listens} on it`
  return `its port ${owner.port} is shared with another program: ${strangers} ${listens} on it beside ${toNames(owner.ours)}`
}

function toNames(listeners: readonly Listener[]): string {
  return listeners
    .map(({ pid, exe }) => `process ${pid}${exe === undefined ? '' : ` (${exe})`}`)
    .join(' and ')
}

export function toTrippedFailure({ failure, failures }: ProviderContext): Failure {
  if (failure?.retry === 'never') return failure
  return {
    code: 'LEASEHOLD_CIRCUIT_OPEN',
    message: `not tried again yet: it failed ${failures === 1 ? 'once, and would fail in the same way' : `${failures} times in a row`}`,
    ...(failure === null ? {} : { cause: failure }),
  }
}
