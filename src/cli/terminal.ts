import { styleText } from 'node:util'
import type { Environment } from '../config/secrets.ts'
import { toPlainLines } from '../text/plain-text.ts'
import { createOutlet } from './outlet.ts'

/** Styles of a text, if colours are allowed. */
export type Style = 'bold' | 'dim' | 'green' | 'red' | 'yellow' | 'cyan'

/** The output of a command: results on `out`, diagnostics on `err`. */
export interface Terminal {
  readonly env: Environment
  /** Whether the results, or the diagnostics, go to a terminal. */
  readonly isOutInteractive: boolean
  readonly isErrInteractive: boolean
  /** The current size of the terminal; the window may change. */
  size(): { readonly columns: number; readonly rows: number }
  /** Writes text as it is. */
  out(text: string): void
  err(text: string): void
  /** A line of results. */
  line(text?: string): void
  /** One JSON document on a line of its own. */
  json(value: unknown): void
  /** A line of diagnostics. */
  note(text: string): void
  /** The text in a style; unchanged if results go to a file, `NO_COLOR` is set or the terminal is dumb. */
  paint(style: Style, text: string): string
  /** The same for a program that serves: its output never blocks it. Lines that cannot be written are dropped and counted. */
  unblocked?(): Terminal
}

/** A terminal on two streams. The caller handles a reader that has gone. */
export function createTerminal(
  stdout: NodeJS.WriteStream,
  stderr: NodeJS.WriteStream,
  env: Environment,
): Terminal {
  const out = (text: string) => void stdout.write(text)
  const err = (text: string) => void stderr.write(text)
  return buildTerminal(stdout, stderr, env, { out, err })
}

function buildTerminal(
  stdout: NodeJS.WriteStream,
  stderr: NodeJS.WriteStream,
  env: Environment,
  { out, err }: Pick<Terminal, 'out' | 'err'>,
): Terminal {
  const hasColour = stdout.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb'
  return {
    env,
    isOutInteractive: stdout.isTTY === true,
    // A terminal without a size reports 0.
    size: () => ({ columns: stdout.columns || 80, rows: stdout.rows || 24 }),
    isErrInteractive: stderr.isTTY === true && env.TERM !== 'dumb',
    out,
    err,
    line: (text = '') => out(`${text}\n`),
    json: (value) => out(`${escapeJson(JSON.stringify(value))}\n`),
    note: (text) => err(`${escapeText(text)}\n`),
    paint: (style, text) => (hasColour ? styleText(style, text, { validateStream: false }) : text),
    unblocked: () => {
      const tell = (name: string) => (lines: number) =>
        unblockedErr(`${lines} writes to ${name} were dropped: nothing took them\n`)
      const unblockedErr = createOutlet(stderr, 2, tell('stderr'))
      return buildTerminal(stdout, stderr, env, {
        out: createOutlet(stdout, 1, tell('stdout')),
        err: unblockedErr,
      })
    },
  }
}

/**
 * An equivalent JSON text without control characters and characters that change the direction of writing:
 * `JSON.stringify` escapes only the first 32.
 */
export function escapeJson(json: string): string {
  return json.replace(
    /[\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** Untrusted text without control characters, except line breaks and tabs. */
export function escapeText(text: string): string {
  return toPlainLines(text)
}

/** Rows as columns of equal width, two spaces apart. Colours belong around a whole row: they would count as width. */
export function formatTable(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = []
  for (const row of rows)
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length)
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}
