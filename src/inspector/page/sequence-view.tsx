import { useLayoutEffect, useRef } from 'preact/hooks'
import type { SequenceRow } from './sequence.ts'

const COLUMN = 128
const ROW = 24
/** Rows that are drawn, the newest. */
const MAX_DRAWN = 60

export interface SequenceViewProps {
  readonly rows: readonly SequenceRow[]
  /** The service whose messages are shown, by the key that its actor is named by, and what people call it. */
  readonly service: { readonly key: string; readonly name: string }
}

/** What a service was told and what it said, the newest below. The same message again is counted, not repeated. */
export function SequenceView({ rows, service: { key, name } }: SequenceViewProps) {
  const box = useRef<HTMLDivElement>(null)
  const shown = fold(rows.filter(({ from, to }) => from === key || to === key)).slice(-MAX_DRAWN)
  const last = shown.at(-1)?.id
  useLayoutEffect(() => {
    if (box.current !== null) box.current.scrollTop = box.current.scrollHeight
  }, [last, key])
  if (shown.length === 0) return <p class="none">Nothing was said yet.</p>
  const names = [...new Set(shown.flatMap(({ from, to }) => [from, to]))].toSorted(
    (a, b) => rank(a) - rank(b),
  )
  const xOf = (one: string) => COLUMN / 2 + names.indexOf(one) * COLUMN
  const [width, height] = [names.length * COLUMN, shown.length * ROW + 12]
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <div class="sequence" tabIndex={0} ref={box}>
      <div class="lives" style={{ width: `${width}px` }}>
        {names.map((one) => (
          <span key={one} style={{ width: `${COLUMN}px` }}>
            {one === key ? name : one}
          </span>
        ))}
      </div>
      <svg width={width} height={height} role="img" aria-label="Messages">
        {names.map((one) => (
          <line key={one} class="life" x1={xOf(one)} x2={xOf(one)} y1={0} y2={height} />
        ))}
        {shown.map(({ id, from, to, text, count }, index) => {
          const y = index * ROW + 20
          const [a, b] = [xOf(from), xOf(to)]
          const isRight = b > a
          return (
            <g key={id} class="said">
              <path
                d={a === b ? `M${a} ${y - 6} h14 v8 h-10` : `M${a} ${y} L${b + (isRight ? -4 : 4)} ${y}`}
              />
              {a !== b && <path class="tip" d={`M${b} ${y} l${isRight ? -7 : 7} -3.5 v7 z`} />}
              <text x={a === b ? a + 20 : (a + b) / 2} y={y - 4} text-anchor={a === b ? 'start' : 'middle'}>
                {count > 1 ? `${text} × ${count}` : text}
              </text>
            </g>
          )
        })}
      </svg>
    </div>
  )
}

/** The same message, again and again, as one row with a count. */
function fold(rows: readonly SequenceRow[]): readonly (SequenceRow & { readonly count: number })[] {
  const folded: (SequenceRow & { count: number })[] = []
  for (const row of rows) {
    const last = folded.at(-1)
    if (last !== undefined && last.from === row.from && last.to === row.to && last.text === row.text)
      folded[folded.length - 1] = { ...last, count: last.count + 1 }
    else folded.push({ ...row, count: 1 })
  }
  return folded
}

const ORDER = ['outside', 'clock', 'transport', 'request', 'supervisor']
const LAST = ['process', 'health', 'probe', 'claim']

/** Who asks stands on the left, services in the middle, their effects on the right. */
function rank(name: string): number {
  if (ORDER.includes(name)) return ORDER.indexOf(name)
  return LAST.includes(name) ? 100 + LAST.indexOf(name) : 50
}
