import { type Finding, toError, toWarning } from './finding.ts'
import { describeForeignKey } from './foreign-keys.ts'
import { findNearest, isNearMiss } from './nearest.ts'
import { type ConfigValues, configSchema, toJsonSchema } from './schema.ts'
import { isJsonObject, type JsonObject } from './sections.ts'

/** A file is read once: generating code for its schema would take longer than it saves. */
const ONCE = { jitless: true }

type Issue = NonNullable<ReturnType<typeof configSchema.safeParse>['error']>['issues'][number]

/** The values of our sections as far as they are valid, and what is wrong with the rest. */
export interface Validation {
  readonly values: ConfigValues
  readonly findings: readonly Finding[]
}

/**
 * Validates our sections against the schema. What is wrong is reported and then removed from `own`, in place,
 * until the rest is valid: so that one report can also hold what is found by looking at the whole. `isLenient` ignores
 * unknown keys outside `leasehold` with a warning, unless they look like a slip.
 */
export function validateSections(
  own: JsonObject,
  { isLenient = false }: { readonly isLenient?: boolean } = {},
): Validation {
  try {
    return validate(own, isLenient)
  } catch (error) {
    // zod passes issues on as arguments, and beyond some hundred thousand no call can take them.
    if (!(error instanceof RangeError)) throw error
    return { values: configSchema.parse({}), findings: [toError([], 'has too many problems to list')] }
  }
}

function validate(own: JsonObject, isLenient: boolean): Validation {
  let result = configSchema.safeParse(own, ONCE)
  if (result.success) return { values: result.data, findings: [] }
  const jsonSchema = toJsonSchema()
  const issues = result.error.issues.flatMap(toSingleIssues)
  const mistyped = new Set(issues.filter(isOfType).map(({ path }) => path.join('\n')))
  const findings = issues
    // zod checks the length of a list on a string, too.
    .filter((issue) => isOfType(issue) || !mistyped.has(issue.path.join('\n')))
    .flatMap((issue) => toFindings(issue, own, jsonSchema, isLenient))
  while (!result.success) {
    const removals = result.error.issues.flatMap(toSingleIssues).flatMap((issue) => findOffenders(issue, own))
    for (const { parent, key } of removals) Reflect.deleteProperty(parent, key)
    result = configSchema.safeParse(own, ONCE)
  }
  return { values: result.data, findings }
}

/** A union fails with the issues of every branch. Where one branch looked inside the value, its issues count. */
function toSingleIssues(issue: Issue): Issue[] {
  if (issue.code !== 'invalid_union') return [issue]
  const inside = issue.errors.find((errors) =>
    errors.some(({ code, path }) => code !== 'invalid_type' || path.length > 0),
  )
  return inside?.map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] })) ?? [issue]
}

function isOfType({ code }: Issue): boolean {
  return code === 'invalid_type'
}

function toFindings(issue: Issue, own: JsonObject, jsonSchema: unknown, isLenient: boolean): Finding[] {
  switch (issue.code) {
    case 'unrecognized_keys': {
      const known = listKnownKeys(jsonSchema, issue.path)
      const holder = findValue(own, issue.path)
      return issue.keys.map((key) => toUnknownKey(key, issue.path, Object(holder)[key], known, isLenient))
    }
    case 'invalid_key':
      return [toError(issue.path, issue.issues[0]?.message ?? issue.message)]
    case 'invalid_type':
      if (findValue(own, issue.path) === undefined)
        return [toError(issue.path, `is required (${issue.expected})`)]
      if (issue.expected === 'array')
        return [
          toError(issue.path, `must be a list ([ … ]), ${issue.message.replace(/^.* received /, 'not ')}`),
        ]
  }
  return [toError(issue.path, issue.message.replace(/^Invalid (input|option): /, ''))]
}

/** The nearest known key is named only when it is near: a far one would mislead the reader. */
function toUnknownKey(
  key: string,
  at: readonly PropertyKey[],
  value: unknown,
  known: readonly string[],
  isLenient: boolean,
): Finding {
  const path = [...at, key]
  const nearest = findNearest(key, known)
  const foreign = describeForeignKey(key, at, value)
  if (foreign === undefined && nearest !== undefined && isNearMiss(key, nearest.edits))
    return {
      ...toError(path, `unknown key "${key}"; the nearest known key is "${nearest.candidate}"`),
      isSlip: true,
    }
  if (isLenient && at[0] !== 'leasehold') return toWarning(path, `unknown key "${key}"; it is ignored`)
  return toError(path, `unknown key "${key}"${foreign === undefined ? '' : `; ${foreign}`}`)
}

/** Keys the schema knows at a path. The JSON Schema is asked, because it is plain data. */
function listKnownKeys(jsonSchema: unknown, path: readonly PropertyKey[]): string[] {
  let schemas = toBranches(jsonSchema)
  for (const key of path) {
    schemas = schemas.flatMap(({ properties, additionalProperties, items }) => {
      if (typeof key === 'number') return toBranches(items)
      const property = isJsonObject(properties) ? properties[String(key)] : undefined
      return toBranches(property ?? additionalProperties)
    })
  }
  return schemas.flatMap(({ properties }) => (isJsonObject(properties) ? Object.keys(properties) : []))
}

function toBranches(schema: unknown): JsonObject[] {
  if (!isJsonObject(schema)) return []
  return Array.isArray(schema.anyOf) ? schema.anyOf.filter(isJsonObject) : [schema]
}

interface Offender {
  readonly parent: object
  readonly key: PropertyKey
}

/** What to delete because of an issue: the unknown keys, or the wrong value, or the nearest thing around it. */
function findOffenders(issue: Issue, own: JsonObject): Offender[] {
  if (issue.code === 'unrecognized_keys') {
    const parent = findValue(own, issue.path)
    return isJsonObject(parent) ? issue.keys.map((key) => ({ parent, key })) : []
  }
  const path = [...issue.path]
  while (path.length > 1 && findValue(own, path) === undefined) path.pop()
  const key = path.pop()
  const parent = findValue(own, path)
  return key !== undefined && typeof parent === 'object' && parent !== null ? [{ parent, key }] : []
}

function findValue(own: unknown, path: readonly PropertyKey[]): unknown {
  let value = own
  for (const key of path) {
    if (typeof value !== 'object' || value === null) return undefined
    value = Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined
  }
  return value
}
