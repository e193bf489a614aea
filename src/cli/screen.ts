import { onEndingSignal } from './ending-signal.ts'
import type { Terminal } from './print.ts'

/** The window of a terminal, taken for oneself: what was in it before comes back in the end. */
export interface Screen {
  /** Shows these lines from the top, and nothing else. What does not fit is cut off. */
  draw(lines: readonly string[]): void
  /** Gives the window back. Idempotent. */
  close(): void
}

/** The second screen that terminals keep for this, without a cursor, and with lines that end at its edge. */
const ENTER = '\x1b[?1049h\x1b[?25l\x1b[?7l'
const LEAVE = '\x1b[?7h\x1b[?25h\x1b[?1049l'
/** Each line is written over the one of the look before, and what is left of that is cleared: nothing flickers. */
const TO_TOP = '\x1b[H'
const CLEAR_REST_OF_LINE = '\x1b[K'
const CLEAR_BELOW = '\x1b[J'

/** Opens the window. A signal that ends the program gives it back first, and then does what it always does. */
export function openScreen(terminal: Pick<Terminal, 'out' | 'size'>): Screen {
  let isOpen = true
  const close = () => {
    if (!isOpen) return
    isOpen = false
    signals[Symbol.dispose]()
    terminal.out(LEAVE)
  }
  const signals = onEndingSignal(close)
  terminal.out(ENTER)
  return {
    draw: (lines) => {
      const { columns, rows } = terminal.size()
      const shown = lines.slice(0, rows).map((line) => cut(line, columns) + CLEAR_REST_OF_LINE)
      terminal.out(TO_TOP + shown.join('\n') + CLEAR_BELOW)
    },
    close,
  }
}

/** A line that fits, colours and all; three dots stand for what does not. */
export function cut(line: string, columns: number): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours begin with one
  const parts = line.match(/\x1b\[[\d;]*m|./gsu) ?? []
  const isColour = (part: string) => part.startsWith('\x1b')
  if (parts.filter((part) => !isColour(part)).length <= columns) return line
  let left = columns - 1
  const kept = parts.filter((part) => isColour(part) || left-- > 0)
  // The colours that end there still must.
  const last = kept.findLastIndex((part) => !isColour(part))
  return kept.toSpliced(last + 1, 0, '…').join('')
}
