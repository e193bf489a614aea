import type { ServerResponse } from 'node:http'

/** Up to this size a piece is copied into its frame, in bytes. */
const MAX_COPIED_BYTES = 4_096
const LINE_END = Buffer.from('\r\n')

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
  const head = `${length.toString(16)}\r\n`
  if (length > MAX_COPIED_BYTES) {
    response.write(head, 'latin1')
    response.write(piece)
    return response.write(LINE_END, onSent)
  }
  const frame = Buffer.allocUnsafe(head.length + length + LINE_END.length)
  frame.write(head, 'latin1')
  piece.copy(frame, head.length)
  LINE_END.copy(frame, head.length + length)
  return response.write(frame, onSent)
}
