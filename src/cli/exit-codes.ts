import { toOpenAiError } from '../compat/openai-error.ts'
import { ConfigError, LeaseholdError, toProblemText } from '../errors.ts'
import { escapeText } from './terminal.ts'

/** The meaning of the exit codes of every command; `--help` prints this table. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  noGateway: 3,
} as const

/** The exit codes as a paragraph of the help text. */
export const exitCodeHelp = `
Exit codes:
  0    success; serve: stopped by a signal, and all services are stopped
  1    the request or the command failed; infer model run: also when --gateway finds no gateway;
       doctor: there is an error or a warning
  2    wrong usage, or an invalid configuration
  3    no gateway is running (status, start, stop, logs, why, events)
  129, 130, 143
       ended by SIGHUP, SIGINT, SIGTERM`

/** The command was called incorrectly. Nothing was started. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
  readonly code = 'LEASEHOLD_BAD_REQUEST'
  readonly type = 'invalid_request_error'
}

/** No gateway answers at `url`. */
export class NoGatewayError extends Error {
  override readonly name = 'NoGatewayError'
  readonly code = 'LEASEHOLD_NOT_REACHABLE'
  readonly type = 'service_unavailable'
  readonly url: string

  /** `uid`: another user of this host owns the listener, which is not asked. */
  constructor(url: string, { uid, ...options }: ErrorOptions & { readonly uid?: number } = {}) {
    const text =
      uid === undefined
        ? `No gateway is running at ${url}. Start one with: leasehold serve`
        : `At ${url} a process of another user of this host (uid ${uid}) listens. It is not asked, because it would get your key. Run this command as that user, or give your gateway another port.`
    super(text, options)
    this.url = url
  }
}

/** A server answered with an error. `code` and `type` are the server's, or the nearest ones of leasehold. */
export class AnswerError extends Error {
  override readonly name = 'AnswerError'
  readonly status: number
  readonly code: string
  readonly type: string

  constructor(
    message: string,
    {
      status,
      code = 'LEASEHOLD_UPSTREAM_FAILED',
      type = 'upstream_error',
      cause,
    }: { readonly status: number; readonly code?: string; readonly type?: string; readonly cause?: unknown },
  ) {
    super(message, cause === undefined ? undefined : { cause })
    this.status = status
    this.code = code
    this.type = type
  }
}

/** The exit code for an error. */
export function findExitCode(error: unknown): number {
  if (error instanceof UsageError || error instanceof ConfigError) return exitCodes.usage
  return error instanceof NoGatewayError ? exitCodes.noGateway : exitCodes.failed
}

/** An error as `--json` prints it. */
export interface ErrorFacts {
  readonly type: string
  readonly code: string
  readonly message: string
}

/** An error as facts. Foreign errors keep their message, because there is no log. */
export function listErrorFacts(error: unknown): ErrorFacts {
  if (error instanceof AnswerError || error instanceof UsageError || error instanceof NoGatewayError)
    return { type: error.type, code: error.code, message: error.message }
  const { type, code, message } = toOpenAiError(error).body.error
  if (error instanceof LeaseholdError) return { type, code, message: escapeText(message) }
  return { type, code, message: formatError(error) }
}

/**
 * An error as text for users: a message without a stack, its code at the end of the first line, since a server's last
 * output may follow, and a configuration's problems in the form that editors recognise,
 * `FILE:LINE:COLUMN: message`. `withStack` adds the stack and the causes.
 */
export function formatError(
  error: unknown,
  { withStack = false }: { readonly withStack?: boolean } = {},
): string {
  if (!(error instanceof Error)) return String(error)
  if (withStack) {
    const cause = error.cause === undefined ? '' : `\ncaused by: ${formatError(error.cause, { withStack })}`
    return `${error.stack ?? error.message}${cause}`
  }
  if (error instanceof ConfigError)
    return error.problems.map((problem) => formatProblem(error.file, problem)).join('\n')
  if (!(error instanceof LeaseholdError || error instanceof AnswerError)) return error.message
  const [first, ...below] = error.message.split('\n')
  return [`${first} (${error.code})`, ...below].join('\n')
}

/** A problem of a configuration with its place: `leasehold.json5:3:7: error: models.mode: …`. */
export function formatProblem(
  file: string,
  { line, column, file: included = file, ...problem }: ConfigError['problems'][number],
): string {
  const place = line === undefined ? included : `${included}:${line}:${column ?? 1}`
  return `${place}: ${problem.severity}: ${toProblemText(problem)}`
}
