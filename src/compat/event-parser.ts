import { StringDecoder } from 'node:string_decoder'
import { createParser, type ParserCallbacks } from 'eventsource-parser'

/** Longest event that is kept until it is complete, in characters. */
const MAX_EVENT_LENGTH = 16 * 1024 * 1024

/** Reads server-sent events from bytes: LF, CRLF or CR, split anywhere. */
export interface EventParser {
  /** @throws RangeError for an event that is too long */
  push(bytes: Uint8Array): void
  /** Treats a last event without its empty line as complete; only the caller can know that it is. */
  end(): void
}

/** `callbacks` are called as soon as an event's empty line has come. */
export function createEventParser(callbacks: Omit<ParserCallbacks, 'onError'>): EventParser {
  const decoder = new StringDecoder('utf8')
  let isFirst = true
  let endedInCr = false
  const parser = createParser({
    ...callbacks,
    onError: (error) => {
      if (error.type === 'max-buffer-size-exceeded') throw new RangeError(error.message)
    },
    maxBufferSize: MAX_EVENT_LENGTH,
  })
  const feed = (given: string) => {
    if (given === '') return
    let text = given
    if (isFirst && text.startsWith('\ufeff')) text = text.slice(1)
    isFirst = false
    // After a CR the parser waits for a possible LF. To deliver the line at once it gets an LF here; a late LF of the
    // server is skipped.
    if (endedInCr && text.startsWith('\n')) text = text.slice(1)
    endedInCr = given.endsWith('\r')
    if (text !== '') parser.feed(endedInCr ? `${text}\n` : text)
  }
  return {
    push: (bytes) => feed(decoder.write(bytes instanceof Buffer ? bytes : Buffer.from(bytes))),
    end: () => feed(`${decoder.end()}\n\n`),
  }
}
