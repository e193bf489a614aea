import { BadRequestError } from '../errors.ts'

/** Where the value of a form's `model` field stands in the body. */
interface FieldSpan {
  readonly start: number
  readonly end: number
}

/** The `model` field of a multipart body, of several the last, as in JSON; `undefined` when it has none. @throws {@link BadRequestError} without a boundary */
export function peekMultipart(body: Buffer, contentType: string): string | undefined {
  const span = findModels(body, contentType).at(-1)
  return span && body.toString('utf8', span.start, span.end)
}

/**
 * The same form with another `model`, in each of its fields of that name, or in a new one before the others: some servers
 * refuse a form without it. Every other byte stays, and large files are not copied.
 */
export function rewriteMultipart(body: Buffer, contentType: string, model: string): readonly Buffer[] {
  const name = Buffer.from(model)
  const pieces: Buffer[] = []
  let from = 0
  for (const { start, end } of findModels(body, contentType)) {
    pieces.push(body.subarray(from, start), name)
    from = end
  }
  if (from > 0) return [...pieces, body.subarray(from)]
  const delimiter = toDelimiter(contentType)
  const first = body.indexOf(delimiter)
  if (first === -1) return [body]
  const head = Buffer.from('\r\nContent-Disposition: form-data; name="model"\r\n\r\n')
  return [body.subarray(0, first), delimiter, head, name, Buffer.from('\r\n'), body.subarray(first)]
}

function toDelimiter(contentType: string): Buffer {
  const [, quoted, plain] = /boundary=(?:"([^"]{1,70})"|([^\s;]{1,70}))/i.exec(contentType) ?? []
  const boundary = quoted ?? plain
  if (boundary === undefined)
    throw new BadRequestError('The multipart body has no boundary in its content type.')
  return Buffer.from(`--${boundary}`)
}

function findModels(body: Buffer, contentType: string): FieldSpan[] {
  const delimiter = toDelimiter(contentType)
  const found: FieldSpan[] = []
  for (let at = body.indexOf(delimiter); at !== -1; ) {
    const headersEnd = body.indexOf('\r\n\r\n', at)
    if (headersEnd === -1) break
    const next = body.indexOf(delimiter, headersEnd)
    const headers = body.toString('latin1', at, Math.min(headersEnd, at + 4096))
    if (next !== -1 && /;\s*name="?model"?\s*(;|\r|$)/i.test(headers) && !/filename/i.test(headers))
      found.push({ start: headersEnd + 4, end: next - 2 })
    at = next
  }
  return found
}
