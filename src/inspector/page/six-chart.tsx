import { charts } from 'leasehold:charts'
import { useState } from 'preact/hooks'
import type { Chart } from '../chart-layout.ts'
import { findWay } from './chart-view.tsx'
import type { Look } from './look.ts'
import type { ChangeView } from './model.ts'

const chart: Chart = charts.provider

interface SixState {
  readonly id: string
  readonly name: string
  readonly detail: string
  readonly x: number
  readonly y: number
}

/** The six states of a life. A test compares them, and the ways between them, with the machine. */
export const sixStates: readonly SixState[] = [
  { id: 'down', name: 'Down', detail: 'nothing runs', x: 8, y: 44 },
  { id: 'probing', name: 'Looking', detail: 'is one running?', x: 170, y: 44 },
  { id: 'starting', name: 'Starting', detail: 'room, then load', x: 344, y: 44 },
  { id: 'ready', name: 'Ready', detail: 'not in use', x: 518, y: 44 },
  { id: 'leased', name: 'In use', detail: 'answers stream', x: 692, y: 44 },
  { id: 'idle-stopping', name: 'Stopping', detail: 'until it has ended', x: 518, y: 146 },
]

/** What a state of a life is made of. */
export const innerNames: Readonly<Record<string, string>> = {
  'down.cold': 'nothing runs',
  'down.backoff': 'waits to retry',
  'down.tripped': 'refuses requests',
  'starting.claiming': 'waits for its turn',
  'starting.spawning': 'starts the process',
  'starting.warming': 'loads the model',
  'leased.open': 'answers stream',
  'leased.draining': 'finishes, then stops',
  'idle-stopping.terminating': 'asked to end',
  'idle-stopping.killing': 'killed',
  'idle-stopping.sweeping': 'its rest is ended',
}

interface SixWay {
  readonly from: string
  readonly to: string
  readonly line: string
  readonly head: string
  readonly at: readonly [number, number]
  readonly label: string
  readonly isStart?: boolean
}

/** The ways that a life usually takes. */
export const sixWays: readonly SixWay[] = [
  {
    from: 'down',
    to: 'probing',
    line: 'M112 66H166',
    head: 'M170 66l-7-3.6v7.2z',
    at: [140, 59],
    label: 'request',
  },
  {
    from: 'probing',
    to: 'starting',
    line: 'M274 66H340',
    head: 'M344 66l-7-3.6v7.2z',
    at: [308, 59],
    label: 'none runs',
  },
  {
    from: 'starting',
    to: 'ready',
    line: 'M448 66H514',
    head: 'M518 66l-7-3.6v7.2z',
    at: [482, 59],
    label: 'healthy',
  },
  {
    from: 'probing',
    to: 'ready',
    line: 'M222 44V24Q222 16 230 16H562Q570 16 570 24V40',
    head: 'M570 44l-3.6-7h7.2z',
    at: [396, 11],
    label: 'one runs already',
  },
  {
    from: 'ready',
    to: 'leased',
    line: 'M622 57H688',
    head: 'M692 57l-7-3.6v7.2z',
    at: [656, 50],
    label: 'request',
  },
  {
    from: 'leased',
    to: 'ready',
    line: 'M692 76H626',
    head: 'M622 76l7-3.6v7.2z',
    at: [658, 91],
    label: 'answered',
  },
  {
    from: 'ready',
    to: 'idle-stopping',
    line: 'M570 88V142',
    head: 'M570 146l-3.6-7h7.2z',
    at: [580, 119],
    label: 'idle, or room is needed',
    isStart: true,
  },
  {
    from: 'leased',
    to: 'idle-stopping',
    line: 'M744 88V160Q744 168 736 168H626',
    head: 'M622 168l7-3.6v7.2z',
    at: [686, 184],
    label: 'drained',
  },
  {
    from: 'idle-stopping',
    to: 'down',
    line: 'M518 168H44Q36 168 36 160V92',
    head: 'M36 88l-3.6 7h7.2z',
    at: [276, 184],
    label: 'has ended',
  },
  {
    from: 'starting',
    to: 'down',
    line: 'M396 88V120Q396 128 388 128H88Q80 128 80 120V92',
    head: 'M80 88l-3.6 7h7.2z',
    at: [238, 122],
    label: 'failed',
  },
]

interface SixChartProps {
  readonly name: string
  readonly state: string
  readonly look: Look
  /** The newest first. */
  readonly changes: readonly ChangeView[]
  /** What was heard just before a change, the newest first. */
  listHeard(change: ChangeView): readonly string[]
}

/** The life of a service in six states: which it is in, and how it came there. What is inside one is shown on demand. */
export function SixChart({ name, state, look, changes, listHeard }: SixChartProps) {
  const [opened, open] = useState<string | null>(null)
  const now = topOf(state)
  const ways = listWays(changes, listHeard)
  const last = ways[0]
  const rank = ({ from, to }: SixWay) => {
    const at = ways.indexOf(`${from} ${to}`)
    return at === 0 ? 'last' : at > 0 && at < 4 ? 'was' : ''
  }
  const nameOf = (id: string | undefined) => sixStates.find((one) => one.id === id)?.name ?? id
  const [from, to] = last?.split(' ') ?? []
  const lastWay =
    last === undefined
      ? 'It has not changed since this page looks.'
      : `Last way: ${nameOf(from)} to ${nameOf(to)}${labelOf(last)}.`
  const inner = chart.boxes.filter(({ path }) => path.startsWith(`${opened}.`))
  return (
    <div class={`six ${look}`} data-now={state} data-last={last}>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <div class="chart six-picture" tabIndex={0} role="group" aria-label={`Statechart of ${name}`}>
        <svg viewBox="0 0 804 196" role="group" aria-label={`Now: ${nameOf(now)}. ${lastWay}`}>
          {[...sixWays]
            .sort((a, b) => rank(a).length - rank(b).length)
            .map((way) => (
              <g key={`${way.from} ${way.to}`} class={`way ${rank(way)}`} data-way={`${way.from} ${way.to}`}>
                <path d={way.line} />
                <path class="tip" d={way.head} />
                <text x={way.at[0]} y={way.at[1]} text-anchor={way.isStart ? 'start' : 'middle'}>
                  {way.label}
                </text>
              </g>
            ))}
          {sixStates.map(({ id, name: title, detail, x, y }) => {
            const hasInner = chart.boxes.some(({ path }) => path.startsWith(`${id}.`))
            const isNow = id === now
            const flip = () => open(opened === id ? null : id)
            return (
              <g
                key={id}
                class={`six-state ${isNow ? 'now' : ''}`}
                {...(hasInner
                  ? {
                      role: 'button',
                      tabIndex: 0,
                      'aria-expanded': opened === id,
                      onClick: flip,
                      onKeyDown: (event: KeyboardEvent) => {
                        if (event.key !== 'Enter' && event.key !== ' ') return
                        event.preventDefault()
                        event.stopPropagation()
                        flip()
                      },
                    }
                  : { role: 'img' })}
                aria-label={`${title}${isNow ? ', now' : ''}`}
              >
                <rect x={x} y={y} width="104" height="44" rx="7" />
                <text x={x + 52} y={y + 19} text-anchor="middle">
                  {title}
                </text>
                <text class="detail" x={x + 52} y={y + 34} text-anchor="middle">
                  {isNow ? (innerNames[state] ?? detail) : detail}
                </text>
              </g>
            )
          })}
        </svg>
      </div>
      <ol class="steps" aria-label="States">
        {sixStates.map(({ id, name: title }) => (
          <li key={id} class={id === now ? 'now' : ''} aria-current={id === now ? 'step' : undefined}>
            {title}
          </li>
        ))}
      </ol>
      <p class="last-way">{lastWay}</p>
      {opened !== null && (
        <div class="inner">
          <b>{`Inside ${nameOf(opened)}`}</b>
          <ol>
            {inner.map(({ path }) => (
              <li key={path} class={path === state ? 'now' : ''} title={path}>
                {innerNames[path] ?? path}
              </li>
            ))}
          </ol>
        </div>
      )}
    </div>
  )
}

function topOf(state: string): string {
  return state.split('.')[0] ?? state
}

function labelOf(way: string): string {
  const label = sixWays.find(({ from, to }) => `${from} ${to}` === way)?.label
  return label === undefined ? '' : ` (${label})`
}

/** The last ways between the six, the newest first. A state that is left at once is gone through. */
function listWays(changes: readonly ChangeView[], listHeard: SixChartProps['listHeard']): readonly string[] {
  return changes.slice(0, 6).flatMap((change) =>
    findWay(chart, change.from, change.to, listHeard(change))
      .arrows.map((arrow) => `${topOf(arrow.from)} ${topOf(arrow.to)}`)
      .filter((way) => new Set(way.split(' ')).size === 2)
      .toReversed(),
  )
}
