import { escapeText, type Terminal } from './terminal.ts'

/** The format of a log: one JSON document per line, or text. */
export type LogFormat = 'json' | 'pretty'

const levels: Readonly<Record<number, string>> = { 20: 'debug', 30: 'info', 40: 'warn', 50: 'error' }
/** Members of every pino line, and members that are printed first. */
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

/** One log line as text: time, level, event, service, facts. A line that is not JSON stays as it is. */
export function formatLogLine(line: string, terminal: Pick<Terminal, 'paint'>): string {
  let facts: Record<string, unknown>
  try {
    facts = JSON.parse(line)
  } catch {
    return escapeText(line)
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
  const text = escapeText(parts.filter((part) => part !== undefined).join('  ')).replaceAll('\n', ' ')
  return name === 'error'
    ? terminal.paint('red', text)
    : name === 'warn'
      ? terminal.paint('yellow', text)
      : text
}
