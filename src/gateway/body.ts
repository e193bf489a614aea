import type { ServerResponse } from 'node:http'
import { BadRequestError } from '../errors.ts'
import type { Reservation } from './body-budget.ts'

/**
 * Reads the body of the request that is being answered, whole. A client that waits to be asked for it is asked when
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
    // Node lets no body be longer than announced, so what is announced is reserved once; only chunks come as they will.
    reservation?.grow(announced)
    if (request.headers.expect !== undefined) response.writeContinue()
    const chunks: Buffer[] = []
    let size = 0
    request.on('data', (chunk: Buffer) => {
      size += chunk.length
      try {
        if (size > maxBytes) throw tooLarge()
        if (announced === 0) reservation?.grow(chunk.length)
        chunks.push(chunk)
      } catch (error) {
        chunks.length = 0
        request.removeAllListeners('data')
        request.resume()
        reject(error)
      }
    })
    const onError = (cause: Error) => reject(new BadRequestError('The request body broke off.', { cause }))
    request.once('end', () => {
      // Listeners live as long as the request, until the answer has ended, and these would keep the body.
      request.removeAllListeners('data')
      request.on('error', ignore).off('error', onError)
      resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, size))
    })
    request.once('error', onError)
  })
}

const ignore = () => {}

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
