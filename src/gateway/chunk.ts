import type { ServerResponse } from 'node:http'

/** Up to this size a piece is copied into its frame, in bytes. */
const MAX_COPIED_BYTES = 4_096
const LINE_END = Buffer.from('\r\n')
const [CR, LF] = [0x0d, 0x0a]
const HEX = Buffer.from('0123456789abcdef')

/**
 * Writes a piece of an answer's body. Chunks are framed here, so that an event of a stream leaves as one buffer: Node
 * would hand its size, the event and two line ends to the kernel as four. Every piece of an answer must be written with
 * this function, because Node may hold back a chunk that it frames itself until the end of the turn.
 * @returns as `response.write` does: `false` asks to wait for `drain`
 */
export function writeChunk(response: ServerResponse, piece: Buffer, onSent?: () => void): boolean {
  if (!response.chunkedEncoding || piece.length === 0) return response.write(piece, onSent)
  // Only for these writes: Node still ends the answer.
  response.chunkedEncoding = false
  const isHungry = writeFrame(response, piece, onSent)
  response.chunkedEncoding = true
  return isHungry
}

function writeFrame(response: ServerResponse, piece: Buffer, onSent?: () => void): boolean {
  const { length } = piece
  if (length > MAX_COPIED_BYTES) {
    response.write(`${length.toString(16)}\r\n`, 'latin1')
    response.write(piece)
    return response.write(LINE_END, onSent)
  }
  const digits = length < 0x10 ? 1 : length < 0x100 ? 2 : length < 0x1000 ? 3 : 4
  const frame = Buffer.allocUnsafe(digits + length + 2 * LINE_END.length)
  // Byte by byte: each call that copies two bytes would cost more than all of this.
  let at = 0
  for (let shift = 4 * (digits - 1); shift >= 0; shift -= 4) frame[at++] = HEX[(length >> shift) & 0xf] ?? 0
  frame[at++] = CR
  frame[at++] = LF
  frame.set(piece, at)
  at += length
  frame[at++] = CR
  frame[at] = LF
  return response.write(frame, onSent)
}
