import type { ServerResponse } from 'node:http'
import { BadRequestError } from '../errors.ts'

/**
 * Reads the body of the request that is being answered, whole. A client that waits to be asked for it is asked when
 * what it announces is acceptable.
 * @throws {@link BadRequestError} 413 when it is larger than `maxBytes`, announced or not; 400 when it breaks off.
 */
export function readBody(response: ServerResponse, maxBytes: number): Promise<Buffer> {
  const request = response.req
  return new Promise((resolve, reject) => {
    const tooLarge = () =>
      new BadRequestError(`The request body is larger than ${maxBytes} bytes.`, { status: 413 })
    if (Number(request.headers['content-length'] ?? 0) > maxBytes) return reject(tooLarge())
    if (request.headers.expect !== undefined) response.writeContinue()
    const chunks: Buffer[] = []
    let size = 0
    request.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > maxBytes) return reject(tooLarge())
      chunks.push(chunk)
    })
    request.once('end', () =>
      resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, size)),
    )
    request.once('error', (cause) => reject(new BadRequestError('The request body broke off.', { cause })))
  })
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
