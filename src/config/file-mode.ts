import { stat } from 'node:fs/promises'
import { type Finding, toWarning } from './finding.ts'
import { isJsonObject, type JsonObject } from './sections.ts'

const READ_BY_OTHERS = 0o004
const READ_BY_GROUP = 0o040

/** Words for a server that asks for no key, as people write them: `lm-studio`, `inferrs-local`, `EMPTY`. A word in capitals is the name of a variable. */
const PLACEHOLDER =
  /^[\w-]*(local|none|null|unused|empty|dummy|fake|placeholder|example|changeme|any(thing)?|no-?key|not-?(needed|required|used)|lm-?studio|ollama|x{3,})([-_][a-z]+)?$/i
const SECRET_NAME = /(^|[-_])(authorization|api-?key|key|token|secret|password)([-_]|$)/i
/** The word is the last one: `--long-prefill-token-threshold` takes a number. */
const SECRET_OPTION = /^(?:[\w-]*[-_])?(authorization|api-?key|key|token|secret|password)$/i

/** A warning where a file that holds the key at `path` in plain text can be read by other users. */
export async function findModeProblems(file: string, path: readonly PropertyKey[]): Promise<Finding[]> {
  if (process.getuid === undefined) return []
  const { mode, uid, gid } = await stat(file)
  const isPrivateGroup = gid === uid && gid === process.getgid?.()
  const readers = READ_BY_OTHERS | (isPrivateGroup ? 0 : READ_BY_GROUP)
  if ((mode & readers) === 0) return []
  const shown = (mode & 0o777).toString(8).padStart(4, '0')
  return [
    toWarning(
      path,
      `is a key in plain text, and other users can read this file (mode ${shown}); chmod 600 it, or write \${VAR}`,
    ),
  ]
}

/** Where the first key in plain text is, in a file as it is written: one that comes from elsewhere is none. */
export function findLiteralKey({ models, leasehold, env }: JsonObject): PropertyKey[] | undefined {
  if (isJsonObject(leasehold)) {
    for (const name of ['apiKeys', 'controlKeys']) {
      const keys = leasehold[name]
      const index = Array.isArray(keys) ? keys.findIndex(isLiteral) : -1
      if (index >= 0) return ['leasehold', name, index]
    }
    if (isJsonObject(leasehold.cluster) && isLiteral(leasehold.cluster.secret))
      return ['leasehold', 'cluster', 'secret']
    const [, ...inner] = findKeyOfProvider({ localService: leasehold.defaults }) ?? []
    if (inner.length > 0) return ['leasehold', 'defaults', ...inner]
  }
  const providers = isJsonObject(models) && isJsonObject(models.providers) ? models.providers : {}
  for (const [id, provider] of Object.entries(providers)) {
    const inner = isJsonObject(provider) ? findKeyOfProvider(provider) : undefined
    if (inner !== undefined) return ['models', 'providers', id, ...inner]
  }
  const vars = isJsonObject(env) ? env.vars : undefined
  const variable = findNamed(vars)
  if (variable !== undefined) return ['env', 'vars', variable]
  const name = findNamed(env)
  return name === undefined ? undefined : ['env', name]
}

function findKeyOfProvider(provider: JsonObject): PropertyKey[] | undefined {
  const { apiKey, headers, localService, replicas } = provider
  if (isKey(apiKey)) return ['apiKey']
  for (const [index, replica] of (Array.isArray(replicas) ? replicas : []).entries()) {
    const inner = isJsonObject(replica) ? findKeyOfProvider(replica) : undefined
    if (inner !== undefined) return ['replicas', index, ...inner]
  }
  const header = findNamed(headers)
  if (header !== undefined) return ['headers', header]
  if (!isJsonObject(localService)) return undefined
  const variable = findNamed(localService.env)
  if (variable !== undefined) return ['localService', 'env', variable]
  const args = Array.isArray(localService.args) ? localService.args : []
  const index = args.findIndex((arg, place) => {
    const [, option, value] = /^--?([\w-]+)=(.+)$/.exec(String(arg)) ?? []
    if (option !== undefined) return SECRET_OPTION.test(option) && isKey(value)
    const [, before = ''] = /^--?([\w-]+)$/.exec(String(args[place - 1])) ?? []
    return SECRET_OPTION.test(before) && isKey(arg)
  })
  return index < 0 ? undefined : ['localService', 'args', index]
}

function findNamed(record: unknown): string | undefined {
  if (!isJsonObject(record)) return undefined
  return Object.entries(record).find(([name, value]) => SECRET_NAME.test(name) && isKey(value))?.[0]
}

/** Whether a value stands where a server asks for no key. */
export function isPlaceholder(value: string): boolean {
  return PLACEHOLDER.test(value)
}

function isKey(value: unknown): boolean {
  return isLiteral(value) && !isPlaceholder(String(value)) && !/^([./~<]|[A-Z_]+$)/.test(String(value))
}

function isLiteral(value: unknown): boolean {
  return typeof value === 'string' && value !== '' && !/\$\{\w+\}|^\$[A-Z_]/.test(value)
}
