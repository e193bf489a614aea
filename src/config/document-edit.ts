import { isValueOrKey, TOKEN, toKey } from './positions.ts'

/** A value to be set in the text of a file. */
export interface Edit {
  /** Keys and indices from the root. What is missing on the way is made; an index may be that after the last item. */
  readonly path: readonly (string | number)[]
  /** JSON. */
  readonly value: unknown
}

/** A place that cannot be edited. */
export class EditError extends Error {
  override readonly name = 'EditError'
}

/**
 * Sets values in the text of a JSON5 file. Everything else stays as it is: comments, order, layout. A text that is plain
 * JSON stays plain JSON. The text must be one that `JSON5.parse` accepts and hold an object.
 * @throws {@link EditError} where the place is in a file that `$include` names, or inside of something that is no
 * container
 */
export function editDocument(text: string, edits: readonly Edit[]): string {
  const mark = text.startsWith('\uFEFF') ? '\uFEFF' : ''
  return mark + edits.reduce(applyEdit, text.slice(mark.length))
}

function applyEdit(text: string, { path, value }: Edit): string {
  const style = findStyle(text)
  let node = scanSpans(text)
  for (const [depth, key] of path.entries()) {
    const member = node.members?.get(String(key))
    if (member !== undefined) {
      node = member
      continue
    }
    if (node.members === undefined || node.isArray !== (typeof key === 'number'))
      throw new EditError(
        `${path.slice(0, depth).join('.')} holds no ${typeof key === 'number' ? 'list' : 'object'}`,
      )
    if (node.members.has('$include'))
      throw new EditError(`${path.slice(0, depth).join('.')} is in a file that $include names`)
    const inner = path.slice(depth + 1).reduceRight<unknown>((rest, next) => wrap(next, rest), value)
    return insert(text, node, node.isArray ? undefined : String(key), inner, style)
  }
  return text.slice(0, node.start) + format(value, style) + text.slice(node.end)
}

function wrap(key: string | number, value: unknown): unknown {
  return typeof key === 'number' ? [value] : { [key]: value }
}

/** One value of a text: from its first character to that after its last. */
interface Span {
  start: number
  end: number
  readonly isArray: boolean
  /** By key or index; absent for a scalar. */
  readonly members?: Map<string, Span>
  /** Of a member of an object: where its key begins. */
  readonly keyStart?: number
  /** Behind the comma after the last member. */
  afterComma?: number
}

function scanSpans(text: string): Span {
  const root: Span = { start: 0, end: text.length, isArray: true, members: new Map() }
  const open: { readonly span: Span; key?: { readonly name: string; readonly at: number } }[] = [
    { span: root },
  ]
  for (const { 0: token, index } of text.matchAll(TOKEN)) {
    const container = open.at(-1)
    if (container === undefined) break
    const { span: parent, key } = container
    if (token === '}' || token === ']') {
      parent.end = index + 1
      open.pop()
    } else if (token === ',') parent.afterComma = index + 1
    else if (isValueOrKey(token)) {
      if (!parent.isArray && key === undefined) {
        container.key = { name: toKey(token), at: index }
        continue
      }
      const isContainer = token === '{' || token === '['
      const span: Span = {
        start: index,
        end: index + token.length,
        isArray: token === '[',
        ...(isContainer ? { members: new Map() } : {}),
        ...(key === undefined ? {} : { keyStart: key.at }),
      }
      const name = key?.name ?? String(parent.members?.size ?? 0)
      // The last of duplicates is the one that counts, and the last in the order of the text.
      parent.members?.delete(name)
      parent.members?.set(name, span)
      delete parent.afterComma
      delete container.key
      if (isContainer) open.push({ span })
    }
  }
  return root.members?.get('0') ?? root
}

interface Style {
  readonly isJson: boolean
  readonly quote: string
  readonly newline: string
}

function findStyle(text: string): Style {
  const isJson = isPlainJson(text)
  const count = (quote: string) => text.split(quote).length
  return {
    isJson,
    quote: isJson || count('"') > count("'") ? '"' : "'",
    newline: text.includes('\r\n') ? '\r\n' : '\n',
  }
}

function isPlainJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** Adds a member at the end of an object, or an item at the end of a list. */
function insert(text: string, parent: Span, key: string | undefined, value: unknown, style: Style): string {
  const members = [...(parent.members?.values() ?? [])]
  const [first, last] = [members[0], members.at(-1)]
  const added = `${key === undefined ? '' : `${formatKey(key, style)}: `}${format(value, style)}`
  const close = parent.end - 1
  // Comments behind the last member stay with it.
  const tail = close - (/\s*$/.exec(text.slice(0, close))?.[0].length ?? 0)
  const inner = text.slice(parent.start + 1, close)
  if (first === undefined || last === undefined) {
    if (inner.trim() === '') return `${text.slice(0, parent.start + 1)} ${added} ${text.slice(close)}`
    const indent = `${indentOf(text, parent.start)}  `
    const end = `${style.newline}${indentOf(text, parent.start)}`
    return `${text.slice(0, tail)}${style.newline}${indent}${added}${end}${text.slice(close)}`
  }
  const firstAt = first.keyStart ?? first.start
  const isBroken = /[\r\n]/.test(text.slice(parent.start, firstAt))
  const hasComma = parent.afterComma !== undefined
  const separated = hasComma
    ? text.slice(0, tail)
    : `${text.slice(0, last.end)},${text.slice(last.end, tail)}`
  // The rest of a line that ends in such a comment is no place for more.
  const endsInComment = /\/\/[^\n\r\u2028\u2029]*$/.test(text.slice(last.end, tail))
  if (!isBroken && !endsInComment) {
    const rest = text.slice(tail)
    return `${separated} ${added}${hasComma && !style.isJson ? ',' : ''}${rest}`
  }
  const indent = isBroken ? indentOf(text, firstAt) : `${indentOf(text, parent.start)}  `
  const comma = hasComma ? ',' : ''
  const rest = /^[\r\n\s]*[\r\n]/.test(text.slice(tail, close + 1))
    ? text.slice(tail)
    : `${style.newline}${indentOf(text, parent.start)}${text.slice(close)}`
  return `${separated}${style.newline}${indent}${added}${comma}${rest}`
}

/** The white space that begins the line of a place. */
function indentOf(text: string, at: number): string {
  const lineStart = Math.max(text.lastIndexOf('\n', at - 1), text.lastIndexOf('\r', at - 1)) + 1
  return /^[ \t]*/.exec(text.slice(lineStart, at))?.[0] ?? ''
}

function format(value: unknown, style: Style): string {
  if (Array.isArray(value)) return `[${value.map((item) => format(item, style)).join(', ')}]`
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).map(
      ([key, inner]) => `${formatKey(key, style)}: ${format(inner, style)}`,
    )
    return members.length === 0 ? '{}' : `{ ${members.join(', ')} }`
  }
  return typeof value === 'string' ? formatText(value, style) : JSON.stringify(value)
}

function formatKey(key: string, style: Style): string {
  return !style.isJson && /^[A-Za-z_$][\w$]*$/.test(key) ? key : formatText(key, style)
}

function formatText(text: string, { quote }: Style): string {
  const json = JSON.stringify(text)
  if (quote === '"') return json
  return `'${json.slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`
}

/** JSON5 of a value, as it is written into a file without a style of its own. */
export function formatJson5(value: unknown): string {
  return format(value, { isJson: false, quote: "'", newline: '\n' })
}
