/** What a server said about the size and the pace of its answer; `null` where it did not say. */
export interface Usage {
  readonly promptTokens: number | null
  readonly completionTokens: number | null
  /**
   * Tokens that were generated in a second: as the server says it, else those of a stream over the time from the first
   * byte of its answer to the last, which a client that reads slowly stretches.
   */
  readonly tokensPerSecond: number | null
}

/** Usage and timings stand at the end of an answer: this much of it is looked at, in bytes. */
const TAIL_BYTES = 4096
/** A stream that is over faster was not sent as it was made. */
const MIN_STREAM_MS = 10

/** Keeps the end of an answer as it passes: nothing is copied, and nothing is parsed before the answer is over. */
export interface UsageTail {
  add(chunk: Buffer): void
  /** Reads it; `null`: the server said nothing. */
  read(): Usage | null
}

/** Creates a tail. Inside of a JSON string the quotes are escaped, so what a model says is never taken for a number. */
export function createUsageTail(): UsageTail {
  const chunks: Buffer[] = []
  let bytes = 0
  return {
    add: (chunk) => {
      chunks.push(chunk)
      bytes += chunk.length
      for (
        let first = chunks[0];
        first !== undefined && bytes - first.length >= TAIL_BYTES;
        [first] = chunks
      ) {
        bytes -= first.length
        chunks.shift()
      }
    },
    read: () => {
      const text = Buffer.concat(chunks, bytes).subarray(-TAIL_BYTES).toString('latin1')
      const usage = {
        promptTokens: toLast(text, /"(?:prompt|input)_tokens"\s*:\s*(\d{1,12})\b/g),
        completionTokens: toLast(text, /"(?:completion|output)_tokens"\s*:\s*(\d{1,12})\b/g),
        tokensPerSecond: toLast(text, /"predicted_per_second"\s*:\s*(\d{1,9}(?:\.\d{1,20})?)/g),
      }
      return Object.values(usage).every((value) => value === null) ? null : usage
    },
  }
}

/** What a server said of a stream that took this long, with the pace that follows where it told none. */
export function withPace(usage: Usage | null, elapsedMs: number): Usage | null {
  if (usage === null || usage.completionTokens === null || usage.tokensPerSecond !== null) return usage
  // What came all at once was made before it was sent: no pace can be seen in it.
  if (usage.completionTokens < 2 || elapsedMs < MIN_STREAM_MS) return usage
  const tokensPerSecond = Math.round((usage.completionTokens / elapsedMs) * 100_000) / 100
  return { ...usage, tokensPerSecond }
}

function toLast(text: string, pattern: RegExp): number | null {
  const last = [...text.matchAll(pattern)].at(-1)?.[1]
  return last === undefined ? null : Number(last)
}
