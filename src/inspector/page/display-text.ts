/** `0.4 s`, `12 s`, then `3:05`: short enough for a row. */
export function formatLeft(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1_000))
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
  return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} min`
}

/** `340 ms`, `4.2 s`, `38 s`, `2 min 5 s`. */
export function formatSpan(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`
  const seconds = ms / 1_000
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`
  if (seconds < 59.5) return `${Math.round(seconds)} s`
  const whole = Math.round(seconds)
  return `${Math.floor(whole / 60)} min ${whole % 60} s`
}

export function formatSize(bytes: number): string {
  const mebibytes = bytes / 1_048_576
  return mebibytes < 1_000 ? `${mebibytes.toFixed(0)} MiB` : `${(mebibytes / 1_024).toFixed(1)} GiB`
}

/** `a, b and c`. */
export function listNames(names: readonly string[]): string {
  return names.length < 2 ? (names[0] ?? '') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`
}

/** Time of day, `14:32:10`; with its milliseconds where they matter. */
export function formatClock(wallMs: number, hasMs = false): string {
  const date = new Date(wallMs)
  const two = (number: number) => String(number).padStart(2, '0')
  const text = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
  return hasMs ? `${text}.${String(date.getMilliseconds()).padStart(3, '0')}` : text
}

/** `queue full` of `LEASEHOLD_QUEUE_FULL`. */
export function describeCode(code: string): string {
  return code
    .replace(/^LEASEHOLD_/, '')
    .toLowerCase()
    .replaceAll('_', ' ')
}
