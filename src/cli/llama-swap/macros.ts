import type { Environment } from '../../config/secrets.ts'
import { isObject } from '../../json/value.ts'
import { escapeVariables } from '../init/json5-text.ts'

/** Macros by name. */
export type Macros = Readonly<Record<string, unknown>>

/** What a text is filled in with. */
export interface MacroContext {
  readonly macros: Macros
  /** `${MODEL_ID}`. */
  readonly modelId?: string
  /** Told of each name that nothing is known about. */
  onUnknown(name: string): void
}

// Stand for `${PORT}` and `${env.NAME}` until a text is written: neither is a value yet.
const OPEN = '\ue000'
const CLOSE = '\ue001'
/** Stands for the port that is assigned. */
export const PORT_MARK = `${OPEN}PORT${CLOSE}`
const MARKS = new RegExp(`${OPEN}([^${OPEN}${CLOSE}]*)${CLOSE}`, 'g')
const MACRO = /\$\{([\w.-]+)\}/g
/** Macros that one text may need, each as often as it is named: a few macros can stand for more than any memory holds. */
const MAX_FILLS = 1_000
const MAX_LENGTH = 1_000_000

/**
 * A value with its macros filled in, lists and objects included. A text that is nothing but a macro takes over its type.
 * Ports and variables of the environment are left as marks, for {@link toConfigText} and {@link toPlainValue}.
 */
export function fillMacros(value: unknown, context: MacroContext): unknown {
  if (typeof value === 'string') {
    const [, only] = /^\$\{([\w.-]+)\}$/.exec(value) ?? []
    const macro = only !== undefined && Object.hasOwn(context.macros, only) ? context.macros[only] : undefined
    return typeof macro === 'number' || typeof macro === 'boolean' ? macro : fillText(value, context)
  }
  if (Array.isArray(value)) return value.map((item) => fillMacros(item, context))
  if (!isObject(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [fillText(key, context), fillMacros(item, context)]),
  )
}

/** `open`: the macros that the text is part of, which it must not name again. */
function fillText(
  text: string,
  context: MacroContext,
  open: readonly string[] = [],
  budget = { fills: MAX_FILLS },
): string {
  return text.replace(MACRO, (whole, name: string) => {
    if (name === 'PORT') return PORT_MARK
    if (name === 'MODEL_ID' && context.modelId !== undefined) return context.modelId
    // llama-swap knows it only when it stops a model.
    if (name === 'PID') return whole
    if (name.startsWith('env.')) return `${OPEN}${name.slice('env.'.length)}${CLOSE}`
    const value = Object.hasOwn(context.macros, name) ? context.macros[name] : undefined
    const isEndless = open.includes(name) || budget.fills === 0 || text.length > MAX_LENGTH
    if (value === undefined || value === null || isEndless) {
      context.onUnknown(name)
      return whole
    }
    budget.fills -= 1
    return fillText(String(value).trim(), context, [...open, name], budget)
  })
}

/** Whether a text has the port that is assigned. */
export function hasPort(text: string): boolean {
  return text.includes(PORT_MARK)
}

/** The text with the mark of the assigned port in place of a number. */
export function replacePort(text: string, port: string): string {
  return text.replaceAll(new RegExp(`(?<![\\w.])${port}(?![\\w.])`, 'g'), PORT_MARK)
}

/** The text as an option of leasehold that fills in variables: `${PORT}`, `${NAME}`; any other `${` means itself. */
export function toConfigText(text: string): string {
  return escapeVariables(text).replace(MARKS, (_, name: string) => `\${${name}}`)
}

/** The same for an option that fills in nothing: with the value that a variable has now. */
export function toPlainValue(value: unknown, env: Environment, onUnset: (name: string) => void): unknown {
  if (typeof value === 'string')
    return value.replace(MARKS, (_, name: string) => {
      const found = name === 'PORT' ? `\${PORT}` : env[name]
      if (!found) onUnset(name)
      return found || `\${${name}}`
    })
  if (Array.isArray(value)) return value.map((item) => toPlainValue(item, env, onUnset))
  if (!isObject(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, toPlainValue(item, env, onUnset)]),
  )
}
