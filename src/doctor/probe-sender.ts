import { systemClock } from '../clock.ts'
import type { ModelConfig, ProviderConfig } from '../config/config.ts'
import type { Lease } from '../lease/lease.ts'
import { toKeyHeaders, toLowerCaseNames } from '../service/services.ts'
import { post } from '../transport/get.ts'
import { type Answer, parseAnswer, toSilence } from './probe-answer.ts'

/** How long one probe may take, in milliseconds: an answer is some tokens long, after a prompt of at most some hundred. */
const PROBE_TIMEOUT_MS = 120_000
/** An answer that ignores its limit is cut off here, in bytes. */
const MAX_ANSWER_BYTES = 65_536
/** A server that is busy is asked again, so many times, after so many milliseconds. */
const BUSY_TRIES = 5
const BUSY_MS = 1_000
/** How long the end of a process may take to be known, in milliseconds. */
const EXIT_MS = 1_000

/**
 * Sends a body to the server that a lease is about; one that is busy is asked again. Settles with status 0 where there is
 * no answer.
 */
export async function sendBody(
  body: Buffer,
  {
    provider,
    model,
    lease,
    signal,
    path,
  }: {
    readonly provider: ProviderConfig
    readonly model: ModelConfig | undefined
    readonly lease: Lease
    readonly signal: AbortSignal
    /** Below the base URL. */
    readonly path: string
  },
): Promise<Answer> {
  for (let left = BUSY_TRIES; ; left -= 1) {
    try {
      const answer = await post({
        url: `${lease.baseUrl}/${path}`,
        headers: { ...toKeyHeaders(provider), ...toLowerCaseNames(model?.headers) },
        body,
        timeoutMs: PROBE_TIMEOUT_MS,
        maxBodyBytes: MAX_ANSWER_BYTES,
        clock: systemClock,
        signal: AbortSignal.any([lease.signal, signal]),
      })
      const isBusy = answer.status === 429 || answer.status === 503
      if (!isBusy || left === 0) return parseAnswer(answer.status, answer.body)
    } catch (error) {
      return toSilence(describeTransport(error))
    }
    await pause(BUSY_MS, signal)
  }
}

function describeTransport(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (code === 'ETIMEOUT') return `no answer within ${PROBE_TIMEOUT_MS / 1_000} s`
  return `the connection broke (${code || String(error)})`
}

/** After a connection broke: the process may have ended, which is known a little later. */
export async function untilKnown(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await pause(EXIT_MS, signal)
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const settle = () => {
      systemClock.clearTimeout(timer)
      signal.removeEventListener('abort', settle)
      resolve()
    }
    const timer = systemClock.setTimeout(settle, ms)
    signal.addEventListener('abort', settle, { once: true })
  })
}
