import { isDeepStrictEqual } from 'node:util'
import { type ActorRefFrom, type AnyEventObject, createActor } from 'xstate'
import type { ServicePolicy } from '../../machines/messages.ts'
import { providerMachine } from '../../machines/provider/chart.ts'
import { toStateName } from '../../machines/provider/context.ts'
import type { Reason } from '../../machines/reasons.ts'
import type { ServiceEventBody, SupervisorEvent } from '../events/events.ts'
import { toReason } from '../service/registry.ts'
import type { Recording } from './recording.ts'
import { createReplayClock, type ReplayClock } from './replay-clock.ts'
import { silenceMachine } from './silence.ts'

/** What one machine was told, and what it did: one step of its life. */
export interface ReplayStep {
  readonly atMs: number
  readonly event: AnyEventObject
  /** The event is the end of a delay, which a clock brings by itself. */
  readonly isDelay: boolean
  /** What it said. */
  readonly said: readonly Said[]
  readonly state: string
  readonly why: Reason | null
}

/** Something a machine says: a message, or a change of its state. */
export type Said = ServiceEventBody

/** The life of one statechart: a service has another one after a bug, or when it is configured again. */
export interface ReplayedLife {
  readonly service: string
  readonly key: string
  readonly instance: string
  readonly policy: ServicePolicy
  readonly steps: readonly ReplayStep[]
}

/** The first place where a machine did not do what was recorded. */
export interface Difference {
  readonly seq: number
  readonly atMs: number
  readonly service: string
  readonly recorded: unknown
  /** What the machine did instead; `null`: nothing. */
  readonly replayed: unknown
}

export interface Replay {
  readonly ok: boolean
  readonly lives: readonly ReplayedLife[]
  readonly difference: Difference | null
}

/** The events that reach a statechart from outside: a replay sends these, and the chart must do the rest again. */
const isTold = (event: { readonly type: string }) =>
  /^(?:lease\.(?:requested|cancelled|released)|process\..*|service\.stop|machine\.event)$/.test(event.type)

/** Events about a service that come from around its statechart. */
const AROUND: ReadonlySet<string> = new Set(['health.verdict', 'service.failed', 'service.retired'])

/** Drives the shipped machine with what a recording says came from outside. It must say and reach the same. */
export function replay({ events, isWhole }: Recording, machine = providerMachine): Replay {
  const lives: Life[] = []
  const current = new Map<string, Life>()
  let difference: Difference | null = null
  const differ = (event: SupervisorEvent & { service: string }, recorded: unknown, replayed: unknown) => {
    difference = { seq: event.seq, atMs: event.atMs, service: event.service, recorded, replayed }
  }
  for (const event of events) {
    if (difference !== null) break
    if (!('key' in event)) continue
    const { seq, atMs, time, service, key, ...body } = event
    if (body.type === 'service.added') {
      const life = createLife(machine, { service, key, instance: body.instance, policy: body.policy })
      lives.push(life)
      current.set(key, life)
      continue
    }
    const life = current.get(key)
    if (body.type === 'service.failed' || body.type === 'service.retired') {
      life?.stop()
      current.delete(key)
    }
    if (life === undefined || AROUND.has(body.type)) continue
    if (isTold(body)) {
      const problem = life.tell(atMs, body)
      if (problem !== undefined) differ(event, body, problem)
    } else if (!life.isOver() || life.heard().length > 0) {
      const [said] = life.heard()
      const isNew = !isKnownToSay(body.type) && said?.type !== body.type
      if (isNew) continue
      if (said === undefined || !isDeepStrictEqual(JSON.parse(JSON.stringify(said)), selectSaid(body)))
        differ(event, body, said ?? null)
      life.heard().shift()
    }
  }
  const last = events.at(-1)
  const left = [...current.values()].find((life) => life.heard().length > 0)
  if (difference === null && isWhole && left !== undefined && last !== undefined)
    difference = { ...last, service: left.service, recorded: null, replayed: left.heard()[0] }
  for (const life of lives) life.stop()
  return { ok: difference === null, lives, difference }
}

/** The part of a recorded event that the chart emitted: waiting times are added outside. */
function selectSaid(body: ServiceEventBody): ServiceEventBody {
  if (body.type !== 'lease.refused') return body
  const { retryAfterMs: _, ...said } = body
  return said
}

function isKnownToSay(type: string): boolean {
  return /^(?:service\.state|lease\.granted|lease\.refused|leases\.revoked|stop\.incomplete)$/.test(type)
}

/** A statechart that lives again. */
export interface Life extends ReplayedLife {
  /** What it has said and the recording has not confirmed yet. */
  heard(): Said[]
  isOver(): boolean
  /** When a delay ends, or the first of all that run; absent: none does. */
  dueMs(event?: AnyEventObject): number | undefined
  /** Tells it something; answers with what is wrong with that. */
  tell(atMs: number, event: ServiceEventBody): string | undefined
  stop(): void
}

type Birth = Pick<ReplayedLife, 'service' | 'key' | 'instance' | 'policy'>

/** Creates the statechart of a service once more, with effects that do nothing and a clock that is told what ends. */
export function createLife(machine: typeof providerMachine, birth: Birth): Life {
  const { key, instance, policy } = birth
  const clock = createReplayClock()
  const steps: (ReplayStep & { said: Said[] })[] = []
  const heard: Said[] = []
  const actor = createActor(silenceMachine(machine), { clock, input: { key, instance, policy } })
  clock.serve(actor)
  let state = toStateName(actor.getSnapshot().value)
  const say = (said: Said) => {
    heard.push(said)
    steps.at(-1)?.said.push(said)
  }
  actor.on('*', say)
  actor.subscribe({
    next: ({ value, context }) => {
      const to = toStateName(value)
      if (to === state) return
      say({ type: 'service.state', from: state, to, reason: toReason(to, context), why: context.why })
      state = to
    },
    error: () => {},
  })
  actor.start()

  return {
    ...birth,
    steps,
    heard: () => heard,
    dueMs: clock.dueMs,
    isOver: () => actor.getSnapshot().status !== 'active',
    tell: (atMs, told) => {
      const event: AnyEventObject = told.type === 'machine.event' ? told.event : told
      // The actor has ended and did not receive it. Neither does it receive processes of an earlier actor.
      if (actor.getSnapshot().status !== 'active' || isOfAnother(event, instance)) return undefined
      clock.moveTo(atMs)
      const step = { atMs, event, isDelay: false, said: [], state, why: null }
      steps.push(step)
      const problem = deliver(actor, clock, event, step)
      const { value, context } = actor.getSnapshot()
      Object.assign(step, { atMs: clock.now(), state: toStateName(value), why: context.why })
      return problem
    },
    stop: () => void actor.stop(),
  }
}

function deliver(
  actor: ActorRefFrom<typeof providerMachine>,
  clock: ReplayClock,
  event: AnyEventObject,
  step: { isDelay: boolean },
): string | undefined {
  const earlyMs = clock.fire(event)
  if (earlyMs !== undefined) {
    step.isDelay = true
    return earlyMs === 0 ? undefined : `this delay ends ${Math.round(earlyMs)} ms later`
  }
  if (event.type.startsWith('xstate.after.')) return 'no such delay is running'
  actor.send(event as never)
  return undefined
}

function isOfAnother(event: AnyEventObject, instance: string): boolean {
  const { type, generation } = event
  return (
    type.startsWith('process.') && typeof generation === 'string' && !generation.startsWith(`${instance}.`)
  )
}
