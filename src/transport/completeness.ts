/** The last bytes of a stream are enough to tell its ending; a chunk with usage and timings is well below this. */
const TAIL_BYTES = 4096

/** Says whether an event stream ended as its protocol ends. Fed every chunk, keeps only the last bytes. */
export interface StreamEnding {
  add(chunk: Buffer): void
  isComplete(): boolean
}

/**
 * Watches an SSE stream for a protocol ending: `[DONE]` or a `finish_reason` (chat completions and completions),
 * `response.completed` and its siblings (responses), `message_stop` (Anthropic messages). A socket that closes
 * proves nothing: a server that dies behind a close-delimited answer looks the same.
 */
export function createStreamEnding(): StreamEnding {
  const chunks: Buffer[] = []
  let bytes = 0
  return {
    add: (chunk) => {
      chunks.push(chunk)
      bytes += chunk.length
      while (bytes - (chunks[0]?.length ?? 0) >= TAIL_BYTES) bytes -= chunks.shift()?.length ?? 0
    },
    isComplete: () => ENDING.test(Buffer.concat(chunks).toString('latin1')),
  }
}

const ENDING =
  /(^|\n)data:\s*\[DONE\]|"finish_reason"\s*:\s*"|"type"\s*:\s*"(response\.(completed|incomplete|failed|cancelled)|message_stop|error)"/
