import type { SleepOutcome, Verdict } from '../../machines/messages.ts'
import { type Clock, delay } from '../clock.ts'
import type { LocalServiceConfig } from '../config/config.ts'
import { toWarmPauseMs } from '../health/health.ts'
import { MAX_HEALTH_BODY_BYTES, PROBE_TIMEOUT_MS } from '../health/probe.ts'
import { judgeSleep, type SleepLook } from '../health/sleep-check.ts'
import { codeOf, judgeError } from '../health/verdict.ts'
import { findSign } from '../json/sign.ts'
import { ask } from '../transport/get.ts'
import type { Service } from './services.ts'

type Sleep = NonNullable<LocalServiceConfig['sleep']>

/** What is asked of servers that can sleep. Nothing here rejects. */
export interface SleepRequests {
  /** Tells a server to sleep; settles when its check says that it does, or when it refuses. */
  sleep(key: string, signal: AbortSignal): Promise<SleepOutcome>
  /** Tells a server to wake; settles when its check says that it is awake and it is healthy, or when it refuses. */
  wake(key: string, signal: AbortSignal): Promise<SleepOutcome>
  /** Whether it sleeps now. `undefined`: it has no check. */
  look(key: string, signal?: AbortSignal): Promise<SleepLook | undefined>
}

export interface SleepRequestOptions {
  readonly clock: Clock
  readonly serviceOf: (key: string) => Service
  /** Where its server was found. */
  readonly addressOf: (key: string) => string | undefined
  /** Whether the listener at its address may not be asked. */
  readonly isForeign: (key: string) => boolean
  /** Closes our connections to its server, and waits until that can have noticed. */
  readonly disconnect: (key: string) => Promise<void>
  readonly check: (key: string) => Promise<Verdict>
  readonly scrub: (text: string) => string
}

/** How much of the answer to a request is quoted, in characters. */
const MAX_QUOTE = 200

/** Creates the requests of every service. */
export function createSleepRequests({
  clock,
  serviceOf,
  addressOf,
  isForeign,
  disconnect,
  check,
  scrub,
}: SleepRequestOptions): SleepRequests {
  const sleepOf = (key: string): Sleep | undefined => serviceOf(key).localService?.sleep
  const send = (
    key: string,
    { method, path, body, headers }: Sleep['check'] | Sleep['wake'][number],
    timeoutMs: number,
    signal?: AbortSignal,
  ) => {
    const { healthHeaders, providers } = serviceOf(key)
    return ask({
      url: new URL(path, providers[0]?.baseUrl).href,
      method,
      headers: { ...healthHeaders, ...headers },
      ...(body === undefined ? {} : { body: Buffer.from(JSON.stringify(body)) }),
      timeoutMs,
      maxBodyBytes: MAX_HEALTH_BODY_BYTES,
      clock,
      address: addressOf(key),
      refuse: () => isForeign(key),
      signal,
    })
  }
  const look = async (key: string, signal?: AbortSignal): Promise<SleepLook | undefined> => {
    const sleep = sleepOf(key)
    if (sleep === undefined) return undefined
    try {
      return judgeSleep(await send(key, sleep.check, PROBE_TIMEOUT_MS, signal), sleep.check)
    } catch (error) {
      return { verdict: judgeError(codeOf(error), PROBE_TIMEOUT_MS) }
    }
  }
  /** Sends the requests in their order. Why one was not answered well; `undefined`: all were. */
  const tell = async (key: string, requests: Sleep['wake'], signal: AbortSignal) => {
    for (const request of requests) {
      const name = `${request.method} ${request.path}`
      try {
        const { status, body } = await send(key, request, request.timeoutMs, signal)
        const isGood = status >= 200 && status < 300
        const fault = isGood ? findStreamFault(body) : body
        if (fault !== undefined) return scrub(`${name} answered ${status} ${quote(fault)}`.trim())
      } catch (error) {
        return scrub(`${name}: ${judgeError(codeOf(error), request.timeoutMs).detail}`)
      }
    }
    return undefined
  }
  /**
   * Looks until `is`, as often as at a server that warms up: requests wait for it. Never settles otherwise before the
   * signal: the chart limits the time.
   */
  const until = async (signal: AbortSignal, is: () => Promise<boolean>) => {
    for (let looks = 1; !signal.aborted && !(await is()); looks += 1) await delay(clock, toWarmPauseMs(looks))
  }
  const isSeen = async (key: string, isAsleep: boolean, signal: AbortSignal) => {
    const seen = await look(key, signal)
    return seen !== undefined && 'isAsleep' in seen && seen.isAsleep === isAsleep
  }

  return {
    look,
    sleep: async (key, signal) => {
      const sleep = sleepOf(key)
      if (sleep === undefined) return NOT_CONFIGURED
      await disconnect(key)
      const fault = await tell(key, sleep.request, signal)
      if (fault !== undefined) return { outcome: 'failed', detail: fault }
      await until(signal, () => isSeen(key, true, signal))
      return { outcome: 'done' }
    },
    wake: async (key, signal) => {
      const sleep = sleepOf(key)
      if (sleep === undefined) return NOT_CONFIGURED
      // The request that waits for it wakes it.
      if (sleep.wake.length === 0) return { outcome: 'done' }
      const fault = await tell(key, sleep.wake, signal)
      if (fault !== undefined) return { outcome: 'failed', detail: fault }
      await until(signal, () => isSeen(key, false, signal))
      await until(signal, async () => {
        const verdict = await check(key).catch(() => undefined)
        return verdict?.kind === 'ready'
      })
      return { outcome: 'done' }
    },
  }
}

const NOT_CONFIGURED: SleepOutcome = { outcome: 'failed', detail: 'its configuration has no sleep any more' }

/**
 * The error in an answer that is a stream of events: TabbyAPI answers 200 before it loads, and tells there that the load has
 * failed. `undefined`: there is none.
 */
function findStreamFault(body: string): string | undefined {
  return body
    .split(/\r?\n/)
    .filter((line) => line.startsWith('data:'))
    .map((line) => line.slice('data:'.length))
    .find((data) => findSign(data, 'error', {}))
}

/** The beginning of an answer, on one line. */
function quote(text: string): string {
  return text
    .replaceAll(/[\s\p{C}]+/gu, ' ')
    .trim()
    .slice(0, MAX_QUOTE)
}
