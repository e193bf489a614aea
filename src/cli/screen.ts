import { onEndingSignal } from './ending-signal.ts'
import type { Terminal } from './terminal.ts'

/** The alternate screen of a terminal: its previous content returns at the end. */
export interface Screen {
  /** Shows these lines from the top. Lines that do not fit are cut off. */
  draw(lines: readonly string[]): void
  /** Restores the window. Idempotent. */
  close(): void
}

/** Alternate screen, no cursor, no line wrap. */
const ENTER = '\x1b[?1049h\x1b[?25l\x1b[?7l'
const LEAVE = '\x1b[?7h\x1b[?25h\x1b[?1049l'
/** Each line overwrites the previous one and clears its rest: nothing flickers. */
const TO_TOP = '\x1b[H'
const CLEAR_REST_OF_LINE = '\x1b[K'
const CLEAR_BELOW = '\x1b[J'

/** Opens the screen. A signal that ends the program restores the window first, and then has its usual effect. */
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

/** A line that fits, including its colours; three dots replace the rest. */
export function cut(line: string, columns: number): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours begin with one
  const parts = line.match(/\x1b\[[\d;]*m|./gsu) ?? []
  const isColour = (part: string) => part.startsWith('\x1b')
  if (parts.filter((part) => !isColour(part)).length <= columns) return line
  let left = columns - 1
  const kept = parts.filter((part) => isColour(part) || left-- > 0)
  // Colours must still be reset.
  const last = kept.findLastIndex((part) => !isColour(part))
  return kept.toSpliced(last + 1, 0, '…').join('')
}
