/** Longest event that is held back until it is complete, in bytes; a stream with a longer one passes as it is. */
const MAX_HELD_BYTES = 1024 * 1024

const USAGE = '"usage"'
const EMPTY = Buffer.alloc(0)

/** Takes the usage chunk out of a chat stream. Every other byte stays. */
export interface UsageFilter {
  /** What may go on of the bytes so far; empty while an event is not complete. */
  push(chunk: Buffer): Buffer
  /** The rest. */
  end(): Buffer
}

/**
 * Removes the chunk that holds `usage` and no choice, which the gateway asked for and the client did not: the plainest
 * client reads `choices[0]` of every chunk. Only complete events are passed on, so that the chunk is found wherever the
 * network splits it.
 */
export function createUsageFilter(): UsageFilter {
  let held: Buffer = EMPTY
  let isTooLarge = false
  return {
    push: (chunk) => {
      if (isTooLarge) return chunk
      const bytes = held.length === 0 ? chunk : Buffer.concat([held, chunk])
      const end = findLastBorder(bytes)
      held = bytes.subarray(end)
      isTooLarge = held.length > MAX_HELD_BYTES
      return withoutUsage(isTooLarge ? bytes : bytes.subarray(0, end))
    },
    end: () => {
      const rest = isTooLarge ? EMPTY : held
      held = EMPTY
      return withoutUsage(rest)
    },
  }
}

/** Index after the last empty line; `0`: there is none. */
function findLastBorder(bytes: Buffer): number {
  if (bytes.at(-1) === 0x0a && bytes.at(-2) === 0x0a) return bytes.length
  return Math.max(toEnd(bytes, '\n\n'), toEnd(bytes, '\n\r\n'), toEnd(bytes, '\r\r'))
}

function toEnd(bytes: Buffer, border: string): number {
  const index = bytes.lastIndexOf(border)
  return index === -1 ? 0 : index + border.length
}

/** Timings of llama.cpp, which stand in the usage chunk when there is one, go with it. */
function withoutUsage(events: Buffer): Buffer {
  if (!events.includes(USAGE)) return events
  const text = events.toString('latin1')
  const kept = text.split(BORDER).filter((event) => !isUsageChunk(event))
  const rest = kept.join('')
  return rest.length === text.length ? events : Buffer.from(rest, 'latin1')
}

/** Parts a text after each empty line. */
const BORDER = /(?<=\r\n\r\n|\n\n|\r\r)/

function isUsageChunk(event: string): boolean {
  if (!event.includes(USAGE)) return false
  const data = event
    .split(/\r\n|\r|\n/)
    .filter((line) => line.startsWith('data:'))
    .map((line) => line.slice('data:'.length))
  try {
    const chunk: unknown = JSON.parse(data.join('\n'))
    if (typeof chunk !== 'object' || chunk === null || !('usage' in chunk)) return false
    if ('error' in chunk && chunk.error) return false
    const { usage } = chunk
    if (typeof usage !== 'object' || usage === null) return false
    // Some servers write `null` for the empty list, or leave it out: a client fails at all three.
    const choices = ('choices' in chunk ? chunk.choices : undefined) ?? []
    return Array.isArray(choices) && choices.length === 0
  } catch {
    return false
  }
}
