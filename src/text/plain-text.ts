// Taking control characters out is the purpose of these expressions.
// biome-ignore-start lint/suspicious/noControlCharactersInRegex: see above
const UNSAFE = /[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/
const UNSAFE_ALL = new RegExp(UNSAFE, 'g')
/**
 * Terminal sequences: CSI (colours, cursor), then the strings that run to a terminator (OSC titles and
 * clipboard, DCS, APC, PM, SOS), then the short ones. No class contains its own introducer, so a hostile
 * line costs linear time.
 */
const SEQUENCES =
  /(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x80-\x9f]*(?:\x07|\x1b\\|\x9c)|\x1b[ -/]*[0-~]/g
// biome-ignore-end lint/suspicious/noControlCharactersInRegex: see above

/**
 * Text that is safe on a terminal, in a log and on a page: without escape sequences, C0 (except tab), DEL,
 * C1, bidirectional controls and the separators U+2028 and U+2029. Everything else is kept as it is.
 */
export function toPlainText(text: string): string {
  return UNSAFE.test(text) ? text.replace(SEQUENCES, '').replace(UNSAFE_ALL, '') : text
}

/** The same for a text of several lines: line ends stay. */
export function toPlainLines(text: string): string {
  return text.includes('\n') ? text.split('\n').map(toPlainText).join('\n') : toPlainText(text)
}

/** The first `max` characters of a text, as a copy: a part of a text keeps the whole text in memory. */
export function toShortText(text: string, max: number): string {
  return text.length <= max ? text : Buffer.from(text.slice(0, max)).toString()
}
