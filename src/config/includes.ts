import { realpath } from 'node:fs/promises'
import { dirname, isAbsolute, relative, resolve, sep } from 'node:path'
import { ConfigError, type ConfigProblem } from '../errors.ts'
import { type Document, openIncluded, readDocument } from './document.ts'
import { type Finding, toError } from './finding.ts'
import { type Entry, findPosition } from './positions.ts'
import { isJsonObject, MAX_DEPTH_OF_VALUES, READ_SECTIONS } from './sections.ts'

const INCLUDE = '$include'
/** How deep files may include others: OpenClaw's limit. */
const MAX_DEPTH = 10
/** Files that are read for one configuration; without it, ten levels of two includes each would be a thousand. */
const MAX_FILES = 64
/** Text of all included files together, in characters. */
const MAX_LENGTH = 4 * 1024 * 1024
const MAX_PATH_LENGTH = 4096

/** Told of each file just before it is looked for: it may be missing. */
export type FileListener = (file: string) => void

/**
 * Resolves every `$include` in the sections that are read, as OpenClaw does. The value is a path, or a list of paths
 * whose files are merged in order, relative to the file that includes and inside the folder of the configuration file.
 * Objects are merged key by key, arrays are joined, and keys beside `$include` win.
 * @throws {@link ConfigError} when a file cannot be read or parsed, lies outside the folder, or includes itself.
 */
export async function resolveIncludes(
  document: Document,
  file: string,
  onFile: FileListener = () => {},
): Promise<Document> {
  const reader = { file, folder: dirname(resolve(file)), files: 0, length: 0, onFile }
  const from = { file: resolve(file), chain: [await realpath(file)], at: [] }
  const place = { ...from, reader }
  const { value, root = document.root } = await resolveObject(document, place, isRead)
  if (!isJsonObject(value)) throw toFailure(place, document, 'the included file must hold one object: { … }')
  return { value, root }
}

/** An error for each `$include` of a text that is in no folder. */
export function findIncludes({ value }: Document): Finding[] {
  const find = (node: unknown, at: readonly PropertyKey[]): Finding[] => {
    if (typeof node !== 'object' || node === null || at.length > MAX_DEPTH_OF_VALUES) return []
    return Object.entries(node).flatMap(([key, inner]) => {
      const path = [...at, key]
      if (at.length === 0 && !isRead(key)) return []
      if (key === INCLUDE) return [toError(path, 'cannot be resolved: this text is not a file in a folder')]
      return find(inner, path)
    })
  }
  return find(value, [])
}

interface Node {
  readonly value: unknown
  readonly root: Entry | undefined
}

interface Place {
  /** The file that is read, and its real path after those of the files that include it. */
  readonly file: string
  readonly chain: readonly string[]
  /** Where in the configuration. */
  readonly at: readonly PropertyKey[]
  readonly reader: {
    readonly file: string
    readonly folder: string
    files: number
    length: number
    readonly onFile: FileListener
  }
}

async function resolveNode(node: Node, place: Place): Promise<Node> {
  // What is nested deeper is an error that is found later.
  if (place.at.length > MAX_DEPTH_OF_VALUES) return node
  if (isJsonObject(node.value)) return resolveObject(node, place)
  if (!Array.isArray(node.value)) return node
  const items: Node[] = []
  for (const [index, value] of node.value.entries())
    items.push(await resolveNode({ value, root: toInner(node, index) }, enter(place, index)))
  return join(node, items)
}

async function resolveObject(
  node: Node,
  place: Place,
  isWanted: (key: string) => boolean = () => true,
): Promise<Node> {
  const { [INCLUDE]: include, ...rest } = Object(node.value)
  const entries: [string, Node][] = []
  for (const [key, value] of Object.entries(rest)) {
    const inner = { value, root: toInner(node, key) }
    entries.push([key, isWanted(key) ? await resolveNode(inner, enter(place, key)) : inner])
  }
  const own = collect(node, entries)
  if (!Object.hasOwn(Object(node.value), INCLUDE)) return own
  const included = await load(include, { value: include, root: toInner(node, INCLUDE) }, place, isWanted)
  if (entries.length === 0) return included
  if (!isJsonObject(included.value))
    throw toFailure(place, node, 'the included file holds no object, so no other keys may stand beside it')
  return merge(included, own)
}

/** Reads what an `$include` names. */
async function load(
  include: unknown,
  node: Node,
  place: Place,
  isWanted: (key: string) => boolean,
): Promise<Node> {
  const paths = Array.isArray(include) ? include : [include]
  let merged: Node | undefined
  for (const path of paths) {
    if (typeof path !== 'string') throw toFailure(place, node, 'must be a path, or a list of paths')
    const loaded = await loadFile(path, node, place, isWanted)
    merged = merged === undefined ? loaded : merge(merged, loaded)
  }
  return merged ?? { value: {}, root: node.root }
}

async function loadFile(
  path: string,
  node: Node,
  place: Place,
  isWanted: (key: string) => boolean,
): Promise<Node> {
  const { reader, chain } = place
  const fail = (reason: string) => toFailure(place, node, `${JSON.stringify(path.slice(0, 200))}: ${reason}`)
  if (path === '' || path.includes('\0') || path.length >= MAX_PATH_LENGTH) throw fail('is not a path')
  const target = resolve(dirname(place.file), path)
  if (!isInside(reader.folder, target)) throw fail(`is outside the folder ${reader.folder}`)
  if (chain.length > MAX_DEPTH) throw fail(`files include each other more than ${MAX_DEPTH} levels deep`)
  reader.files += 1
  if (reader.files > MAX_FILES) throw fail(`more than ${MAX_FILES} files are included`)
  reader.onFile(target)
  const real = await realpath(target).catch(() => undefined)
  if (real === undefined) throw fail('there is no such file')
  if (!isInside(await realpath(reader.folder), real))
    throw fail(`is a link to outside the folder ${reader.folder}`)
  if (chain.includes(real)) throw fail('includes itself')
  const document = await open(target, fail)
  reader.length += document.length
  if (reader.length > MAX_LENGTH) throw fail('the included files are too large together')
  const inside = { ...place, file: target, chain: [...chain, real] }
  return isJsonObject(document.value)
    ? resolveObject(document, inside, isWanted)
    : resolveNode(document, inside)
}

/** Reads and parses an included file. What is wrong with it is told with its place there, if it has one. */
async function open(
  file: string,
  fail: (reason: string) => ConfigError,
): Promise<Node & { readonly length: number }> {
  try {
    const text = await readDocument(file)
    return { ...openIncluded(text, file), length: text.length }
  } catch (error) {
    const [problem] = error instanceof ConfigError ? error.problems : []
    if (problem === undefined) throw error
    const place = problem.line === undefined ? '' : ` (${file}:${problem.line}:${problem.column ?? 1})`
    throw fail(`${problem.message}${place}`)
  }
}

/** As OpenClaw merges: objects key by key, arrays one after the other, else the second counts. */
function merge(first: Node, second: Node): Node {
  if (Array.isArray(first.value) && Array.isArray(second.value))
    return join(second, [...listItems(first), ...listItems(second)])
  if (!isJsonObject(first.value) || !isJsonObject(second.value)) return second
  const merged = new Map(listEntries(first))
  for (const [key, inner] of listEntries(second)) {
    const before = merged.get(key)
    merged.set(key, before === undefined ? inner : merge(before, inner))
  }
  return collect(second, [...merged])
}

function listEntries(node: Node): [string, Node][] {
  return Object.entries(Object(node.value)).map(([key, value]) => [key, { value, root: toInner(node, key) }])
}

function listItems(node: Node): Node[] {
  return listEntries(node).map(([, item]) => item)
}

/** `fromEntries` defines keys, so that one called `__proto__` stays a key and is found later. */
function collect(node: Node, entries: readonly [string, Node][]): Node {
  return {
    value: Object.fromEntries(entries.map(([key, { value }]) => [key, value])),
    root: withEntries(node.root, entries),
  }
}

function join(node: Node, items: readonly Node[]): Node {
  return {
    value: items.map(({ value }) => value),
    root: withEntries(
      node.root,
      items.map((item, index) => [String(index), item]),
    ),
  }
}

function withEntries(entry: Entry | undefined, inner: readonly [string, Node][]): Entry | undefined {
  if (entry === undefined) return undefined
  const known = inner.flatMap(([key, { root }]): [string, Entry][] =>
    root === undefined ? [] : [[key, root]],
  )
  return { ...entry, entries: new Map(known) }
}

function toInner({ root }: Node, key: PropertyKey): Entry | undefined {
  return root?.entries?.get(String(key))
}

function enter(place: Place, key: PropertyKey): Place {
  return { ...place, at: [...place.at, key] }
}

function isInside(folder: string, file: string): boolean {
  const path = relative(folder, file)
  return path !== '' && path !== '..' && !path.startsWith(`..${sep}`) && !isAbsolute(path)
}

/** At the top only the sections that are read are resolved: a broken file for another one is no concern. */
function isRead(key: string): boolean {
  return key === INCLUDE || READ_SECTIONS.has(key)
}

function toFailure({ reader, at }: Place, { root }: Node, message: string): ConfigError {
  const problem: ConfigProblem = {
    severity: 'error',
    path: [...at, INCLUDE].join('.'),
    message,
    ...(root === undefined ? {} : findPosition(root, [])),
  }
  return new ConfigError(reader.file, [problem])
}
