import type { ComponentChildren } from 'preact'
import { type Look, lookWords } from './look.ts'

/** The path of each icon. */
const icons = {
  overview: 'M3 2.5h10a1 1 0 0 1 1 1v2a1 1 0 0 1-1 1H3a1 1 0 0 1-1-1v-2a1 1 0 0 1 1-1zM2 10h7M2 13.5h10',
  requests: 'M2.5 4h6M2.5 8h11M2.5 12h4M11 4h2.5M9 12h4.5',
  timeline: 'M2 3.5h5M5 8h7M9 12.5h5',
  try: 'M2.5 3.5h11v7.5H8l-3 2.5V11H2.5z',
  machines:
    'M6 4a2 2 0 1 1-4 0 2 2 0 0 1 4 0zM14 8a2 2 0 1 1-4 0 2 2 0 0 1 4 0zM6 12a2 2 0 1 1-4 0 2 2 0 0 1 4 0zM5.8 4.8 10 7M10 9l-4.2 2.4',
  host: 'M4.5 4.5h7v7h-7zM6.5 2v2.5m3 0V2M6.5 14v-2.5m3 0V14M2 6.5h2.5m0 3H2M14 6.5h-2.5m0 3H14',
  search: 'M11.2 7A4.2 4.2 0 1 1 2.8 7a4.2 4.2 0 0 1 8.4 0zM10.2 10.2l3.3 3.3',
  copy: 'M7 5.5h5A1.5 1.5 0 0 1 13.5 7v5a1.5 1.5 0 0 1-1.5 1.5H7A1.5 1.5 0 0 1 5.5 12V7A1.5 1.5 0 0 1 7 5.5zM10.5 5.5v-2a1 1 0 0 0-1-1h-6a1 1 0 0 0-1 1v6a1 1 0 0 0 1 1h2',
  close: 'm4 4 8 8M12 4l-8 8',
  theme: 'M13.5 8A5.5 5.5 0 1 1 2.5 8a5.5 5.5 0 0 1 11 0zM8 2.5v11M8 5.5l4.5-1.2M8 8.5h5.4M8 11.3l4 .6',
  help: 'M5.8 6a2.2 2.2 0 1 1 3.2 2c-.7.4-1 .8-1 1.5M8 12.2v.1',
  back: 'M10 3.5 5.5 8l4.5 4.5',
  on: 'M6 3.5 10.5 8 6 12.5',
  warn: 'M8 2.5 14.2 13H1.8zM8 6.5v3M8 11.3v.1',
  link: 'M6.5 9.5a2.5 2.5 0 0 0 3.5 0l2.5-2.5A2.5 2.5 0 0 0 9 3.5L8 4.5M9.5 6.5a2.5 2.5 0 0 0-3.5 0L3.5 9A2.5 2.5 0 0 0 7 12.5l1-1',
  fold: 'm4 6 4 4 4-4',
  file: 'M9 2H4.5v12h7V4.5zM9 2v2.5h2.5',
  columns: 'M2.5 3h11v10h-11zM6.2 3v10M9.8 3v10',
  bars: 'M3 13V9M8 13V3M13 13V6',
  download: 'M8 2.5v8M4.8 7.5 8 10.7l3.2-3.2M3 13.5h10',
} as const

export type IconName = keyof typeof icons

export function Icon({ name, size = 16 }: { readonly name: IconName; readonly size?: number }) {
  return (
    <svg
      class="icon"
      width={size}
      height={size}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      stroke-width="1.5"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      <path d={icons[name]} />
    </svg>
  )
}

// Functions: an element that outlives its draw keeps that draw's tree, and with it all later ones.
const shapes: Readonly<Record<Look, () => ComponentChildren>> = {
  use: () => <circle cx="7" cy="7" r="5" fill="currentColor" />,
  idle: () => <circle cx="7" cy="7" r="4.2" fill="none" stroke="currentColor" stroke-width="1.8" />,
  asleep: () => <path d="M9.2 2.2a5 5 0 1 0 2.9 7.4A4.3 4.3 0 0 1 9.2 2.2z" fill="currentColor" />,
  loading: () => (
    <>
      <circle cx="7" cy="7" r="4.4" fill="none" stroke="currentColor" stroke-width="1.6" opacity=".3" />
      <path
        class="spin"
        d="M7 2.6A4.4 4.4 0 0 1 11.4 7"
        fill="none"
        stroke="currentColor"
        stroke-width="2"
        stroke-linecap="round"
      />
    </>
  ),
  waiting: () => (
    <circle
      cx="7"
      cy="7"
      r="4.4"
      fill="none"
      stroke="currentColor"
      stroke-width="1.8"
      stroke-dasharray="2.3 2.3"
    />
  ),
  stopping: () => <rect x="2" y="2" width="10" height="10" rx="0.5" fill="currentColor" />,
  tripped: () => (
    <>
      <path d="M7 1.6 13 12H1z" fill="currentColor" stroke="currentColor" stroke-linejoin="round" />
      <path class="inside" d="M7 5.4v3M7 10.2v.1" stroke-width="1.5" stroke-linecap="round" />
    </>
  ),
  backoff: () => (
    <path
      d="M7 2.4 12.4 11.6H1.6z"
      fill="none"
      stroke="currentColor"
      stroke-width="1.6"
      stroke-linejoin="round"
    />
  ),
  failed: () => (
    <path d="m3.5 3.5 7 7M10.5 3.5l-7 7" stroke="currentColor" stroke-width="2" stroke-linecap="round" />
  ),
  down: () => <path d="M3 7h8" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" />,
}

/** The shape of a state. `label`: its word, where no text beside it says the same. */
export function Glyph({ look, label = false }: { readonly look: Look; readonly label?: boolean }) {
  return (
    // biome-ignore lint/a11y/noSvgWithoutTitle: it has its label, or a text beside it says the same
    <svg
      class={`glyph ${look}`}
      viewBox="0 0 14 14"
      {...(label ? { role: 'img', 'aria-label': lookWords[look] } : { 'aria-hidden': 'true' })}
    >
      {shapes[look]()}
    </svg>
  )
}

/** The mark of a decision of the scheduler. */
export function Diamond() {
  return (
    <svg class="diamond" width="10" height="10" viewBox="0 0 10 10" aria-hidden="true">
      <path d="M5 .5 9.5 5 5 9.5.5 5z" fill="currentColor" />
    </svg>
  )
}

interface RingProps {
  /** From 0 to 1. */
  readonly share: number
  readonly size?: number
  readonly width?: number
}

/** What is left of a delay, as an arc. */
export function Ring({ share, size = 20, width = 2.5 }: RingProps) {
  const middle = size / 2
  const radius = middle - width / 2 - 0.5
  const length = 2 * Math.PI * radius
  const left = Math.max(0, Math.min(1, share))
  return (
    <svg class="ring" width={size} height={size} viewBox={`0 0 ${size} ${size}`} aria-hidden="true">
      <g fill="none" stroke-width={width} transform={`rotate(-90 ${middle} ${middle})`}>
        <circle class="whole" cx={middle} cy={middle} r={radius} />
        <circle
          cx={middle}
          cy={middle}
          r={radius}
          stroke="currentColor"
          stroke-dasharray={`${(length * left).toFixed(1)} ${length.toFixed(1)}`}
          stroke-linecap="round"
        />
      </g>
    </svg>
  )
}

interface SparkProps {
  /** The oldest first. */
  readonly values: readonly number[]
  readonly width?: number
  readonly height?: number
}

/** A small line of values, from zero to the greatest of them. */
export function Spark({ values, width = 84, height = 26 }: SparkProps) {
  const most = Math.max(1, ...values)
  const last = Math.max(1, values.length - 1)
  const line = values
    .map((value, index) => {
      const x = ((index / last) * width).toFixed(1)
      const y = (height - 2 - (value / most) * (height - 5)).toFixed(1)
      return `${index === 0 ? 'M' : 'L'}${x} ${y}`
    })
    .join('')
  return (
    <svg class="spark" viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" aria-hidden="true">
      <path d={`${line}L${width} ${height}L0 ${height}z`} fill="currentColor" opacity=".13" />
      <path
        d={line}
        fill="none"
        stroke="currentColor"
        stroke-width="1.3"
        vector-effect="non-scaling-stroke"
        stroke-linejoin="round"
      />
    </svg>
  )
}
