import type { Failure } from '../../../machines/messages.ts'
import { toDurationText } from '../../duration.ts'
import type { PageModel, ServiceView, TimerView } from './model.ts'

/** How urgent a state is; the page's colours mean these and nothing else. */
export type Tone = 'rest' | 'busy' | 'good' | 'warn' | 'bad'

/** What a person wants to know of a service: what is going on, why, what comes next, and what to do about it. */
export interface Explanation {
  readonly tone: Tone
  /** `Loading`, `In use by 2 requests`. */
  readonly title: string
  readonly sentence: string
  /** What the end of the running delay brings: `It stops in 12 s, if nobody uses it.` */
  readonly next: string | null
  /** What a person can do; empty where nothing needs to be done. */
  readonly advice: readonly string[]
}

/** A start that takes this much longer than usual, or this part of its deadline, deserves a word. */
const SLOW_FACTOR = 2
const SLOW_SHARE = 0.4

/** Explains one service at a moment of the events' clock; `lastLine`: what it printed last. */
export function explain(
  service: ServiceView,
  model: PageModel,
  atMs: number,
  lastLine?: string,
): Explanation {
  const { state, leases, queue, whyText } = service
  const inStateMs = Math.max(0, atMs - service.enteredAtMs)
  const why = toSentence(whyText)
  const next = toNext(service, atMs)
  if (state === 'leased.open')
    return {
      tone: 'good',
      title: `In use by ${count(leases, 'request')}`,
      sentence:
        queue.length > 0
          ? `${why} ${queue.length} more ${queue.length === 1 ? 'waits' : 'wait'} for a free place.`
          : why,
      next,
      advice:
        queue.length > 0
          ? ['A larger maxConcurrent lets more of them in at the same time, if the server can.']
          : [],
    }
  if (state === 'leased.draining')
    return {
      tone: 'warn',
      title: `Draining: ${count(leases, 'request')} may still end`,
      sentence: why,
      next,
      advice: [],
    }
  if (state === 'ready') return { tone: 'good', title: 'Ready, not in use', sentence: why, next, advice: [] }
  if (state === 'probing')
    return { tone: 'busy', title: 'Looking for a running server', sentence: why, next, advice: [] }
  if (state.startsWith('starting')) return explainStart(service, model, atMs, inStateMs, lastLine)
  if (state.startsWith('idle-stopping'))
    return {
      tone: 'busy',
      title: state.endsWith('killing') ? 'Stopping: killed' : 'Stopping',
      sentence: queue.length > 0 ? `${why} ${count(queue.length, 'request')} wait for the next start.` : why,
      next,
      advice: state.endsWith('killing')
        ? [
            'It did not end within stopGraceMs after SIGTERM; a server that needs longer to save its state needs a larger one.',
          ]
        : [],
    }
  if (state === 'down.backoff')
    return {
      tone: 'warn',
      title:
        service.failures > 1
          ? `Failed ${service.failures} times in a row`
          : 'Failed, waits before the next start',
      sentence: why,
      next,
      advice: toAdvice(service.failure),
    }
  if (state === 'down.tripped')
    return {
      tone: 'bad',
      title: 'Keeps failing: requests are refused at once',
      sentence: why,
      next,
      advice: [...toAdvice(service.failure), 'When the cause is mended, Start tries again at once.'],
    }
  if (service.failures > 0 && service.failure !== null)
    return {
      tone: 'warn',
      title:
        service.failures > 1 ? `Down, after ${service.failures} failures in a row` : 'Down, after a failure',
      sentence: `${toSentence(service.failure.message)}${toLastOutput(service.failure)} ${why}`,
      next: null,
      advice: [...toAdvice(service.failure), 'The next request starts it again, and so does Start.'],
    }
  return {
    tone: 'rest',
    title: 'Down',
    sentence: why,
    next: null,
    advice: service.why === null ? ['A request for one of its models starts it, and so does Start.'] : [],
  }
}

function toLastOutput({ tail }: Failure): string {
  const last = tail?.at(-1)
  return last === undefined ? '' : ` It last printed: ${toSentence(last)}`
}

function explainStart(
  service: ServiceView,
  model: PageModel,
  atMs: number,
  inStateMs: number,
  lastLine: string | undefined,
): Explanation {
  const { state, whyText, verdict, startTimes, queue, pid } = service
  const next = toNext(service, atMs)
  const waiting =
    queue.length === 0
      ? ''
      : ` ${count(queue.length, 'request')} ${queue.length === 1 ? 'waits' : 'wait'} for it.`
  if (state === 'starting.claiming') {
    const others = Object.values(model.services).filter(
      (other) =>
        other.key !== service.key &&
        (other.state.startsWith('starting.') || other.state.startsWith('idle-stopping')),
    )
    const ahead = others.map(
      ({ name, state: other }) => `${name} (${other.startsWith('starting') ? 'starting' : 'stopping'})`,
    )
    return {
      tone: 'busy',
      title: 'Waits for its turn to start',
      sentence:
        ahead.length === 0
          ? `${toSentence(whyText)}${waiting}`
          : `${toSentence(whyText)} Before it comes ${ahead.join(', ')}.${waiting}`,
      next,
      advice:
        ahead.length === 0
          ? []
          : [
              `It starts as soon as ${others.map(({ name }) => name).join(' or ')} is through. Stop that one if this one matters more, or raise leasehold.maxConcurrentStarts if there is memory for both.`,
            ],
    }
  }
  const usual = startTimes === null ? '' : ` It usually takes ${toDurationText(startTimes.medianMs)}.`
  const deadline = service.timers.find(({ name }) => name === 'readyTimeout')
  const isSlow =
    (startTimes !== null && inStateMs > SLOW_FACTOR * startTimes.medianMs && inStateMs > 2_000) ||
    (startTimes === null && deadline !== undefined && inStateMs > SLOW_SHARE * deadline.totalMs)
  const seen = verdict === null ? '' : ` Its last health check said: ${verdict.kind} (${verdict.detail}).`
  const printed = lastLine === undefined ? '' : ` It last printed: ${lastLine}`
  if (!isSlow)
    return {
      tone: 'busy',
      title: `Loading for ${toDurationText(inStateMs)}`,
      sentence: `${toSentence(whyText)}${usual}${waiting}`,
      next,
      advice: [],
    }
  return {
    tone: 'warn',
    title: `Loading for ${toDurationText(inStateMs)}, longer than usual`,
    sentence: `It runs${pid === null ? '' : ` (pid ${pid})`} but is not ready.${usual}${seen}${printed}${waiting}`,
    next,
    advice: [
      'Read its output below. If it still makes progress, wait; if it stands still, press Stop.',
      'A model that honestly needs longer needs a larger readyTimeoutMs; one that is ready but looks loading needs another healthUrl.',
    ],
  }
}

/** What the end of a delay brings, in words. */
const timerTexts: Readonly<Record<string, (left: string, service: ServiceView) => string>> = {
  idleStop: (left, { ownership }) =>
    ownership === 'adopted'
      ? `It is let go in ${left}, and goes on running.`
      : `It stops in ${left}, if nobody uses it until then.`,
  backoff: (left, { queue }) =>
    queue.length > 0
      ? `The next start is in ${left}.`
      : `It may start again in ${left}, for the next request.`,
  breakerCooldown: (left) => `One trial start is allowed in ${left}.`,
  readyTimeout: (left) => `It is given up in ${left}.`,
  drainTimeout: (left) => `What is still open then is cut in ${left}.`,
  stopGrace: (left) => `It is killed in ${left}, if it has not ended.`,
}

/** The running delay that a countdown is shown of. */
export function toMainTimer({ timers }: Pick<ServiceView, 'timers'>): TimerView | undefined {
  return timers
    .filter(({ name }) => timerTexts[name] !== undefined)
    .toSorted((a, b) => a.endsAtMs - b.endsAtMs)[0]
}

function toNext(service: ServiceView, atMs: number): string | null {
  const timer = toMainTimer(service)
  if (timer === undefined) return null
  return timerTexts[timer.name]?.(toDurationText(Math.max(0, timer.endsAtMs - atMs)), service) ?? null
}

/** What usually helps against a failure. */
const cures: Partial<Record<Failure['code'], readonly string[]>> = {
  LEASEHOLD_SPAWN_FAILED: [
    'Check that command is an absolute path to a program that may be run, and that cwd exists.',
  ],
  LEASEHOLD_EXITED_BEFORE_READY: [
    'Its last output says why. Run its command by hand to see all of it: a missing model file, a wrong flag or too little memory are the usual causes.',
  ],
  LEASEHOLD_READY_TIMEOUT: [
    'If it was still loading, raise readyTimeoutMs. If it was ready, healthUrl asks the wrong thing.',
  ],
  LEASEHOLD_BACKEND_FAILED: ['The server itself says that it will never be ready: its output has the cause.'],
  LEASEHOLD_FOREIGN_SERVER: [
    'Something else listens on its port. Stop that program, or give this service another port in args, baseUrl and healthUrl.',
  ],
  LEASEHOLD_NOT_REACHABLE: [
    'Nobody starts this server here: start it where it runs, or give it a localService.',
  ],
  LEASEHOLD_SERVICE_EXITED: [
    'It was ready and then ended: look at its last output. Ended by SIGKILL usually means that memory ran out.',
  ],
  LEASEHOLD_UNHEALTHY: ['It stopped answering its health checks and is started anew for the next request.'],
  LEASEHOLD_STOP_TIMEOUT: [
    'Something of it is still alive and needs a person: end the processes named here.',
  ],
}

function toAdvice(failure: Failure | null): readonly string[] {
  return failure === null ? [] : (cures[failure.code] ?? [])
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`
}

/** A clause of reasons as a sentence of its own. */
function toSentence(clause: string): string {
  const text = clause.charAt(0).toUpperCase() + clause.slice(1)
  return /[.!?]$/.test(text) ? text : `${text}.`
}
