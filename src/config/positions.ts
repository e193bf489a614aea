import JSON5 from 'json5'

/** A place in a text, both numbers 1-based, columns in UTF-16 units. */
export interface Position {
  readonly line: number
  readonly column: number
  /** The included file that the place is in. Absent: the configuration file itself. */
  readonly file?: string
}

/** One value of a JSON5 text. */
export interface Entry extends Position {
  /** The key was already there before: JSON5 lets the last one win. */
  readonly isDuplicate: boolean
  /** What is inside, by key or index; absent for a scalar. */
  readonly entries?: ReadonlyMap<string, Entry>
}

/**
 * Finds where each value of a JSON5 text begins: at its key in an object, at the value itself in an array.
 * The text must be one that `JSON5.parse` accepts; of any other the result means nothing. `file` names an included file.
 */
export function scanPositions(text: string, file?: string): Entry {
  const inFile = file === undefined ? {} : { file }
  const root: OpenEntry = { ...inFile, line: 1, column: 1, isDuplicate: false, entries: new Map() }
  // The text's one value is held as the only element of an imaginary array around it.
  const open: Container[] = [{ entry: root, isArray: true }]
  let line = 1
  let lineStart = 0

  for (const { 0: token, index } of text.matchAll(TOKEN)) {
    const at: Position = { ...inFile, line, column: index - lineStart + 1 }
    const container = open.at(-1)
    if (container === undefined) break
    if (token === '}' || token === ']') open.pop()
    else if (isValueOrKey(token)) {
      if (!container.isArray && container.key === undefined) container.key = { name: toKey(token), at }
      else {
        const entry = addEntry(container, at, token)
        if (token === '{' || token === '[') open.push({ entry, isArray: token === '[' })
      }
    }
    for (let end = token.indexOf('\n'); end !== -1; end = token.indexOf('\n', end + 1)) {
      line += 1
      lineStart = index + end + 1
    }
  }
  return root.entries?.get('0') ?? root
}

/** The place of a path, or of the nearest thing around it that is in the text. */
export function findPosition(root: Entry, path: readonly PropertyKey[]): Position {
  let entry = root
  for (const key of path) {
    const next = entry.entries?.get(String(key))
    if (next === undefined) break
    entry = next
  }
  const { line, column, file } = entry
  return { line, column, ...(file === undefined ? {} : { file }) }
}

interface OpenEntry extends Entry {
  readonly entries?: Map<string, Entry>
}

interface Container {
  readonly entry: OpenEntry
  readonly isArray: boolean
  /** The key whose value comes next. */
  key?: { readonly name: string; readonly at: Position }
}

/** White space, comments, strings, punctuation, and words: identifiers, numbers, literals. */
export const TOKEN =
  /\s+|\/\/[^\n\r\u2028\u2029]*|\/\*.*?\*\/|"[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*'|[{}[\],:]|[^\s{}[\],:"'/]+/gs

/** Whether a token is a key, a scalar or the beginning of a container, and no space, comment or separator. */
export function isValueOrKey(token: string): boolean {
  return !/^[\s/,:]/.test(token)
}

function addEntry(container: Container, at: Position, token: string): OpenEntry {
  const { entry: parent, isArray, key } = container
  const name = isArray ? String(parent.entries?.size ?? 0) : (key?.name ?? '')
  const isDuplicate = parent.entries?.has(name) ?? false
  const entry: OpenEntry = {
    ...(key?.at ?? at),
    isDuplicate,
    ...(token === '{' || token === '[' ? { entries: new Map<string, Entry>() } : {}),
  }
  parent.entries?.set(name, entry)
  delete container.key
  return entry
}

/** The key a token stands for. JSON5 itself reads the escapes, so that both agree on every spelling. */
export function toKey(token: string): string {
  const isQuoted = token.startsWith('"') || token.startsWith("'")
  if (!token.includes('\\')) return isQuoted ? token.slice(1, -1) : token
  return Object.keys(JSON5.parse<object>(`{${token}:0}`))[0] ?? ''
}
