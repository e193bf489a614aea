import { readFileSync } from 'node:fs'
import { dirname, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseSync } from 'rolldown/utils'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** A declaration, wherever it is exported from. */
interface Declaration {
  readonly file: string
  readonly name: string
}

/** As much of a node of the syntax tree as is looked at. */
interface Node {
  readonly type: string
  readonly [key: string]: unknown
}

/** One file of declarations: what it declares, and where its other names come from. */
interface Module {
  readonly declared: ReadonlyMap<string, Node>
  readonly imported: ReadonlyMap<string, Declaration>
  readonly exported: ReadonlyMap<string, Declaration>
  /** Files of which everything is exported. */
  readonly stars: readonly string[]
}

/**
 * Types that a public declaration names although no entry point exports them: a caller could not write them down.
 * `entries` are files of declarations. Each line is `DECLARATION names TYPE (FILE)`.
 */
export function listHiddenTypes(entries: readonly string[]): string[] {
  const modules = new Map<string, Module>()
  const read = (file: string): Module => {
    const module = modules.get(file) ?? parseModule(file)
    modules.set(file, module)
    return module
  }
  /** Where a name that a file exports, declares or imports is declared. Absent: in a package, or it is global. */
  const find = (file: string, name: string): Declaration | undefined => {
    const module = read(file)
    if (module.declared.has(name)) return { file, name }
    const from = module.imported.get(name)
    if (from !== undefined) return findExport(from.file, from.name)
    return undefined
  }
  const findExport = (file: string, name: string): Declaration | undefined => {
    const module = read(file)
    const from = module.exported.get(name)
    if (from === undefined)
      return module.stars.map((star) => findExport(star, name)).find((found) => found !== undefined)
    return from.file === file ? find(file, from.name) : findExport(from.file, from.name)
  }
  const listExports = (file: string): Declaration[] => {
    const module = read(file)
    return [
      ...[...module.exported.keys()].flatMap((name) => findExport(file, name) ?? []),
      ...module.stars.flatMap(listExports),
    ]
  }
  const toKey = ({ file, name }: Declaration) => `${file}#${name}`
  const published = new Map(entries.flatMap(listExports).map((one) => [toKey(one), one]))
  const hidden = [...published.values()].flatMap(({ file, name }) =>
    listNames(read(file).declared.get(name)).flatMap((used) => {
      const declaration = find(file, used)
      if (declaration === undefined || published.has(toKey(declaration))) return []
      return [`${name} names ${declaration.name} (${relative(root, declaration.file)})`]
    }),
  )
  return [...new Set(hidden)].sort()
}

/** Reads one file of declarations. Names of packages are left out. */
function parseModule(file: string): Module {
  const declared = new Map<string, Node>()
  const imported = new Map<string, Declaration>()
  const exported = new Map<string, Declaration>()
  const stars: string[] = []
  const toFile = (source: unknown): string | undefined => {
    const path = String((source as Node).value)
    return path.startsWith('.') ? resolve(dirname(file), path.replace(/\.[tj]s$/, '.d.ts')) : undefined
  }
  const toName = (node: unknown) => String((node as Node).name ?? (node as Node).value)
  const declare = (statement: Node, isExported: boolean) => {
    const parts = statement.type === 'VariableDeclaration' ? (statement.declarations as Node[]) : [statement]
    for (const part of parts) {
      const name = toName(part.id)
      declared.set(name, part)
      if (isExported) exported.set(name, { file, name })
    }
  }
  const { program, errors } = parseSync(file, readFileSync(file, 'utf8'))
  if (errors.length > 0) throw new Error(`${file}: ${errors[0]?.message}`)
  for (const statement of program.body as unknown as Node[]) {
    if (statement.type === 'ImportDeclaration') {
      const from = toFile(statement.source)
      if (from === undefined) continue
      for (const one of statement.specifiers as Node[])
        imported.set(toName(one.local), { file: from, name: toName(one.imported) })
    } else if (statement.type === 'ExportAllDeclaration') {
      const from = toFile(statement.source)
      if (from !== undefined) stars.push(from)
    } else if (statement.type === 'ExportNamedDeclaration') {
      if (statement.declaration) declare(statement.declaration as Node, true)
      const from = statement.source ? toFile(statement.source) : file
      if (from === undefined) continue
      for (const one of statement.specifiers as Node[])
        exported.set(toName(one.exported), { file: from, name: toName(one.local) })
    } else if ('id' in statement) declare(statement, false)
  }
  return { declared, imported, exported, stars }
}

/** Names of types in a declaration, without those of its own parameters. */
function listNames(declaration: unknown): string[] {
  const used: string[] = []
  const own = new Set<string>()
  const leftmost = (node: Node): string => (node.left ? leftmost(node.left as Node) : String(node.name))
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) return value.forEach(visit)
    if (typeof value !== 'object' || value === null) return
    const node = value as Node
    if (node.accessibility === 'private' || (node.key as Node | undefined)?.type === 'PrivateIdentifier')
      return
    if (node.type === 'TSTypeParameter') own.add(String((node.name as Node).name ?? node.name))
    if (node.type === 'TSMappedType') own.add(String((node.key as Node).name))
    if (node.type === 'TSTypeReference') used.push(leftmost(node.typeName as Node))
    if (node.type === 'TSInterfaceHeritage' || node.type === 'TSClassImplements')
      used.push(leftmost(node.expression as Node))
    if (node.superClass) used.push(leftmost(node.superClass as Node))
    for (const [key, inner] of Object.entries(node)) if (key !== 'type') visit(inner)
  }
  visit(declaration)
  return used.filter((name) => !own.has(name))
}
