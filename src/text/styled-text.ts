import { toPlainText } from './plain-text.ts'

/** A colour that a terminal would show: one of eight, whatever shade a program asks for. */
export type TextColour = 'black' | 'red' | 'green' | 'yellow' | 'blue' | 'magenta' | 'cyan' | 'white'

/** How a part of a line looks on a terminal: from, to, and names of its looks (`red bold`). */
export type TextStyle = readonly [start: number, end: number, names: string]

/** A safe text, and how its parts look on a terminal. */
export interface StyledText {
  readonly text: string
  /** In their order, without overlaps; absent: the whole is plain. */
  readonly styles?: readonly TextStyle[]
}

const COLOURS: readonly TextColour[] = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white']
/** Parts of one line that have a look of their own; of more only the text is kept. */
const MAX_STYLES = 32
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is how such a sequence begins
const LOOK = /\x1b\[([\d;:]{0,64})m/g

/**
 * Takes the looks of a line (colours, bold, dim, italic, underlined) out of its text. The text is that of `toPlainText`
 * for its parts: no byte of a sequence is left in it. Backgrounds and inverted colours are left out: they could hide text.
 */
export function splitStyles(line: string): StyledText {
  if (!line.includes('\x1b[')) return { text: toPlainText(line) }
  const styles: TextStyle[] = []
  const look: Look = { colour: undefined, flags: new Set() }
  let text = ''
  const add = (part: string) => {
    const plain = toPlainText(part)
    const names = [...(look.colour === undefined ? [] : [look.colour]), ...look.flags].join(' ')
    if (plain !== '' && names !== '' && styles.length < MAX_STYLES)
      styles.push([text.length, text.length + plain.length, names])
    text += plain
  }
  let from = 0
  for (const { index, 0: whole, 1: codes = '' } of line.matchAll(LOOK)) {
    add(line.slice(from, index))
    from = index + whole.length
    applyCodes(look, codes)
  }
  add(line.slice(from))
  return styles.length === 0 ? { text } : { text, styles }
}

interface Look {
  colour: TextColour | undefined
  readonly flags: Set<string>
}

const FLAGS: Readonly<Record<number, string>> = { 1: 'bold', 2: 'dim', 3: 'italic', 4: 'underline' }
/** Codes that end one of them: 22 ends both bold and dim. */
const ENDS: Readonly<Record<number, readonly string[]>> = {
  22: ['bold', 'dim'],
  23: ['italic'],
  24: ['underline'],
}

function applyCodes(look: Look, text: string): void {
  const codes = text.split(/[;:]/).map(Number)
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at] ?? 0
    if (code === 0) {
      look.colour = undefined
      look.flags.clear()
    } else if (FLAGS[code] !== undefined) look.flags.add(FLAGS[code])
    else if (ENDS[code] !== undefined) for (const flag of ENDS[code]) look.flags.delete(flag)
    else if (code >= 30 && code <= 37) look.colour = COLOURS[code - 30]
    else if (code >= 90 && code <= 97) look.colour = COLOURS[code - 90]
    else if (code === 39) look.colour = undefined
    else if (code === 38 || code === 48) {
      const isTrue = codes[at + 1] === 2
      const colour = isTrue ? findColour(codes.slice(at + 2, at + 5)) : findNumbered(codes[at + 2] ?? 0)
      if (code === 38) look.colour = colour
      at += isTrue ? 4 : 2
    }
  }
}

/** A colour of the 256: the first are the eight and their bright shades, then a cube of six, then greys. */
function findNumbered(number: number): TextColour | undefined {
  if (number < 16) return COLOURS[number % 8]
  if (number >= 232) return undefined
  const at = number - 16
  return findColour([Math.floor(at / 36), Math.floor(at / 6) % 6, at % 6].map((part) => part * 51))
}

/** The nearest of the eight colours; `undefined`: a grey. */
function findColour(parts: readonly number[]): TextColour | undefined {
  const [red = 0, green = 0, blue = 0] = parts
  const [least, most] = [Math.min(red, green, blue), Math.max(red, green, blue)]
  if (most - least < 32) return undefined
  const middle = (least + most) / 2
  return COLOURS[(red > middle ? 1 : 0) + (green > middle ? 2 : 0) + (blue > middle ? 4 : 0)]
}
