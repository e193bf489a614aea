import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

/**
 * What a bench hands over.
 * @typedef {{ title: string, rows: readonly Record<string, string | number>[], targets: readonly Target[] }} Report
 * `value` is `null` where a peer is not here; a value up to `atMost`, or from `atLeast` on, meets the target.
 * @typedef {{ number: string, value: number | null, atMost?: number, atLeast?: number }} Target
 */

/** The value that a share of all values is below: `quantile(values, 0.99)`. `null` of none. */
export function quantile(values, share) {
  if (values.length === 0) return null
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
}

/** The middle of the numbers among the values; `null` of none. */
export function median(values) {
  return quantile(
    values.filter((value) => Number.isFinite(value)),
    0.5,
  )
}

/**
 * A figure of one peer against the same figure of another, round by round: what loads the machine loads both.
 * `null` when one of them is not here.
 */
export function compare(rounds, peer, other, toFigure, combine = (a, b) => a / b) {
  return median(
    rounds.flatMap((round) =>
      round[peer] === undefined || round[other] === undefined
        ? []
        : [combine(toFigure(round[peer]), toFigure(round[other]))],
    ),
  )
}

/** A report as Markdown: its table, and each target beside what was measured. */
export function print({ title, rows, targets }) {
  console.log(`## ${title}\n\n${toTable(rows)}`)
  if (targets.length > 0) console.log(`${toTable(targets.map(toTargetRow))}`)
}

/** Runs a bench that is the program itself: `node test/bench/streams.mjs --quick --json FILE`. */
export async function runAlone(url, measure) {
  if (process.argv[1] !== fileURLToPath(url)) return
  const { quick, json } = readFlags()
  const report = await measure({ quick })
  print(report)
  if (json !== undefined) writeFileSync(json, JSON.stringify(report, null, 2))
}

/** `--quick`: small counts, to see that it runs. `--json FILE`: the numbers go there too. `--guard`: see `guard.mjs`. */
export function readFlags() {
  const { values, positionals } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      json: { type: 'string' },
      guard: { type: 'boolean', default: false },
      record: { type: 'boolean', default: false },
    },
    allowPositionals: true,
  })
  return { ...values, names: positionals }
}

function toTargetRow({ number, value, atMost, atLeast }) {
  return {
    target: number,
    wanted: atMost === undefined ? `at least ${atLeast}` : `at most ${atMost}`,
    measured: value ?? 'not here',
    verdict: value === null ? '-' : toVerdict(value, atMost === undefined ? atLeast / value : value / atMost),
  }
}

function toVerdict(value, excess) {
  return excess <= 1 || value <= 0 ? 'met' : `missed by ${((excess - 1) * 100).toFixed(0)} %`
}

function toTable(rows) {
  const names = Object.keys(rows[0])
  const lines = rows.map((row) => `| ${names.map((name) => toCell(row[name])).join(' | ')} |`)
  return `| ${names.join(' | ')} |\n|${'---|'.repeat(names.length)}\n${lines.join('\n')}\n`
}

function toCell(value) {
  if (typeof value !== 'number') return value ?? '-'
  return value.toFixed(Math.abs(value) < 10 ? 2 : Math.abs(value) < 100 ? 1 : 0)
}
