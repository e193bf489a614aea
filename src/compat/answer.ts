import type { CompatFlags } from './flags.ts'
import { rewriteAnswer } from './response.ts'

/** Largest answer that is kept whole to be rewritten, in bytes; a larger one passes as it is. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024

/** Rewrites an answer on its way to the client. */
export interface AnswerRewriter {
  /** What may go on of the bytes so far; empty while an event is not complete. */
  push(chunk: Buffer): Buffer
  /** The rest. */
  end(): Buffer
}

/** Rewrites events one by one, or one JSON document as a whole. What does not change keeps its bytes. */
export function createAnswerRewriter(compat: CompatFlags, isEventStream: boolean): AnswerRewriter {
  let rest: Buffer = Buffer.alloc(0)
  let isTooLarge = false
  return {
    push: (chunk) => {
      if (isTooLarge) return chunk
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      const complete = isEventStream ? rest.lastIndexOf('\n\n') + 2 : 0
      if (complete >= 2) {
        const events = rest.subarray(0, complete)
        rest = rest.subarray(complete)
        return rewriteEvents(events, compat)
      }
      if (rest.length <= MAX_ANSWER_BYTES) return Buffer.alloc(0)
      isTooLarge = true
      return take()
    },
    end: () => {
      if (isTooLarge || isEventStream) return take()
      return rewriteJson(take(), compat)
    },
  }

  function take(): Buffer {
    const taken = rest
    rest = Buffer.alloc(0)
    return taken
  }
}

function rewriteEvents(events: Buffer, compat: CompatFlags): Buffer {
  const text = events.toString('utf8')
  const rewritten = text.replace(/^data: (\{.*\})$/gm, (line, json: string) => {
    const changed = rewriteJson(Buffer.from(json), compat)
    return changed.equals(Buffer.from(json)) ? line : `data: ${changed}`
  })
  return rewritten === text ? events : Buffer.from(rewritten)
}

function rewriteJson(json: Buffer, compat: CompatFlags): Buffer {
  try {
    const changed = rewriteAnswer(JSON.parse(json.toString('utf8')), compat)
    return changed === undefined ? json : Buffer.from(JSON.stringify(changed))
  } catch {
    return json
  }
}
