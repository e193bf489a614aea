import { createReadStream } from 'node:fs'
import { lstat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import type { FileListener } from './includes.ts'
import type { Environment } from './secrets.ts'
import { isJsonObject, type JsonObject, MAX_DEPTH_OF_VALUES } from './sections.ts'

const MAX_SECRET_BYTES = 1024 * 1024
const PRIVATE = 0o077
/** The id that a file with a single secret is asked for. */
const WHOLE_FILE = 'value'

/** Where OpenClaw keeps a secret: `{ source, provider, id }` in the place of a string. */
export interface SecretRef {
  readonly source: string
  readonly provider: string
  readonly id: string
}

/** A reference resolved to text in which `${VAR}` is still to be substituted, or why there is none. */
export type ResolvedSecret = { readonly text: string } | { readonly fault: string }

/** Files of secrets by the provider that names them: their text, or why it cannot be read. */
export type SecretFiles = ReadonlyMap<string, ResolvedSecret>

export function isSecretRef(value: unknown): value is SecretRef {
  return (
    isJsonObject(value) &&
    typeof value.source === 'string' &&
    typeof value.provider === 'string' &&
    typeof value.id === 'string'
  )
}

/**
 * Resolves a reference as OpenClaw does. `env` and `file` are served; what runs a program or opens OpenClaw's database
 * is not.
 */
export function resolveSecretRef(
  { source, provider, id }: SecretRef,
  secrets: unknown,
  files: SecretFiles,
): ResolvedSecret {
  const entry = findProvider(secrets, provider)
  switch (source) {
    case 'env': {
      const { allowlist } = entry?.source === 'env' ? entry : {}
      if (!/^[A-Z][A-Z0-9_]*$/.test(id))
        return { fault: `${JSON.stringify(id)} is not the name of a variable` }
      if (Array.isArray(allowlist) && !allowlist.includes(id))
        return { fault: `${id} is not in the allowlist of secrets.providers.${provider}` }
      return { text: `\${${id}}` }
    }
    case 'file': {
      const file = files.get(provider)
      if (entry === undefined || file === undefined)
        return { fault: `secrets.providers has no file "${provider}"` }
      if ('fault' in file) return file
      return entry.mode === 'singleValue' ? findWhole(file.text, id) : findPointer(file.text, id)
    }
    default:
      return { fault: `secrets of the source "${source}" are not read here, only "env" and "file"` }
  }
}

/** Reads the files of `secrets.providers` that a reference in `models` names. */
export async function readSecretFiles(
  { models, secrets }: JsonObject,
  env: Environment,
  onFile: FileListener = () => {},
): Promise<SecretFiles> {
  const files = new Map<string, ResolvedSecret>()
  for (const { source, provider } of listRefs(models)) {
    const entry = findProvider(secrets, provider)
    if (source !== 'file' || files.has(provider) || entry?.source !== 'file') continue
    files.set(provider, await readSecretFile(String(entry.path), env, onFile))
  }
  return files
}

function listRefs(value: unknown, depth = 0): SecretRef[] {
  if (isSecretRef(value)) return [value]
  if (typeof value !== 'object' || value === null || depth > MAX_DEPTH_OF_VALUES) return []
  return Object.values(value).flatMap((inner) => listRefs(inner, depth + 1))
}

function findProvider(secrets: unknown, name: string): JsonObject | undefined {
  const providers = isJsonObject(secrets) ? secrets.providers : undefined
  const entry = isJsonObject(providers) && Object.hasOwn(providers, name) ? providers[name] : undefined
  return isJsonObject(entry) ? entry : undefined
}

/** A secret is only read from a regular file of this user that no other user can read. */
async function readSecretFile(path: string, env: Environment, onFile: FileListener): Promise<ResolvedSecret> {
  const file = /^~(\/|$)/.test(path) ? join(env.HOME || homedir(), path.slice(1)) : resolve(path)
  onFile(file)
  try {
    const entry = await lstat(file)
    if (!entry.isFile()) return { fault: `the secrets in ${file} are not in a regular file` }
    const { mode, uid, size } = entry
    const self = process.getuid?.()
    if (self !== undefined && uid !== self && uid !== 0) return { fault: `${file} belongs to another user` }
    if (self !== undefined && (mode & PRIVATE) !== 0)
      return { fault: `${file} can be read by other users (chmod 600)` }
    if (size > MAX_SECRET_BYTES) return { fault: `${file} is larger than ${MAX_SECRET_BYTES} bytes` }
    const chunks: Uint8Array[] = []
    for await (const chunk of createReadStream(file, { end: MAX_SECRET_BYTES })) chunks.push(chunk)
    return { text: Buffer.concat(chunks).toString('utf8') }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    return { fault: `the secrets in ${file} cannot be read (${code})` }
  }
}

function findWhole(text: string, id: string): ResolvedSecret {
  if (id !== WHOLE_FILE) return { fault: `a file with a single secret has no "${id}", only "${WHOLE_FILE}"` }
  return { text: toLiteral(text.replace(/\r?\n$/, '')) }
}

function findPointer(text: string, pointer: string): ResolvedSecret {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { fault: 'the file of secrets is not JSON' }
  }
  if (!pointer.startsWith('/')) return { fault: `${JSON.stringify(pointer)} is not a JSON pointer` }
  for (const part of pointer.slice(1).split('/')) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
    const isThere = typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    value = isThere ? Reflect.get(Object(value), key) : undefined
  }
  return typeof value === 'string' && value !== ''
    ? { text: toLiteral(value) }
    : { fault: `the file of secrets has no text at ${pointer}` }
}

/** A secret that happens to look like `${VAR}` means itself. */
function toLiteral(secret: string): string {
  return secret.replace(/\$(?=\{[A-Za-z_]\w*\})/g, '$$$$')
}
