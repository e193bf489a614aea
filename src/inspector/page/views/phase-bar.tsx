import { formatSpan } from '../display-text.ts'
import { type Phase, phases, type RequestRow, sumSpent } from '../request-rows.ts'

export const phaseWords: Readonly<Record<Phase, string>> = {
  wait: 'waits',
  load: 'loads',
  first: 'first byte',
  stream: 'streams',
}

const pastWords: Readonly<Record<Phase, string>> = {
  wait: 'waited',
  load: 'loaded',
  first: 'first byte after',
  stream: 'streamed for',
}

interface PhaseBarProps extends Pick<RequestRow, 'spent' | 'phase'> {
  /** Length of the bar, in milliseconds; what is longer is cut. */
  readonly scale: number
}

/** Where the time of a request went, as one bar. */
export function PhaseBar({ spent, phase, scale }: PhaseBarProps) {
  const total = sumSpent(spent)
  const factor = (total > scale ? 100 / total : 100 / scale) * 0.84
  const parts = phases.filter((one) => spent[one] >= 0.5)
  const label = parts.map((one) => `${pastWords[one]} ${formatSpan(spent[one])}`).join(', ')
  return (
    <span class="phases" role="img" aria-label={label || 'over at once'}>
      {parts.map((one) => (
        <i
          key={one}
          class={`${one} ${phase === one ? 'go' : ''}`}
          style={{ width: `${(spent[one] * factor).toFixed(2)}%` }}
        />
      ))}
      <em>{`${total > scale ? '… ' : ''}${formatSpan(total)}`}</em>
    </span>
  )
}

export function PhaseLegend() {
  return (
    <p class="key">
      {phases.map((phase) => (
        <span key={phase}>
          <i class={`swatch ${phase}`} />
          {phaseWords[phase]}
        </span>
      ))}
    </p>
  )
}
