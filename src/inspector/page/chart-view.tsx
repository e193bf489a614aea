import { useEffect, useRef, useState } from 'preact/hooks'
import type { Chart, ChartArrow, ChartBox } from '../chart-layout.ts'
import type { Look } from './look.ts'

export interface ChartProps {
  readonly chart: Chart
  /** Dotted path of the state that is now. */
  readonly state: string
  readonly tone: Look
  /** The last change, and whether it is so fresh that it is flashed. */
  readonly change: {
    readonly from: string
    readonly to: string
    readonly heard: readonly string[]
    readonly isFresh: boolean
  } | null
  /** Its width in percent of the place it has. */
  readonly zoom?: number
}

const RADIUS = 7

/** The statechart itself: the current state filled, the way that was just taken drawn through. */
export function StateChart({ chart, state, tone, change, zoom = 100 }: ChartProps) {
  const [looked, look] = useState<string | null>(null)
  const box = useRef<HTMLElement>(null)
  // In a narrow window the picture scrolls: the state that is now stays in sight.
  useEffect(() => {
    const now = chart.boxes.find(({ path }) => path === state)
    const view = box.current
    if (now === undefined || view === null) return
    const scale = view.scrollWidth / chart.width
    view.scrollLeft = (now.x + now.width / 2) * scale - view.clientWidth / 2
  }, [chart, state, zoom])
  const way = change === null ? undefined : findWay(chart, change.from, change.to, change.heard)
  return (
    <section
      class={`chart whole scrolls ${zoom > 100 ? 'zoomed' : ''}`}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
      tabIndex={0}
      aria-label="All states"
      ref={box}
    >
      <svg
        viewBox={`0 0 ${chart.width} ${chart.height}`}
        style={{ width: `${zoom}%`, minWidth: `${(chart.width * zoom) / 100}px` }}
        role="img"
        aria-label={`Now in ${state}`}
      >
        <defs>
          {['plain', 'looked', 'taken'].map((kind) => (
            <marker
              key={kind}
              id={`head-${kind}`}
              class={`arrow-head ${kind}`}
              viewBox="0 0 8 8"
              refX="7"
              refY="4"
              markerWidth="7"
              markerHeight="7"
              orient="auto-start-reverse"
            >
              <path d="M0 1 L7 4 L0 7 z" />
            </marker>
          ))}
        </defs>
        {chart.boxes.map((box) => (
          <State
            key={box.path}
            box={box}
            tone={tone}
            isNow={state === box.path}
            isAround={state.startsWith(`${box.path}.`)}
            onLook={look}
          />
        ))}
        {chart.arrows.map((arrow) => {
          const isTaken = way?.arrows.includes(arrow) === true
          const isLooked = looked !== null && (arrow.from === looked || looked.startsWith(`${arrow.from}.`))
          return (
            <Arrow
              key={`${arrow.from} ${arrow.to}`}
              arrow={arrow}
              kind={isTaken ? 'taken' : isLooked ? 'looked' : 'plain'}
              isFresh={isTaken && change?.isFresh === true}
              event={arrow === way?.arrows[0] ? way.event : null}
            />
          )
        })}
      </svg>
    </section>
  )
}

interface StateProps {
  readonly box: ChartBox
  readonly tone: Look
  readonly isNow: boolean
  readonly isAround: boolean
  onLook(path: string | null): void
}

function State({ box, tone, isNow, isAround, onLook }: StateProps) {
  const { path, name, isFinal, isOpen, x, y, width, height } = box
  const kind = [
    isOpen ? 'open' : 'leaf',
    isNow ? `now ${tone}` : isAround ? `around ${tone}` : '',
    isFinal ? 'final' : '',
  ]
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: pointing at a state only lights its arrows up; the list beside the picture says the same
    <g
      class={`state ${kind.join(' ')}`}
      data-state={path}
      onMouseEnter={() => onLook(path)}
      onMouseLeave={() => onLook(null)}
    >
      <rect x={x} y={y} width={width} height={height} rx={isOpen ? 10 : 7} />
      <text
        x={isOpen ? x + 12 : x + width / 2}
        y={isOpen ? y + 19 : y + height / 2 + 4.5}
        text-anchor={isOpen ? 'start' : 'middle'}
      >
        {name}
      </text>
    </g>
  )
}

interface ArrowProps {
  readonly arrow: ChartArrow
  readonly kind: 'plain' | 'looked' | 'taken'
  readonly isFresh: boolean
  readonly event: string | null
}

function Arrow({ arrow, kind, isFresh, event }: ArrowProps) {
  const events = [...new Set(arrow.transitions.map((one) => one.event))]
  const [first = ''] = events
  const label = event ?? (events.length > 1 ? `${first} +${events.length - 1}` : first)
  const isNamed = arrow.isMain || kind !== 'plain'
  return (
    <g
      class={`arrow ${kind} ${arrow.isMain ? 'main' : 'side'} ${isFresh ? 'fresh' : ''}`}
      data-arrow={`${arrow.from} ${arrow.to}`}
    >
      <title>{arrow.transitions.map(formatTransition).join('\n')}</title>
      <path class="hit" d={drawPath(arrow.points)} />
      <path class="line" d={drawPath(arrow.points)} marker-end={`url(#head-${kind})`} />
      {isNamed && (
        <text x={arrow.at[0]} y={arrow.at[1] + 3} text-anchor={arrow.anchor}>
          {label}
        </text>
      )}
    </g>
  )
}

/** The way that a change of state took through the picture, and the event that it was taken for. */
export interface Way {
  readonly arrows: readonly ChartArrow[]
  readonly event: string | null
}

/**
 * Finds the way of a change: on the level where the two paths part, directly or through one state that was left at
 * once. `heard`: what was heard just before, the newest first, which decides between ways; a way of one event needs no
 * hearing.
 */
export function findWay(chart: Chart, from: string, to: string, heard: readonly string[]): Way {
  const direct = findArrow(chart, from, to)
  const ways = [...(direct === undefined ? [] : [[direct]]), ...findDetours(chart, from, to)]
  const eventsOf = ([first]: readonly ChartArrow[]) => listEvents(first, from)
  for (const event of heard) {
    const arrows = ways.find((way) => eventsOf(way).includes(event))
    if (arrows !== undefined) return { arrows, event }
  }
  const [arrows = []] = ways
  const events = eventsOf(arrows)
  return { arrows, event: events.length === 1 ? (events[0] ?? null) : null }
}

/** Ways of two arrows, the second of which needs no event. */
function findDetours(chart: Chart, from: string, to: string): (readonly ChartArrow[])[] {
  return chart.boxes.flatMap(({ path }) => {
    const [first, second] = [findArrow(chart, from, path), findArrow(chart, path, to)]
    const isAlways = second?.transitions.some(({ event, from: left }) => event === 'always' && left === path)
    return first !== undefined && second !== undefined && isAlways ? [[first, second]] : []
  })
}

/** Events of an arrow that can have been heard in a state. */
function listEvents(arrow: ChartArrow | undefined, from: string): readonly string[] {
  const transitions = arrow?.transitions ?? []
  const fits = transitions.filter((one) => isInside(from, one.from) || isInside(one.from, from))
  return [...new Set(fits.map(({ event }) => event))]
}

function findArrow({ arrows }: Chart, from: string, to: string): ChartArrow | undefined {
  const fits = arrows.filter((arrow) => isInside(from, arrow.from) && isInside(to, arrow.to))
  return fits.toSorted((a, b) => b.from.length - a.from.length)[0]
}

function isInside(path: string, end: string): boolean {
  return path === end || path.startsWith(`${end}.`)
}

function formatTransition({ event, from, to, guard }: ChartArrow['transitions'][number]): string {
  return `${event}${guard === undefined ? '' : ` [${guard}]`}: ${from} → ${to}`
}

/** A line with round corners. */
function drawPath(points: ChartArrow['points']): string {
  const [start, ...rest] = points
  if (start === undefined) return ''
  return rest.reduce((path, [x, y], index) => {
    const next = rest[index + 1]
    if (next === undefined) return `${path} L${x} ${y}`
    const before = rest[index - 1] ?? start
    const radius = Math.min(RADIUS, distance(before, [x, y]) / 2, distance([x, y], next) / 2)
    const [ax, ay] = towards([x, y], before, radius)
    const [bx, by] = towards([x, y], next, radius)
    return `${path} L${ax} ${ay} Q${x} ${y} ${bx} ${by}`
  }, `M${start[0]} ${start[1]}`)
}

type Point = readonly [number, number]

function distance([ax, ay]: Point, [bx, by]: Point): number {
  return Math.hypot(ax - bx, ay - by)
}

function towards(from: Point, to: Point, length: number): Point {
  const whole = distance(from, to) || 1
  return [from[0] + ((to[0] - from[0]) * length) / whole, from[1] + ((to[1] - from[1]) * length) / whole]
}
