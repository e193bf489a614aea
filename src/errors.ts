import type { Failure, FailureCode } from '../machines/messages.ts'
import { causeAdvice } from './text/cause-advice.ts'
import { toPlainText } from './text/plain-text.ts'

/** Every code an error of leasehold can carry. Codes are API and never change; messages may. */
export type ErrorCode =
  | FailureCode
  | 'LEASEHOLD_CONFIG_INVALID'
  | 'LEASEHOLD_MODEL_UNKNOWN'
  | 'LEASEHOLD_MODEL_AMBIGUOUS'
  | 'LEASEHOLD_PROVIDER_UNAVAILABLE'
  | 'LEASEHOLD_BAD_REQUEST'
  | 'LEASEHOLD_UPSTREAM_FAILED'
  | 'LEASEHOLD_UPSTREAM_TIMEOUT'
  | 'LEASEHOLD_STREAM_TRUNCATED'
  | 'LEASEHOLD_STREAM_STALLED'
  | 'LEASEHOLD_ABORTED'
  | 'LEASEHOLD_LISTEN_FAILED'
  | 'LEASEHOLD_KEY_REQUIRED'
  | 'LEASEHOLD_LOOP'
  | 'LEASEHOLD_HOP_REFUSED'
  | 'LEASEHOLD_OVERLOADED'
  | 'LEASEHOLD_CLUSTER_UNAVAILABLE'

/**
 * Base of every error leasehold throws. Match on `code`, read `message`, find the original in `cause`.
 * The message says what happened, to which service, the number involved, the last thing seen and what to try.
 */
export abstract class LeaseholdError extends Error {
  abstract readonly code: ErrorCode
  /** Id of the model request that failed, as its events name it; absent where there is none. */
  declare requestId?: string
  /** A literal in every class: bundlers rename classes. */
  abstract override readonly name: string
}

/** A service could not serve: it did not start, it ended, or it refused. `failure` holds the facts. */
export class ServiceError extends LeaseholdError {
  override get name() {
    return 'ServiceError' as const
  }
  readonly code: FailureCode
  /** Provider ids of the service. */
  readonly service: string
  readonly failure: Failure
  /** How long until trying again makes sense, in milliseconds. Absent: at once, or never. */
  readonly retryAfterMs?: number

  constructor(service: string, failure: Failure, options: { retryAfterMs?: number } = {}) {
    super(`${service}: ${toFailureText(failure)}`)
    this.service = service
    this.code = failure.code
    this.failure = failure
    if (options.retryAfterMs !== undefined) this.retryAfterMs = options.retryAfterMs
  }
}

/** One problem of a configuration: where it is and what to do about it. */
export interface ConfigProblem {
  readonly severity: 'error' | 'warning'
  /** Dotted path: `models.providers.inferrs.localService.command`. Empty for the whole file. */
  readonly path: string
  readonly message: string
  /** 1-based position in the file, where it is known. */
  readonly line?: number
  readonly column?: number
  /** The included file that `line` counts in. Absent: the configuration file itself. */
  readonly file?: string
}

/** The configuration cannot be used. Every problem is in `problems`, and in the message. */
export class ConfigError extends LeaseholdError {
  override get name() {
    return 'ConfigError' as const
  }
  readonly code = 'LEASEHOLD_CONFIG_INVALID'
  readonly file: string
  readonly problems: readonly ConfigProblem[]

  constructor(file: string, problems: readonly ConfigProblem[], options?: ErrorOptions) {
    const errors = problems.filter((problem) => problem.severity === 'error')
    const lines = errors.map((problem) => `  ${toProblemText(problem)}`)
    super(`${file}: ${errors.length} problem${errors.length === 1 ? '' : 's'}\n${lines.join('\n')}`, options)
    this.file = file
    this.problems = problems
  }
}

/** A configuration problem as one line: `12:5 models.mode: …`; with the name of an included file: `a.json5:12:5 …`. */
export function toProblemText({ file, line, column, path, message }: ConfigProblem): string {
  const position = line === undefined ? '' : `${file === undefined ? '' : `${file}:`}${line}:${column ?? 1} `
  return `${position}${path === '' ? '' : `${path}: `}${message}`
}

/** No configured model fits the reference. `candidates`: what was ambiguous, the near names, or else some that exist. */
export class ModelNotFoundError extends LeaseholdError {
  override get name() {
    return 'ModelNotFoundError' as const
  }
  readonly code: 'LEASEHOLD_MODEL_UNKNOWN' | 'LEASEHOLD_MODEL_AMBIGUOUS'
  readonly ref: string
  readonly candidates: readonly string[]

  constructor(ref: string, candidates: readonly string[], ambiguous: boolean, isNear = true) {
    const names = candidates.join(' or ')
    const question = ambiguous ? 'It could be' : 'Did you mean'
    const guess =
      ambiguous || isNear ? `${question} ${names}?` : `Name a configured model, for instance ${names}.`
    const hint = candidates.length === 0 ? 'No model is configured.' : guess
    const example = candidates[0]
    super(
      ambiguous
        ? `The model "${ref}" is ambiguous. ${hint}`
        : ref === 'default' && example !== undefined
          ? `No default model is configured. Name a model (for instance ${example}), or set agents.defaults.model.`
          : `There is no model "${ref}". ${hint}`,
    )
    this.ref = ref
    this.candidates = candidates
    this.code = ambiguous ? 'LEASEHOLD_MODEL_AMBIGUOUS' : 'LEASEHOLD_MODEL_UNKNOWN'
  }
}

/** The provider is configured but cannot be used on this host: a missing `${VAR}`, a missing program. */
export class ProviderUnavailableError extends LeaseholdError {
  override get name() {
    return 'ProviderUnavailableError' as const
  }
  readonly code = 'LEASEHOLD_PROVIDER_UNAVAILABLE'
  readonly provider: string

  constructor(provider: string, reason: string) {
    super(`The provider "${provider}" is unavailable: ${reason}`)
    this.provider = provider
  }
}

/** The cluster cannot be joined or asked: no client of NATS is installed, a file cannot be used, or there is no cluster. */
export class ClusterError extends LeaseholdError {
  override get name() {
    return 'ClusterError' as const
  }
  readonly code = 'LEASEHOLD_CLUSTER_UNAVAILABLE'
}

/** The HTTP statuses of a {@link BadRequestError}. */
export const badRequestStatuses = [400, 403, 404, 405, 409, 413, 415, 417, 431] as const

/** The request is invalid; nothing was started for it. `status` is the HTTP status. */
export class BadRequestError extends LeaseholdError {
  override get name() {
    return 'BadRequestError' as const
  }
  readonly code = 'LEASEHOLD_BAD_REQUEST'
  readonly status: (typeof badRequestStatuses)[number]
  /** The field that is wrong, in OpenAI's sense of `param`. */
  readonly param: string | null

  constructor(
    message: string,
    {
      status = 400,
      param = null,
      cause,
    }: { status?: (typeof badRequestStatuses)[number]; param?: string | null; cause?: unknown } = {},
  ) {
    super(message, cause === undefined ? undefined : { cause })
    this.status = status
    this.param = param
  }
}

/** The request has no valid API key. */
export class KeyError extends LeaseholdError {
  override get name() {
    return 'KeyError' as const
  }
  readonly code = 'LEASEHOLD_KEY_REQUIRED'
  /** Whether the request has a wrong key, rather than none. */
  readonly isGuess: boolean

  constructor(isGuess: boolean) {
    super('A valid API key is required: Authorization: Bearer KEY, or x-api-key: KEY.')
    this.isGuess = isGuess
  }
}

/** The gateway is at its limit of queued bytes or connections. Nothing was started for the request. */
export class OverloadedError extends LeaseholdError {
  override get name() {
    return 'OverloadedError' as const
  }
  readonly code = 'LEASEHOLD_OVERLOADED'
  /** How long until trying again makes sense, in milliseconds. */
  readonly retryAfterMs = 1_000
}

/** The server could not be reached, or failed after it received the request. */
export class UpstreamError extends LeaseholdError {
  override get name() {
    return 'UpstreamError' as const
  }
  readonly code: 'LEASEHOLD_UPSTREAM_FAILED' | 'LEASEHOLD_STREAM_TRUNCATED'
  readonly service: string

  constructor(
    service: string,
    what: string,
    { isTruncated = false, cause }: { isTruncated?: boolean; cause?: unknown } = {},
  ) {
    super(`${service}: ${what}`, cause === undefined ? undefined : { cause })
    this.service = service
    this.code = isTruncated ? 'LEASEHOLD_STREAM_TRUNCATED' : 'LEASEHOLD_UPSTREAM_FAILED'
  }
}

/** The server answered with a status after which failover tries the next candidate. */
export class UpstreamStatusError extends LeaseholdError {
  override get name() {
    return 'UpstreamStatusError' as const
  }
  readonly code = 'LEASEHOLD_UPSTREAM_FAILED'
  readonly service: string
  readonly status: number

  constructor(service: string, status: number) {
    super(`${service}: the server answered ${status}`)
    this.service = service
    this.status = status
  }
}

/** The model request took longer than the provider's `timeoutSeconds`, counted from dispatch. */
export class UpstreamTimeoutError extends LeaseholdError {
  override get name() {
    return 'UpstreamTimeoutError' as const
  }
  readonly code = 'LEASEHOLD_UPSTREAM_TIMEOUT'
  readonly service: string
  readonly timeoutMs: number

  constructor(service: string, timeoutMs: number) {
    super(
      `${service}: no complete answer within ${timeoutMs} ms. Raise timeoutSeconds of the provider if that is too short.`,
    )
    this.service = service
    this.timeoutMs = timeoutMs
  }
}

/** The directory in which supervisors of this user find each other cannot be used, so nothing may be spawned. */
export class StateDirectoryError extends LeaseholdError {
  override get name() {
    return 'StateDirectoryError' as const
  }
  readonly code = 'LEASEHOLD_STATE_UNUSABLE'
  /** Empty: none could be named. */
  readonly directory: string

  constructor(
    directory: string,
    problem: string,
    cause?: unknown,
    advice = 'Set LEASEHOLD_STATE_DIR to a directory of your own.',
  ) {
    super(
      `The state directory ${JSON.stringify(directory)} cannot be used: ${problem}. ${advice}`,
      cause === undefined ? undefined : { cause },
    )
    this.directory = directory
  }
}

/** An answer paused for longer than the provider's `stallTimeoutMs`. */
export class UpstreamStallError extends LeaseholdError {
  override get name() {
    return 'UpstreamStallError' as const
  }
  readonly code = 'LEASEHOLD_STREAM_STALLED'
  readonly service: string
  readonly timeoutMs: number

  constructor(service: string, timeoutMs: number) {
    super(
      `${service}: the answer was aborted, because no more data arrived for ${timeoutMs} ms. Raise stallTimeoutMs of the provider if that is too short.`,
    )
    this.service = service
    this.timeoutMs = timeoutMs
  }
}

/** The gateway cannot listen. `cause` is the system's error. */
export class GatewayError extends LeaseholdError {
  override get name() {
    return 'GatewayError' as const
  }
  readonly code = 'LEASEHOLD_LISTEN_FAILED'

  /** `cause`: the system's error, or what is missing, as a clause. `holders`: who has the port, in words. */
  constructor(host: string, port: number, cause: NodeJS.ErrnoException | string, holders = '') {
    const why = typeof cause === 'string' ? cause : (toListenText(cause.code, holders) ?? cause.message)
    super(
      `The gateway cannot listen on ${host}:${port}: ${why}.`,
      typeof cause === 'string' ? undefined : { cause },
    )
  }
}

function toListenText(code: string | undefined, holders: string): string | undefined {
  if (code === 'EADDRINUSE')
    return holders === ''
      ? 'the port is in use; is another leasehold running? Try --port'
      : `the port is in use by ${holders}. Try --port`
  if (code === 'EACCES') return 'this user may not open a port below 1024. Try --port with 1024 or more'
  if (code === 'EADDRNOTAVAIL') return 'this host has no such address. Correct leasehold.host or --host'
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return 'the host name cannot be resolved. Correct leasehold.host or --host'
  return undefined
}

/** The request has passed this leasehold before, or too many in a row: their providers or replicas name each other. */
export class LoopError extends LeaseholdError {
  override get name() {
    return 'LoopError' as const
  }
  readonly code = 'LEASEHOLD_LOOP'
  /** The gateways that it passed, this one last. */
  readonly hops: readonly string[]

  constructor(hops: readonly string[], isRepeated: boolean) {
    const way = hops.map((hop) => toPlainText(hop).slice(0, 32)).join(' → ')
    super(
      isRepeated
        ? `The request came back to this leasehold (${way}). A provider or replica here leads back to it, and no other server took the request; remove its baseUrl, or make the other servers reachable.`
        : `The request passed ${hops.length} leaseholds in a row (${way}), which is more than allowed. Check the baseUrl of their providers and replicas.`,
    )
    this.hops = hops
  }
}

/** A request says that a member of the cluster sent it, and does not prove it. */
export class HopError extends LeaseholdError {
  override get name() {
    return 'HopError' as const
  }
  readonly code = 'LEASEHOLD_HOP_REFUSED'
}

/** The caller aborted the request, or it was cancelled through the API. */
export class AbortedError extends LeaseholdError {
  override get name() {
    return 'AbortError' as const
  }
  readonly code = 'LEASEHOLD_ABORTED'

  constructor(cause?: unknown, message = 'The caller aborted the request.') {
    super(message, cause === undefined ? undefined : { cause })
  }
}

/** A text with a full stop at its end, so that another sentence can follow. One that has its end mark is left alone. */
export function toSentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`
}

/** A failure as a sentence, with the last lines the process printed below it. */
function toFailureText(failure: Failure): string {
  const verdict =
    failure.verdict === undefined ? '' : ` Last probe: ${failure.verdict.kind} (${failure.verdict.detail}).`
  const tail = failure.tail?.length
    ? `\nLast output:\n${failure.tail.map((line) => `  ${line}`).join('\n')}`
    : ''
  const cause = failure.cause === undefined ? '' : `\nCause: ${toFailureText(failure.cause)}`
  const advice =
    failure.retry === 'never'
      ? ' It is not tried again before the configuration changes or `leasehold start` is called.'
      : ''
  const cure = failure.telling === undefined ? undefined : causeAdvice[failure.telling.cause]
  const help = cure === undefined ? '' : ` ${cure}`
  return `${toSentence(failure.message)}${help}${advice}${verdict}${tail}${cause}`
}
