const UNIT_MS = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000, ms: 1 } as const

/** A duration as a configuration writes it: `90s`, `10m`, `1h30m`, `1.5h`, `500ms`; each unit once, the largest first. */
export const DURATION_PATTERN = new RegExp(
  `^(?=\\d)${Object.keys(UNIT_MS)
    .map((unit) => `(?:(\\d+(?:\\.\\d+)?)${unit})?`)
    .join('')}$`,
)

/** The milliseconds of a text of the form of {@link DURATION_PATTERN}; `undefined` for any other text. */
export function toDurationMs(text: string): number | undefined {
  const amounts = DURATION_PATTERN.exec(text)?.slice(1)
  if (amounts === undefined) return undefined
  const ms = Object.values(UNIT_MS).reduce((sum, unit, index) => sum + Number(amounts[index] ?? 0) * unit, 0)
  // 0.0011 s is 1.1 ms in decimals and 1.0999… in binary: what is left of a millionth of a millisecond is no fraction.
  return Math.round(ms * 1e6) / 1e6
}

const UNIT_WORDS: readonly (readonly [RegExp, string])[] = [
  [/(?:milliseconds?|millis|msecs?)/g, 'ms'],
  [/(?:seconds?|secs?)/g, 's'],
  [/(?:minutes?|mins?)/g, 'm'],
  [/(?:hours?|hrs?)/g, 'h'],
  [/days?/g, 'd'],
]

/** The right spelling of a text that means a duration: `10m` for `10 min`, `1h30m` for `PT1H30M`. */
export function findDurationSpelling(text: string): string | undefined {
  const plain = text
    .toLowerCase()
    .replace(/[\s,]|and/g, '')
    .replace(/^p(?:t(?=\d))?(?=\d)/, '')
    .replace(/(?<=d)t(?=\d)/, '')
  const spelling = UNIT_WORDS.reduce((word, [pattern, unit]) => word.replace(pattern, unit), plain)
  return DURATION_PATTERN.test(spelling) ? spelling : undefined
}
