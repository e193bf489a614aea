import { byteOf } from './bytes.ts'
import type { JsonChild, JsonNode, JsonSpan } from './node.ts'

/** Bytes in the order they are sent. They share memory with the body wherever it was not changed. */
export interface Pieces {
  readonly pieces: readonly Buffer[]
  readonly byteLength: number
}

/** Writes a tree as bytes. Neighbouring spans of one source become one piece, so an unchanged tree is one piece. */
export function writePieces(root: JsonNode): Pieces {
  const writer = createPieceWriter()
  writeNode(writer, root)
  return writer.finish()
}

/** {@link writePieces} with the white space that the source has around the root. */
export function writeWholePieces(root: JsonSpan): Pieces {
  const writer = createPieceWriter()
  writer.slice(root.source, 0, root.start)
  writeNode(writer, root)
  writer.slice(root.source, root.end, root.source.length)
  return writer.finish()
}

interface PieceWriter {
  slice(source: Buffer, start: number, end: number): void
  finish(): Pieces
}

function createPieceWriter(): PieceWriter {
  const pieces: Buffer[] = []
  let byteLength = 0
  let source = NOTHING
  let start = 0
  let end = 0

  function flush(): void {
    if (start === end) return
    pieces.push(source.subarray(start, end))
    byteLength += end - start
  }

  return {
    slice(from, sliceStart, sliceEnd) {
      if (sliceStart === sliceEnd) return
      if (from === source && sliceStart === end) {
        end = sliceEnd
        return
      }
      flush()
      source = from
      start = sliceStart
      end = sliceEnd
    },
    finish() {
      flush()
      return { pieces, byteLength }
    },
  }
}

function writeNode(writer: PieceWriter, node: JsonNode): void {
  if ('text' in node) {
    writeWhole(writer, quotes)
    for (const piece of node.text) writeWhole(writer, piece)
    writeWhole(writer, quotes)
    return
  }

  const { source, start, end, children } = node
  if (children === undefined || children.length === 0) {
    if (children === undefined || isBlank(node)) writer.slice(source, start, end)
    else writeWhole(writer, source[start] === byteOf.openBrace ? emptyObject : emptyArray)
    return
  }

  writer.slice(source, start, start + 1)
  children.forEach((child, index) => {
    if (index > 0) writeComma(writer, source, children[index - 1], child)
    writeChild(writer, node, child)
  })
  writer.slice(source, end - 1, end)
}

/** Two children that were neighbours keep their own comma, which joins their spans into one. */
function writeComma(
  writer: PieceWriter,
  source: Buffer,
  before: JsonChild | undefined,
  after: JsonChild,
): void {
  const end = before?.origin?.end
  if (end !== undefined && after.origin?.start === end + 1) writer.slice(source, end, end + 1)
  else writeWhole(writer, comma)
}

function writeChild(
  writer: PieceWriter,
  { source, start }: JsonSpan,
  { key, value, origin }: JsonChild,
): void {
  if (origin === undefined) {
    if (source[start] === byteOf.openBrace) writeWhole(writer, Buffer.from(`${JSON.stringify(key)}:`))
    writeNode(writer, value)
    return
  }
  if (key === origin.key) {
    writer.slice(source, origin.start, origin.valueStart)
  } else {
    writer.slice(source, origin.start, origin.keyStart)
    writeWhole(writer, Buffer.from(JSON.stringify(key)))
    writer.slice(source, origin.keyEnd, origin.valueStart)
  }
  writeNode(writer, value)
  writer.slice(source, origin.valueEnd, origin.end)
}

function writeWhole(writer: PieceWriter, bytes: Buffer): void {
  writer.slice(bytes, 0, bytes.length)
}

/** Whether a container holds nothing but white space in its source: it came empty, and was not emptied. */
function isBlank({ source, start, end }: JsonSpan): boolean {
  return source.subarray(start + 1, end - 1).every((byte) => byte <= 0x20)
}

const NOTHING: Buffer = Buffer.alloc(0)
const quotes = Buffer.from('"')
const comma = Buffer.from(',')
const emptyObject = Buffer.from('{}')
const emptyArray = Buffer.from('[]')
