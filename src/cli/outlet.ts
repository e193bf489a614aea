import { fstatSync, writeSync } from 'node:fs'

/** Output that never blocks the process: lines that cannot be written are dropped and counted. */
export type Outlet = (text: string) => void

/** Buffer for a slow reader, in bytes; further lines are dropped. */
const MAX_UNWRITTEN_BYTES = 1_048_576

/**
 * Creates an outlet on standard output or standard error. A pipe and a terminal are written without blocking; a file is
 * written at once, and a full disk costs lines. `onDropped` is called when writing works again.
 */
export function createOutlet(
  stream: NodeJS.WriteStream,
  fd: 1 | 2,
  onDropped: (lines: number) => void,
): Outlet {
  const write = !stream.isTTY && isFile(fd) ? createFileWriter(fd) : createStreamWriter(stream)
  let dropped = 0
  return (text) => {
    if (!write(text)) {
      dropped += 1
      return
    }
    if (dropped === 0) return
    const lines = dropped
    dropped = 0
    onDropped(lines)
  }
}

/** Files, and devices other than terminals: the system cannot write them without waiting. */
function isFile(fd: number): boolean {
  try {
    const stat = fstatSync(fd)
    return stat.isFile() || stat.isCharacterDevice()
  } catch {
    return false
  }
}

function createFileWriter(fd: number): (text: string) => boolean {
  /** A line was written only in part: the next one begins on a new line. */
  let isTorn = false
  return (text) => {
    const bytes = Buffer.from(isTorn ? `\n${text}` : text)
    let written = 0
    try {
      while (written < bytes.length) written += writeSync(fd, bytes, written)
      isTorn = false
      return true
    } catch {
      isTorn ||= written > 0
      return false
    }
  }
}

function createStreamWriter(stream: NodeJS.WriteStream): (text: string) => boolean {
  // Node writes to a terminal with blocking calls, so that Ctrl-S would stop the whole process.
  ;(stream as { _handle?: { setBlocking?(isBlocking: boolean): void } })._handle?.setBlocking?.(false)
  return (text) => {
    if (stream.destroyed || stream.writableLength > MAX_UNWRITTEN_BYTES) return false
    stream.write(text)
    return true
  }
}
