import type { AnyStateMachine } from 'xstate'

/** A chart's definition as JSON, as far as it is read here. */
interface StateJson {
  readonly states?: Readonly<Record<string, StateJson>>
  readonly invoke?: InvokeJson | readonly InvokeJson[]
  readonly on?: Readonly<Record<string, TransitionsJson>>
  readonly after?: Readonly<Record<string, TransitionsJson>>
  readonly always?: TransitionsJson
  readonly onDone?: TransitionsJson
  readonly [part: string]: unknown
}
interface InvokeJson {
  readonly onDone?: TransitionsJson
  readonly onError?: TransitionsJson
  readonly [part: string]: unknown
}
interface TransitionJson {
  readonly target?: unknown
  readonly guard?: unknown
  readonly actions?: unknown
  readonly [part: string]: unknown
}
type TransitionsJson = string | TransitionJson | readonly (string | TransitionJson)[]

/**
 * A machine's definition as JSON that `createMachine` loads: every state and every edge, with the code behind the
 * names left out. A compound guard is one guard whose type is its text (`isReady and isOwned`), with its parts in
 * `params.guards`. Functions that compute input, output or context are left out.
 */
export function buildDefinition({ config }: AnyStateMachine): object {
  return JSON.parse(JSON.stringify(config, toJson)) as object
}

/** Objects and arrays inside each other that `@statelyai/inspect` sends by default; deeper ones become `[Object]`. */
const MAX_DEPTH = 10

/**
 * The same, nested at most ten deep: `createMachine` loads it, with every state and every edge. Guards are their texts.
 * Where the depth ends, the actions of a transition become one name, and below that a transition is only its target.
 */
export function buildFlatDefinition(machine: AnyStateMachine): object {
  return flattenState(buildDefinition(machine) as StateJson, 1)
}

function flattenState(
  { states, invoke, on, after, always, onDone, ...rest }: StateJson,
  depth: number,
): object {
  const inner = { on, after }
  return dropUndefined({
    ...Object.fromEntries(Object.entries(rest).map(([name, part]) => [name, flattenNames(part, depth + 1)])),
    invoke: invoke === undefined ? undefined : flattenInvokes([invoke].flat(), depth + 1),
    ...Object.fromEntries(
      Object.entries(inner).map(([name, part]) => [
        name,
        part && mapValues(part, (list) => flattenTransitions(list, depth + 2)),
      ]),
    ),
    always: always && flattenTransitions(always, depth + 1),
    onDone: onDone && flattenTransitions(onDone, depth + 1),
    states: states && mapValues(states, (state) => flattenState(state, depth + 2)),
  })
}

function flattenInvokes(invokes: readonly InvokeJson[], depth: number) {
  const isOne = invokes.length === 1
  const flat = invokes.map(({ onDone, onError, ...rest }) =>
    dropUndefined({
      ...rest,
      onDone: onDone && flattenTransitions(onDone, depth + (isOne ? 1 : 2)),
      onError: onError && flattenTransitions(onError, depth + (isOne ? 1 : 2)),
    }),
  )
  return isOne ? flat[0] : flat
}

function flattenTransitions(transitions: TransitionsJson, depth: number): unknown {
  const list = [transitions]
    .flat()
    .map((one) => (typeof one === 'string' ? { target: one } : one)) as readonly TransitionJson[]
  const [first] = list
  if (list.length === 1) return first && flattenTransition(first, depth)
  const all = list.map((one) => flattenTransition(one, depth + 1)).filter((one) => one !== undefined)
  return depth > MAX_DEPTH ? all[0] : all
}

function flattenTransition({ target, guard, actions, ...rest }: TransitionJson, depth: number): unknown {
  if (depth > MAX_DEPTH) return target
  return dropUndefined({
    ...rest,
    target,
    guard: guard === undefined ? undefined : nameOf(guard),
    actions: actions === undefined ? undefined : flattenNames(actions, depth + 1),
  })
}

/** A list of names, or one name where a list would be too deep. */
function flattenNames(part: unknown, depth: number): unknown {
  if (!Array.isArray(part)) return typeof part === 'object' && part !== null ? nameOf(part) : part
  const names = part.map(nameOf)
  return depth > MAX_DEPTH ? names.join(', ') : names
}

function mapValues<Value>(record: Readonly<Record<string, Value>>, change: (value: Value) => unknown) {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]))
}

function dropUndefined(record: object): object {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined))
}

function toJson(key: string, value: unknown): unknown {
  if (key === 'context' || key === 'input' || key === 'output') return undefined
  if (key === 'guard' && isCompound(value))
    return { type: describeGuard(value), params: { guards: listParts(value) } }
  return typeof value === 'function' ? { type: nameOf(value) } : value
}

interface Compound {
  (): unknown
  readonly guards: readonly unknown[]
}

function isCompound(guard: unknown): guard is Compound {
  return typeof guard === 'function' && 'guards' in guard && Array.isArray(guard.guards)
}

function listParts({ guards }: Compound): unknown[] {
  return guards.map((part) =>
    isCompound(part) ? { type: describeGuard(part), params: { guards: listParts(part) } } : part,
  )
}

/** A guard in words; `and([…])` and its like are functions that carry what they combine. */
export function describeGuard(guard: unknown): string {
  if (!isCompound(guard)) return nameOf(guard)
  const parts = guard.guards.map((part) => {
    const text = describeGuard(part)
    return isCompound(part) && !part.name.startsWith('not') ? `(${text})` : text
  })
  if (guard.name.startsWith('not')) return `not ${parts.join()}`
  return parts.join(guard.name.startsWith('or') ? ' or ' : ' and ')
}

/** The name of an action or a guard; one that is written in place has none. */
export function nameOf(named: unknown): string {
  if (typeof named === 'string') return named
  if ((typeof named === 'object' || typeof named === 'function') && named !== null) {
    if ('type' in named && typeof named.type === 'string') return named.type
    if ('name' in named && typeof named.name === 'string' && named.name !== '') return named.name
  }
  return 'inline'
}
