/** What a line of output says was wrong. `other`: it names an error that no pattern here knows. */
export type TellingCause =
  | 'memory'
  | 'library'
  | 'port'
  | 'port-permission'
  | 'format'
  | 'argument'
  | 'module'
  | 'program'
  | 'file'
  | 'permission'
  | 'other'

/** The line of a process's output that says why it ended. */
export interface TellingLine {
  readonly cause: TellingCause
  /** Without the time stamp that the server put before it. */
  readonly line: string
}

/**
 * What servers print, the most telling first: one failure is followed by lines that only say that something failed, and
 * a full GPU is followed by a file that "could not be loaded".
 */
const PATTERNS: readonly (readonly [TellingCause, RegExp])[] = [
  [
    'memory',
    /out of memory|OutOfMemory|failed to allocate|unable to allocate|cannot allocate memory|not enough (gpu |free )?memory|insufficient memory|No available memory for the cache blocks|Free memory on device.* is less than/i,
  ],
  [
    'library',
    /error while loading shared libraries|cannot open shared object file|Library not loaded|image not found/i,
  ],
  ['port', /EADDRINUSE|address (is )?already in use|couldn't bind HTTP server socket/i],
  [
    'format',
    /failed to read magic|invalid magic|bad magic|unknown model architecture|not a (valid )?GGUF|model is corrupted or incomplete|HeaderTooLarge|InvalidHeaderDeserialization/i,
  ],
  [
    'argument',
    /invalid argument|(unrecognized|unexpected|unknown) (argument|option)|unrecognized arguments|(invalid|illegal) option|error: argument |invalid value .* for|the following arguments are required|Found argument .* which wasn't expected/i,
  ],
  ['module', /ModuleNotFoundError|No module named|Cannot find module|ERR_MODULE_NOT_FOUND/],
  ['program', /command not found|: not found$|exec format error|Illegal instruction/i],
  [
    'file',
    /No such file or directory|FileNotFoundError|ENOENT|does not exist|Repository Not Found|is not a local folder|can't open file/i,
  ],
  [
    'permission',
    /permission denied|EACCES|EPERM|Operation not permitted|GatedRepoError|401 Client Error|403 Client Error/i,
  ],
]

/** A line that only may be about the failure: without a word of error it is none. */
const COMPLAINT =
  /\b(error|fatal|fail(ed|ure)?|exception|panic(ked)?|cannot|can't|could ?n[o']t|unable|invalid|abort(ed)?)\b|Error\b/i
/** The last line of a Python traceback, which has the exception. */
const EXCEPTION = /^[\w.]*(Error|Exception|Interrupt)\b:? /

/** Causes that a pattern finds in harmless lines, too: there the line must complain. */
const WEAK: ReadonlySet<TellingCause> = new Set(['file', 'permission', 'argument', 'memory'])
/** A line of the shell or of libc names no error in a word: `sh: 1: serve: not found`, `x: No such file or directory`. */
const SHELL = /^[^\s:]+: /

/** Finds the line that says why a process ended; `undefined`: none of them says anything of an error. */
export function findTellingLine(lines: readonly string[]): TellingLine | undefined {
  const texts = lines.map((line) => withoutStamp(line.slice(0, MAX_LOOK))).filter((line) => line !== '')
  for (const [cause, pattern] of PATTERNS) {
    const line = texts.find((text) => pattern.test(text) && (!WEAK.has(cause) || isComplaint(text)))
    if (line !== undefined) return { cause, line: cut(line) }
  }
  const line = texts.findLast((text) => EXCEPTION.test(text)) ?? texts.find((text) => COMPLAINT.test(text))
  return line === undefined ? undefined : { cause: 'other', line: cut(line) }
}

function isComplaint(text: string): boolean {
  return !/\bwarn/i.test(text) && (COMPLAINT.test(text) || SHELL.test(text))
}

/** Causes that the same start meets again: only a change by hand cures them. */
const LASTING: ReadonlySet<TellingCause> = new Set([
  'library',
  'port-permission',
  'format',
  'argument',
  'module',
  'program',
  'file',
])

/** Whether the same start would fail again for the same reason. */
export function isLastingCause(telling: TellingLine | undefined): boolean {
  return telling !== undefined && LASTING.has(telling.cause)
}

/** `0.00.038.140 E `, `2026-01-01 10:00:00,123 `, `[10:00:00] `: when, and how loud. */
function withoutStamp(line: string): string {
  return line
    .trim()
    .replace(/^(\d+(\.\d+){3} |\[?\d{4}-\d\d-\d\d[T ][\d:.,]+Z?\]? |\[?\d\d:\d\d:\d\d[\d.,]*\]? )/, '')
    .replace(/^[EWIF] (?=\S)/, '')
    .trim()
}

/** As much of a line is looked at, and as much of it is told, in characters. */
const MAX_LOOK = 1_000
const MAX_LENGTH = 300

function cut(line: string): string {
  return line.length > MAX_LENGTH ? `${line.slice(0, MAX_LENGTH)}…` : line
}
