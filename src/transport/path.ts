import { BadRequestError } from '../errors.ts'

/** A part of a path without its escapes. @throws {@link BadRequestError} 400 when they are not UTF-8 */
export function decodePath(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch (cause) {
    throw new BadRequestError('The path cannot be decoded.', { cause })
  }
}
