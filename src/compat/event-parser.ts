import { StringDecoder } from 'node:string_decoder'
import { createParser, type ParserCallbacks } from 'eventsource-parser'

/** Longest event that is kept until it is complete, in characters. */
const MAX_EVENT_LENGTH = 16 * 1024 * 1024

/** Reads server-sent events from bytes: LF, CRLF or CR, split anywhere. */
export interface EventParser {
  /** @throws RangeError for an event beyond all measure */
  push(bytes: Uint8Array): void
  /** Takes a last event without its empty line for complete: the caller knows. */
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
    // The parser waits after a CR for the LF that may follow. The line has ended: it gets that LF at once, and the
    // one that comes late is left out.
    if (endedInCr && text.startsWith('\n')) text = text.slice(1)
    endedInCr = given.endsWith('\r')
    if (text !== '') parser.feed(endedInCr ? `${text}\n` : text)
  }
  return {
    push: (bytes) => feed(decoder.write(bytes instanceof Buffer ? bytes : Buffer.from(bytes))),
    end: () => feed(`${decoder.end()}\n\n`),
  }
}
