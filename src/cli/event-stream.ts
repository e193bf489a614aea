import { createEventParser } from '../compat/event-parser.ts'

/** The bytes of a response body as lines, without their ends. A last line without an end counts. */
export async function* readLines(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const bytes of body) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) yield line.replace(/\r$/, '')
  }
  if (rest !== '') yield rest
}

/** The data of each server-sent event; comments and other fields are left out. A last event without its end counts. */
export async function* readEventData(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const due: string[] = []
  const parser = createEventParser({ onEvent: ({ data }) => due.push(data) })
  const take = () => due.splice(0)
  for await (const bytes of body) {
    parser.push(bytes)
    yield* take()
  }
  parser.end()
  yield* take()
}
