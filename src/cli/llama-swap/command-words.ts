import { split } from 'shlex'

/**
 * The words of a command as llama-swap reads them: a line that begins with `#` is a comment, a backslash at its end
 * goes on, quotes are those of a shell. Nothing else of a shell is there: no variables, pipes or globs.
 * @throws {Error} where a quote does not end.
 */
export function toCommandWords(text: string): readonly string[] {
  const lines = text
    .split('\n')
    .filter((line) => !line.trim().startsWith('#'))
    .map((line) => (line.trimEnd().endsWith('\\') ? `${line.trimEnd().slice(0, -1)} ` : line))
  return split(lines.join('\n'))
}

/** An option and the value that follows it, by any of its names; `at` is where it begins. */
export function findOption(
  words: readonly string[],
  names: readonly string[],
): { readonly at: number; readonly length: number; readonly value: string } | undefined {
  for (const [at, word] of words.entries()) {
    if (names.includes(word) && words[at + 1] !== undefined)
      return { at, length: 2, value: words[at + 1] ?? '' }
    const equals = word.indexOf('=')
    if (equals > 0 && names.includes(word.slice(0, equals)))
      return { at, length: 1, value: word.slice(equals + 1) }
  }
  return undefined
}

/** The words without an option. */
export function withoutOption(
  words: readonly string[],
  option: { readonly at: number; readonly length: number } | undefined,
): readonly string[] {
  return option === undefined ? words : words.toSpliced(option.at, option.length)
}
