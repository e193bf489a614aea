/** Longest event that is held back until it is complete, in bytes; a stream with a longer one passes as it is. */
const MAX_HELD_BYTES = 1024 * 1024

const USAGE = '"usage"'
/** The end of an answer as servers write it. Inside of a text the quotes are escaped. */
const FINISHES = [Buffer.from('"finish_reason":"'), Buffer.from('"finish_reason": "')]
/** What an event that is not simply passed on holds. One expression is five times faster than native searches here. */
const NOTABLE = /"usage"|"finish_reason": ?"/
const EMPTY = Buffer.alloc(0)

/** Takes the usage chunk out of a chat stream. Every other byte stays. */
export interface UsageFilter {
  /** Returns the bytes that can be sent now; empty while an event is incomplete. */
  push(chunk: Buffer): Buffer
  /** Returns the remaining bytes. */
  end(): Buffer
  /** Returns the complete events that remain of a stream that broke. */
  cut(): Buffer
}

/**
 * Removes the chunk that holds `usage` and no choice, which the gateway asked for and the client did not: the plainest
 * client reads `choices[0]` of every chunk. Only complete events are passed on, so that the chunk is found wherever the
 * network splits it.
 *
 * llama.cpp puts its `timings` into the usage chunk when there is one, else into the last chunk that has a choice. They
 * are moved there, so that the client sees what the server itself would have sent. For this an event with a
 * `finish_reason` waits for the next one.
 */
export function createUsageFilter(): UsageFilter {
  let held: Buffer = EMPTY
  /** A complete event with a `finish_reason`. */
  let last: Buffer = EMPTY
  let isTooLarge = false
  const take = (rest: Buffer) => {
    const bytes = last.length === 0 ? rest : Buffer.concat([last, rest])
    last = EMPTY
    return bytes
  }
  return {
    push: (chunk) => {
      if (isTooLarge) return chunk
      if (
        held.length === 0 &&
        last.length === 0 &&
        endsEvent(chunk) &&
        !NOTABLE.test(chunk.toString('latin1'))
      )
        return chunk
      const bytes = held.length === 0 ? chunk : Buffer.concat([held, chunk])
      const end = findLastBorder(bytes)
      held = bytes.subarray(end)
      isTooLarge = held.length > MAX_HELD_BYTES
      if (isTooLarge) return withoutUsage(take(bytes))
      if (end === 0) return EMPTY
      const events = take(bytes.subarray(0, end))
      const start = findFinish(events)
      last = events.subarray(start)
      return withoutUsage(events.subarray(0, start))
    },
    end: () => {
      const rest = take(isTooLarge ? EMPTY : held)
      held = EMPTY
      return withoutUsage(rest)
    },
    cut: () => take(EMPTY),
  }
}

/** Index of the last of these complete events, if it has a `finish_reason`; else their length. */
function findFinish(events: Buffer): number {
  if (!isFinish(events)) return events.length
  const start = findLastBorder(events.subarray(0, -1))
  return isFinish(events.subarray(start)) ? start : events.length
}

function isFinish(events: Buffer): boolean {
  return FINISHES.some((finish) => events.includes(finish))
}

/** Index after the last empty line; `0`: there is none. */
function findLastBorder(bytes: Buffer): number {
  if (endsEvent(bytes)) return bytes.length
  return Math.max(findEnd(bytes, '\n\n'), findEnd(bytes, '\n\r\n'), findEnd(bytes, '\r\r'))
}

function endsEvent(bytes: Buffer): boolean {
  return bytes[bytes.length - 1] === 0x0a && bytes[bytes.length - 2] === 0x0a
}

function findEnd(bytes: Buffer, border: string): number {
  const index = bytes.lastIndexOf(border)
  return index === -1 ? 0 : index + border.length
}

function withoutUsage(events: Buffer): Buffer {
  if (!events.includes(USAGE)) return events
  const kept: string[] = []
  let isChanged = false
  for (const event of events.toString('latin1').split(BORDER)) {
    const usage = readUsageChunk(event)
    if (usage === undefined) kept.push(event)
    else {
      isChanged = true
      const finish = kept.pop()
      if (finish !== undefined) kept.push(withTimings(finish, usage.timings))
    }
  }
  return isChanged ? Buffer.from(kept.join(''), 'latin1') : events
}

/** Parts a text after each empty line. */
const BORDER = /(?<=\r\n\r\n|\n\n|\r\r)/

/** An event with these timings as the last member of its JSON, if it is the end of an answer and has none. */
function withTimings(event: string, timings: unknown): string {
  const end = event.lastIndexOf('}')
  const isOpen = FINISHES.some((finish) => event.includes(finish.toString())) && !event.includes('"timings"')
  if (!isOpen || end === -1 || typeof timings !== 'object' || timings === null) return event
  return `${event.slice(0, end)},"timings":${JSON.stringify(timings)}${event.slice(end)}`
}

/** The chunk of an event, if it holds `usage` and no choice. */
function readUsageChunk(event: string): { readonly timings?: unknown } | undefined {
  if (!event.includes(USAGE)) return undefined
  const data = event
    .split(/\r\n|\r|\n/)
    .filter((line) => line.startsWith('data:'))
    .map((line) => line.slice('data:'.length))
  try {
    const chunk: unknown = JSON.parse(data.join('\n'))
    if (typeof chunk !== 'object' || chunk === null || !('usage' in chunk)) return undefined
    if ('error' in chunk && chunk.error) return undefined
    const { usage } = chunk
    if (typeof usage !== 'object' || usage === null) return undefined
    // Some servers write `null` for the empty list, or omit it: a client fails on all three.
    const choices = ('choices' in chunk ? chunk.choices : undefined) ?? []
    if (!Array.isArray(choices) || choices.length > 0) return undefined
    return { timings: 'timings' in chunk ? chunk.timings : undefined }
  } catch {
    return undefined
  }
}
