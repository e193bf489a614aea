/** The bytes that give JSON its structure. */
export const byteOf = {
  quote: 0x22,
  comma: 0x2c,
  colon: 0x3a,
  backslash: 0x5c,
  openBracket: 0x5b,
  closeBracket: 0x5d,
  openBrace: 0x7b,
  closeBrace: 0x7d,
} as const

/** The offset of the first byte at or after `start` that is not JSON white space; the length when there is none. */
export function skipSpace(source: Buffer, start: number): number {
  let position = start
  for (;;) {
    const byte = source[position]
    if (byte === undefined || byte > 0x20) return position
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return position
    position += 1
  }
}
