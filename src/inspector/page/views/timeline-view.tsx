import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { hasTag } from '../../../../machines/provider/tags.ts'
import type { App } from '../app.ts'
import { formatClock, listNames } from '../display-text.ts'
import { Screen, type ViewProps } from '../frame/view-frame.tsx'
import { findGroup, findLook, groups, type Look } from '../look.ts'
import { formatRoute } from '../route.ts'
import { Diamond, Glyph } from '../shapes.tsx'
import { Still } from '../still.ts'
import {
  extendTimeline,
  findHeld,
  type Lane,
  listFailures,
  listSpans,
  listTicks,
  mergeSpans,
  type Span,
  type SpanLook,
  spanLooks,
  type TimelineData,
} from '../timeline-lanes.ts'
import { formatAmount, formatName } from './overview-budgets.tsx'

/** Time between two pictures, in milliseconds. */
const PICTURE_MS = 1_000
/** A gap that is not seen, in pixels. */
const UNSEEN_PX = 1.5
/** From here on lanes are low, and sorted by what goes on. */
const MANY = 12
/** Decisions that are listed below the picture. */
const MAX_LISTED = 30

const legend: readonly (readonly [SpanLook, string])[] = [
  ['use', 'in use'],
  ['idle', 'ready'],
  ['asleep', 'asleep'],
  ['loading', 'loads'],
  ['waiting', 'waits for its turn'],
  ['stopping', 'stops'],
]

/** The last minutes of every service, one below the other, with what was decided. */
export function Timeline(view: ViewProps) {
  const { app, atMs } = view
  const picture = usePicture(app)
  return (
    <Screen view={view} title="Timeline" tools={<span class="soft hide-s">Click to go to a moment</span>}>
      <svg class="vh" aria-hidden="true">
        <Hatch />
      </svg>
      <ul class="key">
        {legend.map(([look, word]) => (
          <li key={look} class={look}>
            <svg class="lane-key" width="18" height="12" aria-hidden="true">
              <Area look={look} d={box(1, 1, 16, 10)} />
            </svg>
            {word}
          </li>
        ))}
        <li class="failed">
          <Glyph look="failed" />
          failed
        </li>
        <li>
          <Diamond />
          made room
        </li>
      </ul>
      <Gantt view={view} picture={picture} />
      <Decisions app={app} data={picture.data} atMs={atMs} />
    </Screen>
  )
}

interface Picture {
  readonly data: TimelineData
  readonly fromMs: number
  readonly toMs: number
}

/** What is drawn, a new one at most once in a second: a moment that is held only moves a line. */
function usePicture(app: App): Picture {
  const { recording, history } = app.state
  const told = history.past
  useEffect(() => void app.lookBack(), [])
  const drawn = useRef<{ key: string; picture: Picture } | null>(null)
  const [fromMs, toMs] = app.span()
  const second = recording === null ? Math.floor(toMs / PICTURE_MS) : 0
  const { moments } = history
  const key = `${recording} ${second} ${recording === null ? told?.atMs : moments.length}`
  if (drawn.current?.key !== key) {
    let first = recording === null ? moments.length : 0
    while (first > 0 && (moments[first - 1]?.event.atMs ?? 0) > (told?.atMs ?? Number.NEGATIVE_INFINITY))
      first -= 1
    const data = extendTimeline(
      told,
      moments.slice(first).map(({ event }) => event),
    )
    drawn.current = { key, picture: { data, fromMs, toMs } }
  }
  return drawn.current.picture
}

function Gantt({ view, picture }: { readonly view: ViewProps; readonly picture: Picture }) {
  const { app, model, atMs } = view
  const { data, fromMs, toMs } = picture
  const { element, width } = useWidth()
  const { history, recording, status } = app.state
  const isHeld = history.cursor !== null || recording !== null
  const share = (ms: number) => ((ms - fromMs) / (toMs - fromMs)) * 100
  const decisions = data.decisions.filter((one) => one.atMs >= fromMs)
  const known = data.lanes.filter(({ changes }) => changes.some(([, state]) => !hasTag(state, 'retired')))
  const lanes = known
    .map((lane) => {
      const service = model.services[lane.key]
      const look: Look = service === undefined ? 'down' : findLook(service)
      return { ...lane, look, isThere: service !== undefined }
    })
    .filter(({ isThere, changes }) => isThere || (changes.at(-1)?.[0] ?? 0) >= fromMs)
  const isMany = lanes.length > MANY
  const rank = ({ look }: { readonly look: Look }) => (isMany ? groups.indexOf(findGroup(look)) : 0)
  const budgets = Object.keys(data.room.at(-1)?.held ?? {})
  const capacityOf = (name: string) => status?.budgets?.find((one) => one.name === name)?.capacity ?? 0
  return (
    <section class="card" aria-label="The last minutes">
      <div class={`gantt ${isMany ? 'many' : ''}`}>
        <div class="over" aria-hidden="true">
          {decisions.map((one) => (
            <div key={one.atMs} class="dl" style={{ left: `${share(one.atMs)}%` }} />
          ))}
        </div>
        <div class={`marks ${decisions.length > 0 ? 'named' : ''}`}>
          <span />
          <div class="trk" ref={element}>
            {placeLabels(decisions, (ms) => (share(ms) / 100) * width, width).map(({ text, left, row }) => (
              <span
                key={`${left} ${row}`}
                class={`ml soft ${row === 0 ? 'low' : ''}`}
                style={{ left: `${left}px` }}
                aria-hidden="true"
              >
                {text}
              </span>
            ))}
            {decisions.map((one) => (
              <Mark key={`${one.atMs} ${one.key}`} app={app} decision={one} left={share(one.atMs)} />
            ))}
          </div>
        </div>
        {lanes
          .toSorted((a, b) => rank(a) - rank(b))
          .map((lane) => (
            <LaneRow
              key={lane.key}
              id={lane.key}
              isAt={app.state.row === lane.key}
              name={lane.service}
              look={lane.look}
              {...drawLane(lane, fromMs, toMs, width, isMany ? 12 : 16)}
              label={describeLane(app, lane, fromMs, toMs)}
              width={width}
            />
          ))}
        {lanes.length === 0 && <p class="none">Nothing has happened yet.</p>}
        {budgets.map((name) => (
          <Room
            key={name}
            name={name}
            capacity={capacityOf(name)}
            held={findHeld(data.room, name, atMs)}
            path={drawRoom(data, name, capacityOf(name), fromMs, toMs)}
          />
        ))}
        <Axis app={app} fromMs={fromMs} toMs={toMs} width={width} />
        <Scrub app={app} fromMs={fromMs} toMs={toMs} />
        <div class="over" aria-hidden="true">
          {isHeld && (
            <div
              class={`ch ${share(atMs) > 50 ? 'late' : ''}`}
              style={{ left: `${Math.max(0, Math.min(100, share(atMs)))}%` }}
            >
              <b>{formatClock(app.wallMs(atMs))}</b>
            </div>
          )}
        </div>
      </div>
    </section>
  )
}

/** The width of the tracks, in pixels. */
function useWidth() {
  const element = useRef<HTMLDivElement>(null)
  const [width, measure] = useState(1_000)
  useLayoutEffect(() => {
    const track = element.current
    if (track === null) return
    const observer = new ResizeObserver(() => measure(Math.max(1, Math.round(track.clientWidth))))
    observer.observe(track)
    return () => observer.disconnect()
  }, [])
  return { element, width }
}

function Mark({
  app,
  decision: { atMs, service, taken },
  left,
}: {
  readonly app: App
  readonly decision: TimelineData['decisions'][number]
  readonly left: number
}) {
  const text = describeDecision(taken, service)
  return (
    <button
      type="button"
      class="mk"
      style={{ left: `${left}%` }}
      title={text}
      aria-label={`${formatClock(app.wallMs(atMs))}: ${text}`}
      onClick={() => app.holdTime(atMs)}
    >
      <Diamond />
    </button>
  )
}

/** The rows of labels, and the width of a letter and of the gap between two of them, in pixels. */
const LABEL_ROWS = 2
const LETTER_PX = 6.7
const LABEL_GAP_PX = 12

/** A mark has its words beside it where there is room: the newest first, in two rows. */
export function placeLabels(
  decisions: TimelineData['decisions'],
  pxOf: (atMs: number) => number,
  width: number,
): readonly { readonly text: string; readonly left: number; readonly row: number }[] {
  const ends = new Array<number>(LABEL_ROWS).fill(width + LABEL_GAP_PX)
  return decisions.toReversed().flatMap(({ atMs, taken, service }) => {
    const text = describeDecision(taken, service)
    const size = text.length * LETTER_PX
    const left = Math.max(0, Math.min(width - size, pxOf(atMs) - size / 2))
    const row = ends.findIndex((end) => left + size + LABEL_GAP_PX <= end)
    if (row === -1 || size > width) return []
    ends[row] = left
    return [{ text, left: Math.round(left), row }]
  })
}

function describeDecision(taken: readonly { readonly service: string }[], service: string): string {
  return `${listNames(taken.map((one) => one.service))} made room for ${service}`
}

/** What a lane shows, as plain values: a lane whose values are the same is not drawn again. */
interface LaneFacts {
  readonly id: string
  readonly isAt: boolean
  readonly name: string
  readonly look: Look
  /** One path for each look, in the order of `spanLooks`. */
  readonly paths: string
  /** Where it failed, in pixels. */
  readonly failures: string
  readonly label: string
  readonly width: number
}

class LaneRow extends Still<LaneFacts> {
  override render({ id, name, look, paths, failures, label, width, isAt }: LaneFacts) {
    return (
      <div class={`lane ${isAt ? 'at' : ''}`} data-lane={name} data-row={id}>
        <a class="cut" href={formatRoute('service', name)} title={name}>
          <Glyph look={look} label />
          <span class="cut">{name}</span>
        </a>
        <svg class="trk" viewBox={`0 0 ${width} 16`} preserveAspectRatio="none" role="img" aria-label={label}>
          {paths.split('|').map((d, index) => {
            const kind = spanLooks[index]
            return d === '' || kind === undefined ? null : <Area key={kind} look={kind} d={d} />
          })}
          {failures !== '' && <path class="fails" d={failures} />}
        </svg>
      </div>
    )
  }
}

/** What waits is hatched and what loads is full, as in the bars of requests: colour alone does not tell them apart. */
function Area({ look, d }: { readonly look: SpanLook; readonly d: string }) {
  return (
    <>
      <path class={`area ${look}`} d={d} />
      {look === 'waiting' && <path d={d} fill="url(#hatch-waiting)" />}
    </>
  )
}

function Hatch() {
  return (
    <pattern
      id="hatch-waiting"
      width="6"
      height="6"
      patternUnits="userSpaceOnUse"
      patternTransform="rotate(45)"
    >
      <path class="line waiting" d="M0 0v6" />
    </pattern>
  )
}

function drawLane(
  { changes }: Lane,
  fromMs: number,
  toMs: number,
  width: number,
  height: number,
): Pick<LaneFacts, 'paths' | 'failures'> {
  const pxOf = (ms: number) => ((ms - fromMs) / (toMs - fromMs)) * width
  const all = listSpans(changes, fromMs, toMs)
  const gapMs = (UNSEEN_PX / width) * (toMs - fromMs)
  const paths = spanLooks.map((look) =>
    mergeSpans(
      all.filter((span) => span.look === look),
      gapMs,
    )
      .map((span) => drawSpan(span, pxOf, height))
      .join(''),
  )
  const failures = listFailures(changes, fromMs, toMs)
    .map((ms) => pxOf(ms).toFixed(1))
    .filter((px, index, list) => list.indexOf(px) === index)
    .slice(-MAX_FAILURES)
    .map((px) => `M${px} 8m-3.5 -3.5l7 7m-7 0l7 -7`)
    .join('')
  return { paths: paths.join('|'), failures }
}

const MAX_FAILURES = 60
/** Looks that are drawn low. */
const LOW: Partial<Record<SpanLook, number>> = { stopping: 6, asleep: 6, backoff: 4 }

function drawSpan({ look, fromMs, toMs }: Span, pxOf: (ms: number) => number, height: number): string {
  const x = pxOf(fromMs)
  const tall = LOW[look] ?? height
  return box(x, (16 - tall) / 2, Math.max(look === 'use' ? 1.5 : 2, pxOf(toMs) - x), tall)
}

function box(x: number, y: number, width: number, height: number): string {
  return `M${x.toFixed(1)} ${y}h${width.toFixed(1)}v${height}h-${width.toFixed(1)}z`
}

const lookPhrases: Readonly<Record<SpanLook, string>> = {
  idle: 'ready',
  asleep: 'asleep',
  use: 'in use',
  loading: 'loading',
  waiting: 'waiting',
  stopping: 'stopping',
  tripped: 'keeps failing',
  backoff: 'failed',
}

/** The last parts of a lane in words. */
function describeLane(app: App, { changes, service }: Lane, fromMs: number, toMs: number): string {
  const spans = listSpans(changes, fromMs, toMs).filter(({ look }) => look !== 'idle')
  const clock = (ms: number) => formatClock(app.wallMs(ms))
  const words = mergeSpans(spans, 4_000)
    .toSorted((a, b) => a.fromMs - b.fromMs)
    .slice(-6)
    .map(({ look, fromMs: from, toMs: to }) =>
      to >= toMs
        ? `${lookPhrases[look]} since ${clock(from)}`
        : `${lookPhrases[look]} ${clock(from)} to ${clock(to)}`,
    )
  const now = spans.some((span) => span.toMs >= toMs)
    ? []
    : [changes.at(-1)?.[1] === 'ready' ? 'ready now' : 'down now']
  return `${service}: ${[...words, ...now].join('; ')}`
}

interface RoomProps {
  readonly name: string
  readonly capacity: number
  readonly held: number
  readonly path: string
}

/** How much of a budget was held, as steps. */
function Room({ name, capacity, held, path }: RoomProps) {
  const label = formatName(name)
  const text = `${formatAmount(name, held)} of ${formatAmount(name, capacity)}`
  return (
    <div class="lane room">
      <span class="rl">
        <b>{label}</b> <small>{text}</small>
      </span>
      <svg
        class="trk"
        viewBox="0 0 1000 42"
        preserveAspectRatio="none"
        role="img"
        aria-label={`${label}: ${text} held`}
      >
        <path class="full" d="M0 4H1000" vector-effect="non-scaling-stroke" />
        <path class="held" d={`${path}V40H0z`} />
        <path class="edge" d={path} vector-effect="non-scaling-stroke" />
      </svg>
    </div>
  )
}

function drawRoom(
  { room }: TimelineData,
  name: string,
  capacity: number,
  fromMs: number,
  toMs: number,
): string {
  const most = Math.max(capacity, ...room.map(({ held }) => held[name] ?? 0), 1)
  const y = (amount: number) => (40 - (amount / most) * 36).toFixed(1)
  const x = (ms: number) => (((ms - fromMs) / (toMs - fromMs)) * 1_000).toFixed(1)
  const steps = room
    .filter(({ atMs }) => atMs > fromMs)
    .map(({ atMs, held }) => `H${x(atMs)}V${y(held[name] ?? 0)}`)
  return `M0 ${y(findHeld(room, name, fromMs))}${steps.join('')}H1000`
}

function Axis({
  app,
  fromMs,
  toMs,
  width,
}: {
  readonly app: App
  readonly fromMs: number
  readonly toMs: number
  readonly width: number
}) {
  const [from, to] = [app.wallMs(fromMs), app.wallMs(toMs)]
  const isLong = to - from > 120_000
  return (
    <div class="axis" aria-hidden="true">
      <span />
      <div class="trk">
        {listTicks(from, to, Math.max(2, width / 130)).map((tick) => {
          const left = ((tick - from) / (to - from)) * 100
          if (left < 2 || left > 94) return null
          const text = formatClock(tick)
          return (
            <span key={tick} style={{ left: `${left}%` }}>
              {isLong ? text.slice(0, 5) : text}
            </span>
          )
        })}
        <span style={{ left: '100%' }}>{app.state.recording === null ? 'now' : formatClock(to)}</span>
      </div>
    </div>
  )
}

/** A pointer goes to a moment here; the bar at the bottom does the same for keys. */
function Scrub({ app, fromMs, toMs }: { readonly app: App; readonly fromMs: number; readonly toMs: number }) {
  const isDown = useRef(false)
  const seek = ({ currentTarget, clientX }: PointerEvent) => {
    const { left, width } = (currentTarget as HTMLElement).getBoundingClientRect()
    const share = Math.max(0, Math.min(1, (clientX - left) / Math.max(1, width)))
    app.seekTime(fromMs + share * (toMs - fromMs))
  }
  return (
    <div
      class="scrubarea"
      onPointerDown={(event) => {
        isDown.current = true
        event.currentTarget.setPointerCapture(event.pointerId)
        seek(event)
      }}
      onPointerMove={(event) => isDown.current && seek(event)}
      onPointerUp={() => {
        isDown.current = false
      }}
      onPointerCancel={() => {
        isDown.current = false
      }}
    />
  )
}

function Decisions({
  app,
  data,
  atMs,
}: {
  readonly app: App
  readonly data: TimelineData
  readonly atMs: number
}) {
  const [from] = app.span()
  const decisions = data.decisions.filter((one) => one.atMs >= from && one.atMs <= Math.max(atMs, from))
  return (
    <section class="card" aria-label="What was decided">
      <header>
        <h2>What was decided</h2>
        {decisions.length > 0 && <small>{decisions.length}</small>}
      </header>
      {decisions.length === 0 ? (
        <p class="none">No service had to make room for another one.</p>
      ) : (
        <ol class="decs">
          {decisions
            .slice(-MAX_LISTED)
            .toReversed()
            .map((one) => {
              const clock = formatClock(app.wallMs(one.atMs))
              return (
                <li key={`${one.atMs} ${one.key}`}>
                  <time>{clock}</time>
                  <Diamond />
                  <div>
                    <b>{describeDecision(one.taken, one.service)}</b>
                    <p>{one.text}</p>
                  </div>
                  <button
                    type="button"
                    class="btn"
                    aria-label={`Go there, ${clock}`}
                    onClick={() => app.holdTime(one.atMs)}
                  >
                    Go there
                  </button>
                </li>
              )
            })}
        </ol>
      )}
    </section>
  )
}
