import { charts } from 'leasehold:charts'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Chart } from '../chart-layout.ts'
import { findWay } from './chart-view.tsx'
import type { Look } from './look.ts'
import type { ChangeView } from './model.ts'
import { innerNames, type SixWay, sixStates, sixWays } from './six-states.ts'

const chart: Chart = charts.provider

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
  const box = useRef<HTMLDivElement>(null)
  // In a narrow window the picture scrolls: the current state stays in sight.
  useEffect(() => {
    const view = box.current
    const place = sixStates.find(({ id }) => id === now)
    if (view === null || place === undefined) return
    view.scrollLeft = (place.x / 804) * view.scrollWidth - view.clientWidth / 2
  }, [now])
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
      <div ref={box} class="chart six-picture" tabIndex={0} role="group" aria-label={`Statechart of ${name}`}>
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
            const shown = isNow ? (innerNames[state] ?? detail) : detail
            const flip = () => open(opened === id ? null : id)
            return (
              <g
                key={id}
                class={`six-state ${isNow ? 'now' : ''}`}
                {...(hasInner
                  ? {
                      role: 'button',
                      tabindex: 0,
                      'aria-expanded': opened === id,
                      onClick: flip,
                      onKeyDown: (event: KeyboardEvent) => {
                        if (event.key !== 'Enter' && event.key !== ' ') return
                        event.preventDefault()
                        event.stopPropagation()
                        flip()
                      },
                    }
                  : {})}
                aria-current={isNow ? 'step' : undefined}
              >
                <rect x={x} y={y} width="104" height="44" rx="7" />
                <text x={x + 52} y={y + 19} text-anchor="middle">
                  {title}
                </text>{' '}
                <text class="detail" x={x + 52} y={y + 34} text-anchor="middle">
                  {shown}
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
