import { countValues, formatValue, listValues, type Measure, measures } from '../distribution.ts'
import type { RequestRow } from '../request-rows.ts'
import { Still } from '../still.ts'

const words: Readonly<Record<Measure, string>> = {
  pace: 'Tokens a second',
  prefill: 'Prompt tokens a second',
  time: 'Whole time',
  first: 'Time to first byte',
}

interface HistogramProps {
  readonly rows: readonly RequestRow[]
  readonly measure: Measure
  onMeasure(measure: Measure): void
}

/** How the values of the rows are distributed. */
export function RequestHistogram({ rows, measure, onMeasure }: HistogramProps) {
  const found = countValues(listValues(rows, measure), measure)
  const format = (value: number) => formatValue(value, measure)
  return (
    <section class="card histogram" aria-label="Histogram">
      <div>
        <select
          class="field"
          aria-label="Histogram of"
          value={measure}
          onChange={({ currentTarget }) => onMeasure(currentTarget.value as Measure)}
        >
          {measures.map((one) => (
            <option key={one} value={one}>
              {words[one]}
            </option>
          ))}
        </select>
        <p class="soft">
          {found === null
            ? 'No row tells it.'
            : `Median ${format(found.median)}, 90 % at most ${format(found.p90)} (${found.count} ${found.count === 1 ? 'request' : 'requests'})`}
        </p>
      </div>
      {found !== null && (
        <Bars
          counts={found.bins.map(({ count }) => count).join()}
          titles={found.bins
            .map(({ from, to, count }) => `${format(from)} to ${format(to)}: ${count}`)
            .join('\n')}
          label={`${words[measure]} of ${found.count} requests: from ${format(found.bins[0]?.from ?? 0)} to ${format(found.bins.at(-1)?.to ?? 0)}, median ${format(found.median)}`}
          least={format(found.bins[0]?.from ?? 0)}
          most={format(found.bins.at(-1)?.to ?? 0)}
        />
      )}
    </section>
  )
}

/** As plain values: bars that have not changed are not drawn again. */
interface BarsProps {
  readonly counts: string
  /** One line for each bar. */
  readonly titles: string
  readonly label: string
  readonly least: string
  readonly most: string
}

class Bars extends Still<BarsProps> {
  override render({ counts, titles, label, least, most }: BarsProps) {
    const all = counts.split(',').map(Number)
    const highest = Math.max(...all)
    const names = titles.split('\n')
    // Equal values are one bar, no wider than one of many.
    const width = Math.max(24, all.length)
    const left = (width - all.length) * 5
    return (
      <figure>
        <svg viewBox={`0 0 ${width * 10} 44`} preserveAspectRatio="none" role="img" aria-label={label}>
          {all.map((count, index) => {
            const height = count === 0 ? 0 : Math.max(2, (count / highest) * 43)
            return (
              <rect key={index} x={left + index * 10 + 0.5} y={44 - height} width={9} height={height}>
                <title>{names[index]}</title>
              </rect>
            )
          })}
        </svg>
        <figcaption aria-hidden="true">
          <span>{least}</span>
          <span>{most}</span>
        </figcaption>
      </figure>
    )
  }
}
