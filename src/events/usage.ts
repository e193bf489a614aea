/** What a server said about the size and the pace of its answer; `null` where it did not say. */
export interface Usage {
  readonly promptTokens: number | null
  readonly completionTokens: number | null
  /**
   * Tokens that were generated in a second: as the server says it, else those of a stream over the time from the first
   * byte of its answer to the last, which a client that reads slowly stretches.
   */
  readonly tokensPerSecond: number | null
  /** Prompt tokens that the server had in its cache. Absent: the server did not say it. */
  readonly cachedTokens?: number
  /** Prompt tokens that were read in a second, as llama.cpp says it. Absent: the server did not say it. */
  readonly promptTokensPerSecond?: number
}

/** Usage and timings stand at the end of an answer: this much of its last bytes is read. */
const TAIL_BYTES = 4096
/** Of an answer in several chunks less is kept, because every open stream holds it. */
const RING_BYTES = 2048
/** A stream that ends faster was not sent while it was generated. */
const MIN_STREAM_MS = 10

/** Keeps the end of an answer as it passes. Nothing is parsed before the answer is over. */
export interface UsageTail {
  add(chunk: Buffer): void
  /** Reads it; `null`: the server said nothing. */
  read(): Usage | null
}

/**
 * Creates a tail. It copies the end of each chunk into a ring, so that a long stream keeps no chunk alive; the one
 * chunk of a short answer is kept as it is.
 */
export function createUsageTail(): UsageTail {
  let only: Buffer | undefined
  let ring: Buffer | undefined
  /** Bytes in the ring so far, overwritten ones included. */
  let written = 0
  const copy = (buffer: Buffer, chunk: Buffer) => {
    const end = chunk.length <= RING_BYTES ? chunk : chunk.subarray(chunk.length - RING_BYTES)
    const at = written % RING_BYTES
    const copied = end.copy(buffer, at)
    if (copied < end.length) end.copy(buffer, 0, copied)
    written += end.length
  }
  return {
    add: (chunk) => {
      if (ring !== undefined) return copy(ring, chunk)
      if (only === undefined) {
        only = chunk
        return
      }
      // Not from Node's pool: a stream would keep a slab of 8 KB alive.
      ring = Buffer.allocUnsafeSlow(RING_BYTES)
      copy(ring, only)
      only = undefined
      copy(ring, chunk)
    },
    read: () => {
      if (ring === undefined) return readUsage(only?.subarray(-TAIL_BYTES).toString('latin1') ?? '')
      if (written <= RING_BYTES) return readUsage(ring.toString('latin1', 0, written))
      const at = written % RING_BYTES
      return readUsage(ring.toString('latin1', at) + ring.toString('latin1', 0, at))
    },
  }
}

/** Quotes inside of a JSON string are escaped, so text of the model never matches. */
function readUsage(text: string): Usage | null {
  const promptTokens = findLast(text, '"prompt_tokens"') ?? findLast(text, '"input_tokens"')
  const completionTokens = findLast(text, '"completion_tokens"') ?? findLast(text, '"output_tokens"')
  const tokensPerSecond = findLast(text, '"predicted_per_second"')
  if (promptTokens === null && completionTokens === null && tokensPerSecond === null) return null
  const cachedTokens = findLast(text, '"cached_tokens"') ?? findLast(text, '"cache_read_input_tokens"')
  const promptTokensPerSecond = findLast(text, '"prompt_per_second"')
  return {
    promptTokens,
    completionTokens,
    tokensPerSecond,
    ...(cachedTokens === null ? {} : { cachedTokens }),
    ...(promptTokensPerSecond === null ? {} : { promptTokensPerSecond }),
  }
}

/** What a server said of a stream that took this long, with the pace that follows where it told none. */
export function withPace(usage: Usage | null, elapsedMs: number): Usage | null {
  if (usage === null || usage.completionTokens === null || usage.tokensPerSecond !== null) return usage
  // An answer that came at once was generated before it was sent: its pace is unknown.
  if (usage.completionTokens < 2 || elapsedMs < MIN_STREAM_MS) return usage
  const tokensPerSecond = Math.round((usage.completionTokens / elapsedMs) * 100_000) / 100
  return { ...usage, tokensPerSecond }
}

const NUMBER = /\s*:\s*(\d{1,12}(?:\.\d{1,20})?)(?![\d.])/y

/** The number after the last mention of a name that a number follows. */
function findLast(text: string, name: string): number | null {
  for (let at = text.lastIndexOf(name); at !== -1; at = at === 0 ? -1 : text.lastIndexOf(name, at - 1)) {
    NUMBER.lastIndex = at + name.length
    const found = NUMBER.exec(text)?.[1]
    // More decimals of a pace are noise of the clock.
    if (found !== undefined) return Math.round(Number(found) * 100) / 100
  }
  return null
}
