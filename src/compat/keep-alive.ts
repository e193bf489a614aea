import { NEVER_MS } from '../../machines/provider/delays.ts'
import { BadRequestError } from '../errors.ts'

/** The member of a body that says how long its model's server shall stay up without use. */
export const KEEP_ALIVE = 'keep_alive'

/**
 * The milliseconds of a `keep_alive` as Ollama's API has it: seconds as a number, or a duration such as `10m`, `1h30m`,
 * `300ms`; below zero: until it is stopped, which is {@link NEVER_MS}. `undefined`: none was given.
 * @throws {@link BadRequestError} for anything else.
 */
export function toKeepAliveMs(value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined
  const ms =
    typeof value === 'number' ? value * 1_000 : typeof value === 'string' ? parseDuration(value) : NaN
  if (Number.isNaN(ms))
    throw new BadRequestError(
      '"keep_alive" must be a number of seconds or a duration such as "10m"; -1 keeps the model loaded, and 0 stops its server when it is idle.',
      { param: 'keep_alive' },
    )
  return limitKeepAlive(ms)
}

/** A time in milliseconds as a lease can ask for it: what no timer holds, or is below zero, means for ever. */
export function limitKeepAlive(ms: number): number {
  return ms < 0 || !(ms < NEVER_MS) ? NEVER_MS : Math.ceil(ms)
}

const UNIT_MS = new Map([
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
  ['ms', 1],
  ['us', 1e-3],
  ['µs', 1e-3],
  ['μs', 1e-3],
  ['ns', 1e-6],
])
const AMOUNT = /(\d+\.?\d*|\.\d+)(h|ms|m|s|us|µs|μs|ns)/y

/** A duration as Go's `time.ParseDuration` reads it; a number without a unit is seconds. */
function parseDuration(text: string): number {
  const [, sign = '', amounts = ''] = /^\s*([+-]?)(\S+)\s*$/.exec(text) ?? []
  const factor = sign === '-' ? -1 : 1
  if (/^(\d+\.?\d*|\.\d+)$/.test(amounts)) return factor * Number(amounts) * 1_000
  let sum = 0
  AMOUNT.lastIndex = 0
  for (let at = 0; at < amounts.length; at = AMOUNT.lastIndex) {
    const [, amount, unit = ''] = AMOUNT.exec(amounts) ?? []
    if (amount === undefined) return NaN
    sum += Number(amount) * (UNIT_MS.get(unit) ?? NaN)
  }
  return amounts === '' ? NaN : factor * sum
}
