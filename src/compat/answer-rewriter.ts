import { createEventParser } from './event-parser.ts'
import type { CompatFlags } from './flags.ts'
import { rewriteAnswer } from './response.ts'

/** Largest JSON answer that is kept whole to be rewritten, in bytes; a larger one passes as it is. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024

/** Rewrites an answer on its way to the client. */
export interface AnswerRewriter {
  /**
   * Returns the bytes that can be sent now; empty while an event is incomplete. @throws RangeError for an event that
   * is too long
   */
  push(chunk: Buffer): Buffer
  /** Returns the remaining bytes. */
  end(): Buffer
}

/** Rewrites events one by one, or one JSON document as a whole. */
export function createAnswerRewriter(compat: CompatFlags, isEventStream: boolean): AnswerRewriter {
  return isEventStream ? createEventRewriter(compat) : createJsonRewriter(compat)
}

/** Passes each event on once its empty line has arrived. Line ends become LF. */
function createEventRewriter(compat: CompatFlags): AnswerRewriter {
  let out = ''
  const parser = createEventParser({
    onEvent: ({ id, event, data }) => {
      if (id !== undefined) out += `id: ${id}\n`
      if (event !== undefined) out += `event: ${event}\n`
      const changed = data.startsWith('{') ? rewriteJson(data, compat) : data
      out += `data: ${changed.includes('\n') ? changed.replaceAll('\n', '\ndata: ') : changed}\n\n`
    },
    // One line end only: some clients treat an empty line after a comment as an event.
    onComment: (comment) => {
      out += `: ${comment}\n`
    },
    onRetry: (ms) => {
      out += `retry: ${ms}\n`
    },
  })
  const take = () => {
    const bytes = Buffer.from(out)
    out = ''
    return bytes
  }
  return {
    push: (chunk) => {
      parser.push(chunk)
      return take()
    },
    end: () => {
      parser.end()
      return take()
    },
  }
}

function createJsonRewriter(compat: CompatFlags): AnswerRewriter {
  let chunks: Buffer[] = []
  let bytes = 0
  let isTooLarge = false
  const take = () => {
    const taken = Buffer.concat(chunks, bytes)
    chunks = []
    bytes = 0
    return taken
  }
  return {
    push: (chunk) => {
      if (isTooLarge) return chunk
      chunks.push(chunk)
      bytes += chunk.length
      isTooLarge = bytes > MAX_ANSWER_BYTES
      return isTooLarge ? take() : Buffer.alloc(0)
    },
    end: () => {
      const json = take()
      if (isTooLarge) return json
      const text = json.toString('utf8')
      const changed = rewriteJson(text, compat)
      return changed === text ? json : Buffer.from(changed)
    },
  }
}

/** Returns the same text if nothing changes, so that the original bytes can be sent. */
function rewriteJson(json: string, compat: CompatFlags): string {
  try {
    const changed = rewriteAnswer(JSON.parse(json), compat)
    return changed === undefined ? json : JSON.stringify(changed)
  } catch {
    return json
  }
}
