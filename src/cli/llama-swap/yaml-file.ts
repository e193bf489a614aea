import {
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
} from 'yaml'
import { UsageError } from '../exit-codes.ts'

/** A YAML file, and where its keys stand. */
export interface YamlFile {
  readonly value: unknown
  /** The line of a key or a list item; of one that is not written, that of what it stands in. */
  lineOf(path: readonly string[]): number
}

/** @throws {UsageError} with the line of what is wrong. */
export function parseYaml(text: string, file: string): YamlFile {
  const counter = new LineCounter()
  const document = parseDocument(text, { lineCounter: counter, merge: true })
  const [fault] = document.errors
  if (fault !== undefined) {
    const { line, col } = counter.linePos(fault.pos[0])
    const [message = ''] = fault.message.split('\n')
    throw new UsageError(`${file}:${line}:${col}: ${message.replace(/ at line \d+, column \d+:?$/, '')}`)
  }
  const value = toValue(document, file)
  const lines = new Map<string, number>()
  const note = (node: Node, path: readonly string[]) => {
    const [start] = node.range ?? []
    if (start !== undefined && lines.size < MAX_LINES)
      lines.set(JSON.stringify(path), counter.linePos(start).line)
  }
  const walk = (node: unknown, path: readonly string[], depth: number): void => {
    if (depth > MAX_DEPTH) return
    if (isAlias(node)) walk(node.resolve(document), path, depth + 1)
    else if (isMap(node))
      for (const pair of node.items) {
        if (!isPair(pair) || !isScalar(pair.key)) continue
        // What is merged is written elsewhere: it has the line of what it is merged into.
        if (pair.key.value === '<<' || typeof pair.key.value === 'symbol') continue
        const inner = [...path, String(pair.key.value)]
        note(pair.key, inner)
        walk(pair.value, inner, depth + 1)
      }
    else if (isSeq<Node>(node))
      for (const [index, item] of node.items.entries()) {
        const inner = [...path, String(index)]
        note(item, inner)
        walk(item, inner, depth + 1)
      }
  }
  walk(document.contents, [], 0)
  return {
    value,
    lineOf: (path) => {
      for (let length = path.length; length > 0; length -= 1) {
        const line = lines.get(JSON.stringify(path.slice(0, length)))
        if (line !== undefined) return line
      }
      return 1
    },
  }
}

const MAX_DEPTH = 50
const MAX_LINES = 100_000
/** A few lines of YAML can stand for gigabytes. */
const MAX_ALIASES = 1000

function toValue(document: Document, file: string): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES })
  } catch (error) {
    throw new UsageError(`${file}: ${error instanceof Error ? error.message : error}`)
  }
}
