import { type Terminal, toSafeText } from './print.ts'

/** How a log is written: one JSON document per line, or for people. */
export type LogFormat = 'json' | 'pretty'

const levels: Readonly<Record<number, string>> = { 20: 'debug', 30: 'info', 40: 'warn', 50: 'error' }
/** What every line of pino has, and what is told in front. */
const FRAME: ReadonlySet<string> = new Set([
  'level',
  'time',
  'pid',
  'hostname',
  'msg',
  'event',
  'service',
  'requestId',
  'key',
  'atMs',
  'why',
])

/** One line of a log for people: when, how grave, which event, about whom, its facts. What is no JSON stays as it is. */
export function toLogLine(line: string, terminal: Pick<Terminal, 'paint'>): string {
  let facts: Record<string, unknown>
  try {
    facts = JSON.parse(line)
  } catch {
    return toSafeText(line)
  }
  const { level, time, event, msg, service, requestId } = facts
  const name = levels[Number(level)] ?? String(level)
  const texts = Object.entries(facts)
    .filter(([key, value]) => !FRAME.has(key) && value !== null)
    .map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
  const parts = [
    new Date(Number(time)).toTimeString().slice(0, 8),
    name.padEnd(5),
    event ?? msg,
    service ?? requestId,
    ...texts,
  ]
  const text = toSafeText(parts.filter((part) => part !== undefined).join('  ')).replaceAll('\n', ' ')
  return name === 'error'
    ? terminal.paint('red', text)
    : name === 'warn'
      ? terminal.paint('yellow', text)
      : text
}
