import type { ParseArgsConfig } from 'node:util'
import { parseArgs } from 'node:util'
import type { ConfigProblem } from '../../errors.ts'
import { ConfigError } from '../../errors.ts'
import { isObject } from './json.ts'
import type { FieldRefusal, ModelServerOptions, ModelServerSettings, OnceAnswer } from './options.ts'
import { longestTimerMs } from './pace.ts'

/** One setting at run time: its default, what it accepts, and how it is written as a flag. */
interface Field<T> {
  readonly default: T
  /** What a right value is, for the error message. */
  readonly expects: string
  readonly flag: 'boolean' | 'text' | 'number' | 'list' | 'json'
  is(value: unknown): value is T
}

const fields: { readonly [K in keyof ModelServerSettings]: Field<ModelServerSettings[K]> } = {
  host: text('127.0.0.1'),
  port: count(65_535),
  models: { default: ['demo'], expects: 'a list of model ids', flag: 'list', is: isModelList },
  apiKey: nullable(text('')),
  control: flag(),
  journal: nullable(text('')),
  loadMs: count(longestTimerMs),
  bindAfterLoad: flag(),
  healthPath: nullable(text('')),
  healthWhileLoading: choice('503', '200', 'hang'),
  modelsWhileLoading: choice('503', '200'),
  failLoad: nullable(choice('exit', 'health500')),
  logFloodBytes: count(),
  logLineEveryMs: count(longestTimerMs),
  firstTokenMs: count(longestTimerMs),
  tokenDelayMs: count(longestTimerMs),
  slowHeadersMs: count(longestTimerMs),
  idleCloseMs: { ...count(longestTimerMs), default: 5000 },
  gzip: flag(),
  reasoning: flag(),
  strictContent: flag(),
  strictMessageKeys: flag(),
  rejectTools: flag(),
  rejectDeveloper: flag(),
  rejectFields: {
    default: {},
    expects: 'an object of field name to { status, message, accepts }',
    flag: 'json',
    is: isRefusals,
  },
  ignoreFields: { default: [], expects: 'a list of texts', flag: 'list', is: isTextList },
  status429Once: flag(),
  statusOnce: nullable({
    default: { status: 500 },
    expects: '{ status, body, headers }',
    flag: 'json',
    is: isOnceAnswer,
  }),
  redirectHealth: nullable(text('')),
  wrongServer: flag(),
  hang: flag(),
  hangHealth: flag(),
  crashBeforeResponse: flag(),
  crashMidStreamAfter: nullable(count()),
  stallMidStreamAfter: nullable(count()),
  truncateAfter: nullable(count()),
  closeDelimited: flag(),
  omitDone: flag(),
  ignoreSigterm: flag(),
  exitOnSigtermMs: count(longestTimerMs),
  forkGrandchild: nullable(choice('group', 'setsid')),
}

/** Every setting at its default. */
export function defaultSettings(): ModelServerSettings {
  const entries = Object.entries(fields).map(([name, field]) => [name, field.default])
  return Object.fromEntries(entries) as ModelServerSettings
}

/**
 * Checks that an unknown value is a set of options; settings that are absent or `undefined` are left out.
 * @throws {@link ConfigError} `LEASEHOLD_CONFIG_INVALID` with every unknown name and wrong value.
 */
export function parseOptions(value: unknown): ModelServerOptions {
  if (!isObject(value)) throw buildConfigError([{ path: '', message: 'expected an object of options' }])
  const given = Object.entries(value).filter(([, item]) => item !== undefined)
  const problems = given.flatMap(([name, item]) => {
    if (!isFieldName(name)) return [{ path: name, message: 'is not an option of the model server' }]
    return fields[name].is(item) ? [] : [{ path: name, message: `expected ${fields[name].expects}` }]
  })
  if (problems.length > 0) throw buildConfigError(problems)
  return Object.fromEntries(given)
}

/**
 * Reads options from command-line flags: `--load-ms 2500 --control --models a,b --status-once '{"status":500}'`.
 * @throws {@link ConfigError} `LEASEHOLD_CONFIG_INVALID` for an unknown flag, a missing value, a wrong value.
 */
export function parseFlags(args: readonly string[]): ModelServerOptions {
  const options: NonNullable<ParseArgsConfig['options']> = {}
  for (const [name, field] of Object.entries(fields)) {
    options[formatFlagName(name)] = { type: field.flag === 'boolean' ? 'boolean' : 'string' }
  }
  const values = readArguments(args, options)
  const entries = Object.entries(fields).flatMap(([name, field]) => {
    const value = values[formatFlagName(name)]
    if (value === undefined) return []
    return [[name, typeof value === 'string' ? fromFlagText(field.flag, value) : value]]
  })
  return parseOptions(Object.fromEntries(entries))
}

function readArguments(args: readonly string[], options: NonNullable<ParseArgsConfig['options']>) {
  try {
    return parseArgs({ args: [...args], options, strict: true }).values
  } catch (error) {
    throw buildConfigError(
      [{ path: '', message: error instanceof Error ? error.message : String(error) }],
      error,
    )
  }
}

/** Text that does not fit becomes a value that its field refuses, so that one place words the error. */
function fromFlagText(kind: Field<unknown>['flag'], value: string): unknown {
  if (kind === 'number') return value.trim() === '' ? Number.NaN : Number(value)
  if (kind === 'list') return value.split(',')
  if (kind !== 'json') return value
  try {
    return JSON.parse(value)
  } catch {
    return value
  }
}

function formatFlagName(name: string): string {
  return name.replace(/[A-Z]|\d+/g, (part) => `-${part.toLowerCase()}`)
}

function buildConfigError(
  problems: readonly Omit<ConfigProblem, 'severity'>[],
  cause?: unknown,
): ConfigError {
  const errors = problems.map((problem) => ({ ...problem, severity: 'error' as const }))
  return new ConfigError('model server options', errors, cause === undefined ? undefined : { cause })
}

function isFieldName(name: string): name is keyof ModelServerSettings {
  return Object.hasOwn(fields, name)
}

function flag(): Field<boolean> {
  return {
    default: false,
    expects: 'true or false',
    flag: 'boolean',
    is: (value): value is boolean => typeof value === 'boolean',
  }
}

function text(initial: string): Field<string> {
  return {
    default: initial,
    expects: 'a text that is not empty',
    flag: 'text',
    is: (value): value is string => typeof value === 'string' && value !== '',
  }
}

function count(most = Number.MAX_SAFE_INTEGER): Field<number> {
  return {
    default: 0,
    expects: `a whole number from 0 to ${most}`,
    flag: 'number',
    is: (value): value is number => Number.isInteger(value) && Number(value) >= 0 && Number(value) <= most,
  }
}

/** One of several words; the first is the default. */
function choice<const T extends string>(...words: readonly [T, ...T[]]): Field<T> {
  return {
    default: words[0],
    expects: `one of ${words.join(', ')}`,
    flag: 'text',
    is: (value): value is T => words.some((word) => word === value),
  }
}

/** The same, or `null` for "off", which is then the default. */
function nullable<T>(field: Field<T>): Field<T | null> {
  return {
    default: null,
    expects: `${field.expects}, or null`,
    flag: field.flag,
    is: (value): value is T | null => value === null || field.is(value),
  }
}

function isModelList(value: unknown): value is readonly string[] {
  return isTextList(value) && value.length > 0 && !value.includes('')
}

function isTextList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}

function isRefusals(value: unknown): value is Readonly<Record<string, FieldRefusal>> {
  return (
    isObject(value) &&
    Object.values(value).every(
      (item) =>
        isObject(item) &&
        isStatus(item.status) &&
        typeof item.message === 'string' &&
        isTextList(item.accepts ?? []),
    )
  )
}

function isOnceAnswer(value: unknown): value is OnceAnswer {
  if (!isObject(value) || !isStatus(value.status)) return false
  const { headers = {} } = value
  return isObject(headers) && Object.values(headers).every((item) => typeof item === 'string')
}

/** A final HTTP status: the informational ones below 200 do not end an answer. */
function isStatus(value: unknown): boolean {
  return Number.isInteger(value) && Number(value) >= 200 && Number(value) <= 599
}
