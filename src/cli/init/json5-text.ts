import JSON5 from 'json5'
import { toPlainText } from '../../text/plain-text.ts'
import { escapeJson } from '../terminal.ts'

/** A value of a file that is written; members that are `undefined` are left out. */
export type Json5Value =
  | string
  | number
  | boolean
  | null
  | readonly Json5Value[]
  | { readonly [key: string]: Json5Value | undefined }

/** Lines of comment by the path of the member that they stand above, joined with {@link pathKey}. */
export type Comments = ReadonlyMap<string, readonly string[]>

const WIDTH = 110
const INDENT = '  '

/** The key of a path in {@link Comments}. */
export function pathKey(...path: readonly string[]): string {
  return JSON.stringify(path)
}

/** A text of a configuration that means itself where it holds `${NAME}`. */
export function escapeVariables(text: string): string {
  return text.replaceAll('${', () => '$${')
}

/**
 * A JSON5 file as a person would write it: a short object on one line, an argument beside the option that it belongs
 * to, comments above what they are about. Comments of the empty path stand at the top.
 */
export function formatJson5(value: Json5Value, comments: Comments = new Map()): string {
  const top = (comments.get(pathKey()) ?? []).map((line) => `${toComment(line)}\n`)
  return `${top.join('')}${formatValue(value, { path: [], indent: '', used: 0, comments })}\n`
}

interface Place {
  readonly path: readonly string[]
  readonly indent: string
  /** Characters that stand before the value on its line. */
  readonly used: number
  readonly comments: Comments
}

function formatValue(value: Json5Value, place: Place): string {
  if (isList(value)) return formatList(value, place)
  if (typeof value !== 'object' || value === null) return formatScalar(value)
  const members = Object.entries(value).flatMap(([key, member]) =>
    member === undefined ? [] : [[key, member] as const],
  )
  if (members.length === 0) return '{}'
  const line = `{ ${members.map(([key, member]) => `${formatKey(key)}: ${formatShort(member)}`).join(', ')} }`
  if (place.used + line.length < WIDTH && !hasComments(place) && !line.includes('\n')) return line
  const indent = place.indent + INDENT
  const lines = members.map(([key, member]) => {
    const path = [...place.path, key]
    const above = (place.comments.get(pathKey(...path)) ?? []).map((text) => `${indent}${toComment(text)}\n`)
    const name = `${formatKey(key)}: `
    const inner = { ...place, path, indent, used: indent.length + name.length }
    return `${above.join('')}${indent}${name}${formatValue(member, inner)},\n`
  })
  return `{\n${lines.join('')}${place.indent}}`
}

/** Options with their values, as many as fit on a line; objects each on their own. */
function formatList(list: readonly Json5Value[], place: Place): string {
  const line = formatShort(list)
  if (place.used + line.length < WIDTH && !hasComments(place)) return line
  const indent = place.indent + INDENT
  const pieces = list.some((item) => typeof item === 'object' && item !== null)
    ? list.map((item, index) =>
        formatValue(item, {
          ...place,
          path: [...place.path, String(index)],
          indent,
          used: indent.length,
        }),
      )
    : fill(list.map(formatShort), WIDTH - indent.length)
  return `[\n${pieces.map((piece) => `${indent}${piece},\n`).join('')}${place.indent}]`
}

function fill(items: readonly string[], width: number): string[] {
  const groups: string[] = []
  for (const item of items) {
    const last = groups.at(-1)
    // What does not begin with a dash is the value of the option before it.
    const isValue = !/^['"]-+[a-z]/i.test(item)
    if (last !== undefined && isValue && last.length + item.length < width && /^['"]-[^,]*$/.test(last))
      groups[groups.length - 1] = `${last}, ${item}`
    else groups.push(item)
  }
  const lines: string[] = []
  for (const group of groups) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + group.length + 2 < width)
      lines[lines.length - 1] = `${last}, ${group}`
    else lines.push(group)
  }
  return lines
}

function hasComments({ path, comments }: Place): boolean {
  if (path.length === 0) return true
  const start = pathKey(...path).slice(0, -1)
  return [...comments.keys()].some((key) => key.startsWith(`${start},`))
}

function formatShort(value: Json5Value): string {
  if (isList(value)) return value.length === 0 ? '[]' : `[${value.map(formatShort).join(', ')}]`
  if (typeof value !== 'object' || value === null) return formatScalar(value)
  const members = Object.entries(value).flatMap(([key, member]) =>
    member === undefined ? [] : [`${formatKey(key)}: ${formatShort(member)}`],
  )
  return members.length === 0 ? '{}' : `{ ${members.join(', ')} }`
}

function formatScalar(value: string | number | boolean | null): string {
  return escapeJson(JSON5.stringify(value, { quote: "'" }))
}

function formatKey(key: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? key : formatScalar(key)
}

/** Untrusted text, for instance of a model file, must not end the comment. */
function toComment(line: string): string {
  return `// ${toPlainText(line)}`.trimEnd()
}

function isList(value: Json5Value): value is readonly Json5Value[] {
  return Array.isArray(value)
}
