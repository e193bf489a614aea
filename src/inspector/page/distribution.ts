import { formatSpan } from './display-text.ts'
import { measureFirst, type RequestRow, sumSpent } from './request-rows.ts'

/** What a distribution is of. */
export const measures = ['pace', 'prefill', 'time', 'first'] as const
export type Measure = (typeof measures)[number]

/** Values of one measure, counted in steps of equal width, or of equal ratio for times. */
export interface Distribution {
  readonly bins: readonly Bin[]
  readonly count: number
  readonly median: number
  /** 90 % of the values are at most this. */
  readonly p90: number
}

export interface Bin {
  readonly from: number
  readonly to: number
  readonly count: number
}

/** More steps than a person tells apart would be noise with 500 values. */
const BINS = 24

/** The values of the rows that are over; a row without the value is left out. */
export function listValues(rows: readonly RequestRow[], measure: Measure): readonly number[] {
  return rows.flatMap(({ phase, usage, spent, status }) => {
    if (phase !== null) return []
    if (measure === 'pace') return usage?.tokensPerSecond ?? []
    if (measure === 'prefill') return usage?.promptTokensPerSecond ?? []
    if (measure === 'time') return sumSpent(spent)
    return measureFirst({ spent, status }) ?? []
  })
}

/** Counts values; `null`: there are none. Times differ by orders of magnitude, so their steps grow. */
export function countValues(values: readonly number[], measure: Measure): Distribution | null {
  const sorted = values.filter(Number.isFinite).toSorted((a, b) => a - b)
  const [least, most] = [sorted[0], sorted.at(-1)]
  if (least === undefined || most === undefined) return null
  const isTime = measure === 'time' || measure === 'first'
  const toPlace = isTime ? (value: number) => Math.log(Math.max(1, value)) : (value: number) => value
  const toValue = isTime ? Math.exp : (place: number) => place
  const [first, last] = [toPlace(least), toPlace(most)]
  const width = (last - first) / BINS || 1
  const counts = new Array<number>(last > first ? BINS : 1).fill(0)
  for (const value of sorted) {
    const index = Math.min(counts.length - 1, Math.floor((toPlace(value) - first) / width))
    counts[index] = (counts[index] ?? 0) + 1
  }
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? most
  return {
    bins: counts.map((count, index) => ({
      from: index === 0 ? least : toValue(first + index * width),
      to: index === counts.length - 1 ? most : toValue(first + (index + 1) * width),
      count,
    })),
    count: sorted.length,
    median: at(0.5),
    p90: at(0.9),
  }
}

/** A value with its unit. */
export function formatValue(value: number, measure: Measure): string {
  if (measure === 'time' || measure === 'first') return formatSpan(value)
  const number = value < 9_999.5 ? value.toFixed(value < 10 ? 1 : 0) : `${Math.round(value / 1_000)} k`
  return `${number} tok/s`
}
