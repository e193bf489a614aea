/** A marker may be split between chunks: this many characters of the previous text are searched again. */
const CARRIED = 64

/** Detects whether a stream ended as its protocol requires. Fed every chunk, keeps only the last characters. */
export interface StreamEnding {
  add(chunk: Buffer): void
  isComplete(): boolean
}

/**
 * Watches an SSE stream for a protocol ending: `[DONE]` or a `finish_reason` (chat completions and completions),
 * `response.completed` and its siblings (responses), `message_stop` (Anthropic messages). A socket that closes
 * proves nothing: a server that dies behind a close-delimited answer looks the same. The last mark counts, since a
 * `finish_reason` of `null` after another one is a second choice that goes on.
 */
export function createStreamEnding(): StreamEnding {
  return createEnding(MARKS, false, (mark) => !mark.endsWith('null'))
}

/** A last line that is longer than this is not parsed, in characters. */
const MAX_LINE = 1024 * 1024

/**
 * Watches lines of JSON for Ollama's `"done"`, and for an error, which is the last line. Other lines prove nothing, but
 * a last line that is not whole JSON proves a cut: a server can end its chunks properly in the middle of a line.
 */
export function createLinesEnding(): StreamEnding {
  const marks = createEnding(LINE_MARKS, true, (mark) => !mark.endsWith('false'))
  let line = ''
  return {
    add: (chunk) => {
      marks.add(chunk)
      const at = chunk.lastIndexOf(0x0a)
      const text = chunk.toString('latin1', at + 1)
      line = at === -1 ? line + text : text
      // Beyond the limit the line must only stay too long to be parsed.
      if (line.length > MAX_LINE) line = line.slice(0, MAX_LINE + 1)
    },
    isComplete: () => marks.isComplete() && (line.length > MAX_LINE || isWholeJson(line)),
  }
}

function isWholeJson(line: string): boolean {
  if (line.trim() === '') return true
  try {
    JSON.parse(line)
    return true
  } catch {
    return false
  }
}

/** Marks as they are searched for in a text: one that is the first of its line may also begin the text itself. */
interface Marks {
  readonly inLine: RegExp
  readonly atLineStart: RegExp
}

function createEnding(
  { inLine, atLineStart }: Marks,
  isCompleteBefore: boolean,
  isEnd: (mark: string) => boolean,
): StreamEnding {
  let isComplete = isCompleteBefore
  /** The end of a chunk that did not end a line. */
  let carried = ''
  return {
    add: (chunk) => {
      const isLineStart = carried === ''
      const text = chunk.toString('latin1')
      const whole = isLineStart ? text : carried + text
      const marks = isLineStart ? atLineStart : inLine
      marks.lastIndex = 0
      for (let found = marks.exec(whole); found !== null; found = marks.exec(whole))
        isComplete = isEnd(found[0])
      if (chunk.at(-1) === LINE_FEED) carried = ''
      else carried = isLineStart && whole.length < CARRIED ? `\n${whole}` : whole.slice(-CARRIED)
    },
    isComplete: () => isComplete,
  }
}

const LINE_FEED = 0x0a

/** `lineStart`: what follows must be the first of its line. */
function buildMarks(source: (lineStart: string) => string): Marks {
  return {
    inLine: new RegExp(source('[\\r\\n]'), 'g'),
    atLineStart: new RegExp(source('(?:^|[\\r\\n])'), 'g'),
  }
}

/** Inside of a JSON string the quotes and line ends are escaped, so what a model says is never taken for a mark. */
const MARKS = buildMarks(
  (lineStart) =>
    `${lineStart}data:\\s*\\[DONE\\]|"finish_reason"\\s*:\\s*(?:null|"[^"])|"type"\\s*:\\s*"(?:response\\.(?:completed|incomplete|failed|cancelled)|message_stop|error)"`,
)

const LINE_MARKS = buildMarks((lineStart) => `"done"\\s*:\\s*(?:true|false)|${lineStart}\\{"error"\\s*:`)
