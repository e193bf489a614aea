import type { IncomingMessage, ServerResponse } from 'node:http'
import { BadRequestError } from '../errors.ts'
import { createJsonCheck, type JsonCheck } from '../json/check.ts'
import type { Reservation } from './body-budget.ts'

/** This much of a body is read in one turn of the event loop, in bytes: other requests get their turn in between. */
const MAX_BYTES_PER_TURN = 262_144

/**
 * Reads the body of the request that is being answered, whole. JSON that comes in several chunks is checked as they
 * come: `checkJson` knows the result. A client that waits to be asked for it is asked when
 * what it announces is acceptable.
 * @throws {@link BadRequestError} 413 when it is larger than `maxBytes`, announced or not; 400 when it breaks off.
 * {@link OverloadedError} when `reservation` does not allow as much.
 */
export function readBody(
  response: ServerResponse,
  maxBytes: number,
  reservation?: Reservation,
): Promise<Buffer> {
  const request = response.req
  return new Promise((resolve, reject) => {
    const tooLarge = () =>
      new BadRequestError(`The request body is larger than ${maxBytes} bytes.`, { status: 413 })
    const announced = Number(request.headers['content-length'] ?? 0)
    if (announced > maxBytes) return reject(tooLarge())
    // Node enforces an announced length, so it is reserved once; only a chunked body is reserved piece by piece.
    reservation?.grow(announced)
    if (request.headers.expect !== undefined) response.writeContinue()
    const parts = collectParts(announced, isJson(request))
    let turnBytes = 0
    request.on('data', (chunk: Buffer) => {
      try {
        if (parts.size() + chunk.length > maxBytes) throw tooLarge()
        if (announced === 0) reservation?.grow(chunk.length)
        parts.add(chunk)
      } catch (error) {
        request.removeAllListeners('data')
        request.resume()
        return reject(error)
      }
      turnBytes += chunk.length
      if (turnBytes < MAX_BYTES_PER_TURN) return
      turnBytes = 0
      request.pause()
      setImmediate(() => request.resume())
    })
    const onError = (cause: Error) => reject(new BadRequestError('The request body broke off.', { cause }))
    request.once('end', () => {
      // Listeners live as long as the request, until the answer has ended, and these would keep the body.
      request.removeAllListeners('data')
      request.on('error', ignore).off('error', onError)
      const body = parts.join()
      // A large one is put together in this turn, and rewritten and sent in the next.
      if (body.length < MAX_BYTES_PER_TURN) resolve(body)
      else setImmediate(resolve, body)
    })
    request.once('error', onError)
  })
}

const ignore = () => {}

function isJson({ headers }: IncomingMessage): boolean {
  return /^application\/json\b/i.test(headers['content-type'] ?? '')
}

/** The chunks of a body. One whose length is known is put together as they come, and JSON is checked as they come. */
interface Parts {
  size(): number
  add(chunk: Buffer): void
  join(): Buffer
}

function collectParts(announced: number, isChecked: boolean): Parts {
  const chunks: Buffer[] = []
  let size = 0
  let whole: Buffer | undefined
  let check: JsonCheck | undefined
  const addLater = (chunk: Buffer, [first]: readonly Buffer[]) => {
    if (first !== undefined && isChecked && check === undefined) {
      check = createJsonCheck()
      check.push(first)
    }
    check?.push(chunk)
    if (announced === 0) return void chunks.push(chunk)
    if (whole === undefined) {
      whole = Buffer.allocUnsafeSlow(announced)
      first?.copy(whole)
      chunks.length = 0
    }
    chunk.copy(whole, size)
  }
  return {
    size: () => size,
    add: (chunk) => {
      // A body that comes in one chunk is neither copied nor checked here.
      if (size === 0) chunks.push(chunk)
      else addLater(chunk, chunks)
      size += chunk.length
    },
    join: () => {
      const [first] = chunks
      const body = whole ?? (first !== undefined && chunks.length === 1 ? first : Buffer.concat(chunks, size))
      check?.finish(body)
      return body
    },
  }
}

/** Parses a small JSON body of the control surface; an empty one is an empty object. */
export async function readJsonBody(response: ServerResponse): Promise<Readonly<Record<string, unknown>>> {
  const text = (await readBody(response, 65_536)).toString('utf8')
  try {
    const value: unknown = text.trim() === '' ? {} : JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value }
  } catch (cause) {
    throw new BadRequestError('The request body is not JSON.', { cause })
  }
  throw new BadRequestError('The request body must be a JSON object.')
}
