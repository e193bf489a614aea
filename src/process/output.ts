import type { Readable } from 'node:stream'
import { type Observable, Subject } from 'rxjs'
import { type Clock, systemClock } from '../clock.ts'
import { splitStyles, type TextStyle } from '../text/styled-text.ts'

/** Which pipe a line came from. */
export type OutputStream = 'stdout' | 'stderr'

/** One line a child printed, made safe to show. */
export interface OutputLine {
  readonly stream: OutputStream
  /** Without its line end and without control characters. */
  readonly text: string
  /** Parts that have a colour or another look on a terminal; absent: none. */
  readonly styles?: readonly TextStyle[]
  /** When its end was read, in milliseconds of the output's clock: good for differences, not a date. */
  readonly atMs: number
}

/** How much of a child's output is kept. */
export interface OutputOptions {
  /** Lines in the tail. @default 200 */
  readonly maxLines?: number
  /** A longer line is cut into pieces of at most this size, in bytes. @default 8_192 */
  readonly maxLineBytes?: number
  /** Text in the tail, in bytes of UTF-8. @default 65_536 */
  readonly maxTailBytes?: number
  /** @default the host's clock */
  readonly clock?: Clock
  /** Masks secrets in a line. @default nothing */
  readonly clean?: (text: string) => string
}

/** What one child prints, for a reader. */
export interface ServiceOutput {
  /** Every line from now on; completes when the output is closed. Nothing is replayed. */
  readonly lines$: Observable<OutputLine>
  /** The last lines, oldest first. @default count: everything kept */
  tail(count?: number): readonly OutputLine[]
  /** Lines that are no longer in the tail. */
  readonly droppedLines: number
}

/** Everything one child prints: read always, kept in part. */
export interface Output extends ServiceOutput {
  /** Reads `pipe` to its end, also without a listener: a child with a full pipe blocks. */
  attach(stream: OutputStream, pipe: Readable): void
  /** Ends every line that is still open and completes `lines$`. The tail stays readable. */
  close(): void
}

/** After a read of this size, in bytes, others get a turn: a pipe that is always full would be read without end. */
const LARGE_BYTES = 16_384
/** Line ends that are taken in one turn: a chunk of blank lines has 65,536. */
const MAX_LINES_PER_TURN = 1_000
/** What a styled part counts in the tail. */
const STYLE_BYTES = 64
const NOTHING = Buffer.alloc(0)
const LF = 0x0a
const CR = 0x0d

/**
 * Splits output into lines, makes them safe and keeps the last of them. LF, CRLF and a lone CR end a line,
 * so a progress bar is a row of lines. Bytes that are not UTF-8 become U+FFFD.
 */
export function createOutput({
  maxLines = 200,
  maxLineBytes = 8_192,
  maxTailBytes = 65_536,
  clock = systemClock,
  clean,
}: OutputOptions = {}): Output {
  const lines = new Subject<OutputLine>()
  const kept: { readonly line: OutputLine; readonly bytes: number }[] = []
  const finishers: (() => void)[] = []
  let keptBytes = 0
  let droppedLines = 0
  let isClosed = false

  const print = (stream: OutputStream, bytes: Buffer) => {
    const { text: plain, styles } = splitStyles(bytes.toString('utf8'))
    const text = clean?.(plain) ?? plain
    // Where a secret was masked the places are others.
    const looks = styles === undefined || text !== plain ? undefined : { styles }
    const line = { stream, text, ...looks, atMs: clock.now() }
    const size = Buffer.byteLength(line.text) + STYLE_BYTES * (styles?.length ?? 0)
    kept.push({ line, bytes: size })
    keptBytes += size
    while (kept.length > maxLines || keptBytes > maxTailBytes) {
      keptBytes -= kept.shift()?.bytes ?? 0
      droppedLines += 1
    }
    lines.next(line)
  }

  return {
    lines$: lines.asObservable(),
    tail: (count = maxLines) => kept.slice(Math.max(0, kept.length - count)).map(({ line }) => line),
    get droppedLines() {
      return droppedLines
    },
    attach(stream, pipe) {
      const splitter = createSplitter(maxLineBytes, clean, (bytes) => print(stream, bytes))
      /** The part of the last chunk that waits for a later turn. */
      let rest: Buffer = NOTHING
      const takeRest = () => {
        if (rest.length > 0) rest = splitter.write(rest)
        if (rest.length > 0) setImmediate(takeRest)
        else pipe.resume()
      }
      const finish = () => {
        while (rest.length > 0) rest = splitter.write(rest)
        splitter.flush()
      }
      finishers.push(finish)
      pipe.on('data', (chunk: Buffer) => {
        if (isClosed) return
        const isWaiting = rest.length > 0
        // Node itself resumes the pipes of a child that has ended.
        rest = isWaiting ? Buffer.concat([rest, chunk]) : splitter.write(chunk)
        if (rest.length === 0 && chunk.length < LARGE_BYTES) return
        pipe.pause()
        if (!isWaiting) setImmediate(takeRest)
      })
      pipe.on('end', finish)
      // A pipe that breaks has nothing more to say; how the child ends is learnt from its exit.
      pipe.on('error', () => {})
    },
    close() {
      if (isClosed) return
      for (const finish of finishers) finish()
      isClosed = true
      lines.complete()
    },
  }
}

/** How far beyond a cut is looked, in bytes: what is to be taken out may lie on both sides of it. */
const OVERLAP_BYTES = 8_192

/** Cuts bytes at line ends, and at `maxLineBytes` where none comes. Holds at most one such piece and an overlap. */
function createSplitter(
  maxLineBytes: number,
  clean: ((text: string) => string) | undefined,
  print: (bytes: Buffer) => void,
) {
  const overlapBytes = clean === undefined ? 0 : OVERLAP_BYTES
  let held: Buffer = Buffer.alloc(0)
  let isAfterCr = false

  /** Masks secrets in the next piece together with the overlap, so that a cut does not hide one. */
  const cleanAhead = () => {
    if (clean === undefined) return
    const end = findCharacterStart(held, Math.min(held.length, maxLineBytes + overlapBytes))
    const text = held.toString('utf8', 0, end)
    const cleaned = clean(text)
    if (cleaned !== text) held = Buffer.concat([Buffer.from(cleaned), held.subarray(end)])
  }
  /** Prints every full piece that has `restBytes` behind it. */
  const cutPieces = (restBytes: number) => {
    while (held.length > maxLineBytes + restBytes) {
      cleanAhead()
      const cut = findCharacterStart(held, maxLineBytes)
      print(held.subarray(0, cut))
      held = held.subarray(cut)
    }
  }
  const endLine = () => {
    cutPieces(0)
    print(held)
    held = Buffer.alloc(0)
  }
  const flush = () => {
    if (held.length > 0) endLine()
  }
  /** Adds bytes without a line end; prints every full piece but the last. */
  const extend = (bytes: Buffer) => {
    held = held.length === 0 ? bytes : Buffer.concat([held, bytes])
    cutPieces(overlapBytes)
  }
  /** Takes a chunk up to a bounded number of line ends, and returns the rest of it. */
  const write = (chunk: Buffer): Buffer => {
    let start = 0
    let lines = 0
    for (let at = 0; at < chunk.length; at += 1) {
      const byte = chunk[at]
      if (byte !== LF && byte !== CR) continue
      const isSecondHalf = byte === LF && at === start && (at > 0 ? chunk[at - 1] === CR : isAfterCr)
      if (!isSecondHalf) {
        extend(chunk.subarray(start, at))
        endLine()
      }
      start = at + 1
      lines += 1
      if (lines < MAX_LINES_PER_TURN) continue
      isAfterCr = byte === CR
      return chunk.subarray(start)
    }
    isAfterCr = chunk[chunk.length - 1] === CR
    extend(chunk.subarray(start))
    // A copy, so that a short rest does not keep the whole chunk in memory.
    held = Buffer.from(held)
    return NOTHING
  }
  return { write, flush }
}

/** The cut at or up to three bytes before `at` that does not split a character of UTF-8. */
function findCharacterStart(bytes: Buffer, at: number): number {
  for (let cut = at; cut > Math.max(0, at - 4); cut -= 1) {
    if (((bytes[cut] ?? 0) & 0xc0) !== 0x80) return cut
  }
  return at
}
