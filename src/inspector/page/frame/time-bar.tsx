import { hasTag } from '../../../../machines/provider/tags.ts'
import type { Decision } from '../../../../machines/scheduler.ts'
import type { SupervisorEvent } from '../../../events/events.ts'
import type { App } from '../app.ts'
import { formatClock, formatSpan, listNames } from '../display-text.ts'
import { findLastChange } from '../history.ts'
import { findLook, lookWords } from '../look.ts'
import { Icon } from '../shapes.tsx'
import type { ViewProps } from './view-frame.tsx'

const BARS = 150

/** The moment that every view shows: held, gone through, and let go. */
export function TimeBar({ app, atMs }: ViewProps) {
  const { history, recording, isPlaying, connection } = app.state
  const { moments, cursor } = history
  const isLive = cursor === null && recording === null
  const isLost = connection !== 'open' && recording === null
  const [from, to] = app.span()
  const span = to - from
  const shown = Math.max(from, Math.min(to, atMs))
  const share = (ms: number) => `${(((ms - from) / span) * 100).toFixed(2)}%`
  const event = findLastChange(history, atMs)
  const word =
    recording !== null ? (isPlaying ? 'Pause' : 'Play') : !isLive ? 'Held' : isLost ? 'Lost' : 'Live'
  const ago = isLive ? 'now' : formatClock(app.wallMs(atMs))
  return (
    <section class="time" aria-label="Time" data-events={moments.length}>
      <div class="buttons">
        <button type="button" class="btn sq bare" onClick={() => app.step(-1)} aria-label="One change back">
          <Icon name="back" size={14} />
        </button>
        <button
          type="button"
          class={`live ${isLive ? '' : 'off'} ${isLive && isLost ? 'gone' : ''}`}
          onClick={() => app.pause()}
          aria-label={
            recording === null ? (isLive ? `${word}: hold this moment` : 'Held: go back to now') : word
          }
        >
          {word}
        </button>
        <button
          type="button"
          class="btn sq bare"
          onClick={() => app.step(1)}
          disabled={isLive}
          aria-label="One change on"
        >
          <Icon name="on" size={14} />
        </button>
      </div>
      <div class="strip">
        <svg viewBox={`0 0 ${BARS * 4} 34`} preserveAspectRatio="none" aria-hidden="true">
          <Bars app={app} from={from} to={to} until={isLive ? to : shown} />
        </svg>
        {listDecisions(app, from).map((decision) => (
          <span
            key={`${decision.atMs} ${decision.key}`}
            class="decided"
            style={{ left: share(decision.atMs) }}
          />
        ))}
        <span class="head-line" style={{ left: share(isLive ? to : shown) }} />
        <input
          type="range"
          min={0}
          max={Math.round(span)}
          step={Math.max(1, Math.round(span / 900))}
          value={Math.round(isLive ? span : shown - from)}
          aria-label="Moment"
          aria-valuetext={ago}
          onInput={({ currentTarget }) => app.seekTime(from + Number(currentTarget.value))}
        />
      </div>
      <p class="when cut">
        <b>{formatClock(app.wallMs(atMs))}</b>{' '}
        <span class="soft">
          {event === undefined
            ? 'nothing has happened yet'
            : `${describeEvent(event)}, ${formatSpan(Math.max(0, atMs - event.atMs))} ago`}
        </span>
      </p>
    </section>
  )
}

/** The last counts, drawn again once in a while: they change slowly, and there are many. */
let drawn: { readonly at: string; readonly counts: readonly number[] } | null = null

function Bars({ app, from, to, until }: { app: App; from: number; to: number; until: number }) {
  const { recording, pace, history } = app.state
  const at = `${recording} ${history.moments.length === 0} ${history.past === null} ${Math.floor(from / 6_000)}`
  const isNew = drawn?.at !== at
  if (isNew) drawn = { at, counts: countOpen(app, from, to) }
  const counts = [...(drawn?.counts ?? [])]
  const now = pace.looks.at(-1)?.open
  if (recording === null && now !== undefined) counts[BARS - 1] = now
  const most = Math.max(2, ...counts)
  const passed = ((until - from) / (to - from)) * BARS
  const path = (isAfter: boolean) =>
    counts
      .map((count, index) => {
        if (index > passed !== isAfter) return ''
        const height = count === 0 ? 1 : (count / most) * 22 + 4
        return `M${index * 4} 34v-${height.toFixed(1)}h3v${height.toFixed(1)}z`
      })
      .join('')
  return (
    <>
      <path class="bars" d={path(false)} />
      <path class="bars after" d={path(true)} />
    </>
  )
}

/** The most requests that were under way in each part of a span. */
function countOpen({ state }: App, from: number, to: number): readonly number[] {
  const counts = new Array<number>(BARS).fill(0)
  const barOf = (ms: number) => Math.floor(((ms - from) / (to - from)) * BARS)
  const note = (first: number, last: number, count: number) => {
    for (let bar = Math.max(0, first); bar <= Math.min(BARS - 1, last); bar += 1)
      counts[bar] = Math.max(counts[bar] ?? 0, count)
  }
  let since = from
  const open = new Set<string>()
  for (const { event } of state.history.moments) {
    if (event.type !== 'request.started' && event.type !== 'request.ended') continue
    note(barOf(since), barOf(event.atMs), open.size)
    if (event.type === 'request.started') open.add(event.requestId)
    else open.delete(event.requestId)
    since = event.atMs
  }
  // A service that was in use had a request at least: that is known of the time before the events.
  const used = new Array<number>(BARS).fill(0)
  for (const { changes } of state.history.past?.lanes ?? []) {
    let next = 0
    for (const [index, [atMs, to]] of changes.entries()) {
      if (!hasTag(to, 'busy')) continue
      const last = Math.min(BARS - 1, barOf(changes[index + 1]?.[0] ?? since))
      for (let bar = Math.max(next, barOf(atMs)); bar <= last; bar += 1) used[bar] = (used[bar] ?? 0) + 1
      next = Math.max(next, last + 1)
    }
  }
  for (const [bar, count] of used.entries()) counts[bar] = Math.max(counts[bar] ?? 0, count)
  // What a look told is exact; events are a sample of many requests.
  if (state.recording === null)
    for (const look of state.pace.looks) note(barOf(look.atMs), barOf(look.atMs), look.open)
  return counts
}

function listDecisions(
  { state }: App,
  from: number,
): readonly { readonly atMs: number; readonly key: string }[] {
  const { moments, past } = state.history
  const firstMs = moments[0]?.event.atMs ?? Number.POSITIVE_INFINITY
  const before = past?.decisions.filter(({ atMs }) => atMs >= from && atMs < firstMs) ?? []
  const told = moments.flatMap(({ event }) =>
    event.type === 'scheduler.decided' && event.choice.type === 'evict' && event.atMs >= from
      ? [{ atMs: event.atMs, key: `${event.choice.key} ${event.seq}` }]
      : [],
  )
  return [...before, ...told].slice(-60)
}

/** An event in a few words. */
export function describeEvent(event: SupervisorEvent): string {
  if (event.type === 'service.state') return `${event.service}: ${describeState(event.to)}`
  if (event.type === 'scheduler.decided') return describeDecision(event.choice)
  const words = event.type.replace('.', ' ')
  return 'service' in event ? `${event.service}: ${words}` : words
}

function describeState(state: string): string {
  if (hasTag(state, 'probing')) return 'looks for a running server'
  if (hasTag(state, 'claiming')) return 'waits for its turn'
  return lookWords[findLook({ key: '', state, decision: null, failure: null })].toLowerCase()
}

function describeDecision({ type, service, taken }: Decision['choice']): string {
  const names = listNames(taken.map((one) => one.service))
  if (type === 'evict') return `${names} ${taken.length === 1 ? 'makes' : 'make'} room for ${service}`
  return type === 'start' ? `${service} may start` : `${service} waits for room`
}
