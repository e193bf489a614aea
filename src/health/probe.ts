import type { Verdict } from '../../machines/messages.ts'
import type { Clock } from '../clock.ts'
import { ask, type GetAnswer, type GetOptions, get, type Request } from '../transport/get.ts'
import { INSTANCE_HEADER } from '../transport/hops.ts'
import { codeOf, judgeAnswer, judgeError } from './verdict.ts'

/** One probe's limit unless another is given, in milliseconds. SGLang's health check may generate a token first. */
export const PROBE_TIMEOUT_MS = 5_000
/** How much of a health answer is read before the rest is cut off, in bytes. */
export const MAX_HEALTH_BODY_BYTES = 65_536

export interface ProbeOptions {
  readonly url: string
  /** Sent to the health URL only, which is the provider's own origin. */
  readonly headers: Readonly<Record<string, string>>
  /** One probe's limit, in milliseconds. @default {@link PROBE_TIMEOUT_MS} */
  readonly timeoutMs?: number
  readonly clock: Clock
  /** Models of which a list of models should name one; when it does not, the verdict says so. @default [] */
  readonly models?: readonly string[]
  /** Address to connect to, instead of resolving the host of the URL. @default resolved */
  readonly address?: string | undefined
  /** See `GetOptions`. */
  readonly tls?: GetOptions['tls']
  /** Whether not to ask the listener that accepted the connection: see `GetOptions`. */
  readonly refuse?: () => boolean
  /** @default a GET without a body */
  readonly request?: Request
  /** @default {@link judgeAnswer} */
  readonly judge?: (answer: GetAnswer) => Verdict
  /** Called with the address of a server that answered as ready, and the instance of a leasehold that did. */
  readonly onReadyAt?: (address: string, instance: string | undefined) => void
}

/** Errors caused by this host, not by the server. */
const LACKS: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL'])

/** The health check could not run; the server may be well. `code`: the system's error code. */
export class ProbeError extends Error {
  readonly code: string

  constructor(code: string, cause: unknown) {
    const why = LACKS.has(code) ? 'failed on this host' : 'cannot be sent'
    super(`health check ${why}: ${code}`, { cause })
    this.code = code
  }
}

/**
 * Makes one health check: one connection of its own, no redirect followed, bounded in time and size.
 * @throws {@link ProbeError} when this host lacks what a connection needs, or the request cannot be made at all.
 */
export async function probe(
  {
    url,
    headers,
    timeoutMs = PROBE_TIMEOUT_MS,
    clock,
    models = [],
    address,
    tls,
    refuse,
    request,
    judge = (answer) => judgeAnswer(answer, new URL(url).pathname.endsWith('/models'), models),
    onReadyAt,
  }: ProbeOptions,
  signal?: AbortSignal,
): Promise<Verdict> {
  try {
    const maxBodyBytes = MAX_HEALTH_BODY_BYTES
    const options = { url, headers, timeoutMs, maxBodyBytes, clock, address, tls, signal, refuse }
    const answer = await (request === undefined ? get(options) : ask({ ...options, ...request }))
    const verdict = judge(answer)
    if (verdict.kind === 'ready' && answer.address !== undefined)
      onReadyAt?.(answer.address, readInstance(answer.headers))
    return verdict
  } catch (error) {
    const code = codeOf(error)
    if (LACKS.has(code) || isOurFault(error)) throw new ProbeError(code, error)
    return judgeError(code, timeoutMs)
  }
}

function readInstance({ [INSTANCE_HEADER]: instance }: GetAnswer['headers']): string | undefined {
  return typeof instance === 'string' && /^[0-9a-f]{1,32}$/.test(instance) ? instance : undefined
}

/** A bug or a header that cannot be sent: a JavaScript error, or undici's error for an invalid argument. */
function isOurFault(error: unknown): boolean {
  if (!(error instanceof Error)) return true
  const code = 'code' in error ? error.code : undefined
  if (code === 'UND_ERR_INVALID_ARG' || /^ERR_INVALID_/.test(String(code))) return true
  const isNamed = typeof code === 'string' && code !== ''
  return (
    !isNamed && [TypeError, RangeError, ReferenceError, SyntaxError].some((kind) => error instanceof kind)
  )
}
