import type { AnyActorRef, AnyMachineSnapshot, InspectionEvent } from 'xstate'

/**
 * Records the inspection messages of a system as text, so that two runs can be compared: which actor, which event from
 * whom, which transitions were chosen, which actions ran in which order, and the whole snapshot after it.
 */
export function createRecord() {
  const lines: string[] = []
  const names = new Map<unknown, string>()
  const previous = new Map<unknown, unknown>()
  const nameOf = (actor: unknown) => {
    if (actor === undefined) return 'outside'
    if (!names.has(actor))
      names.set(actor, `${names.size}:${(actor as AnyActorRef).id.replace(/^x:\d+$/, 'root')}`)
    return names.get(actor) ?? ''
  }
  const write = (...parts: unknown[]) => void lines.push(parts.map((part) => render(part, nameOf)).join(' '))
  return {
    lines,
    write,
    inspect: (message: InspectionEvent) => {
      const who = nameOf(message.actorRef)
      switch (message.type) {
        case '@xstate.actor':
          return write(who, 'is born')
        case '@xstate.event':
          return write(who, 'hears', message.event, 'from', nameOf(message.sourceRef))
        case '@xstate.microstep':
          return write(who, 'takes', message._transitions.map(describe), describeSnapshot(message.snapshot))
        case '@xstate.action':
          return write(who, 'does', message.action)
        case '@xstate.snapshot': {
          const isSame = previous.get(message.actorRef) === message.snapshot
          previous.set(message.actorRef, message.snapshot)
          return write(who, isSame ? 'stays' : 'is', message.event, describeSnapshot(message.snapshot))
        }
      }
    },
  }
}

function describe({ source, eventType, target, reenter }: AnyEventTransition) {
  return [source.id, eventType, target?.map(({ id }) => id), reenter]
}
type AnyEventTransition = Extract<InspectionEvent, { type: '@xstate.microstep' }>['_transitions'][number]

function describeSnapshot(snapshot: unknown): unknown {
  const { machine, matches, hasTag, can, getMeta, toJSON, _nodes, tags, children, ...rest } =
    snapshot as AnyMachineSnapshot
  if (machine === undefined) return snapshot
  return {
    ...rest,
    keys: Object.keys(snapshot as object),
    methods: [matches, hasTag, can, getMeta, toJSON].map((method) => typeof method),
    nodes: _nodes.map(({ id }) => id),
    tags: [...tags],
    children: Object.keys(children),
  }
}

/** JSON in which actors are named, errors keep their text, and `undefined` shows. */
function render(part: unknown, nameOf: (actor: unknown) => string): string {
  if (typeof part === 'string') return part
  const text = JSON.stringify(part, (_key, value: unknown) => {
    if (value === undefined) return '(undefined)'
    if (typeof value === 'function') return `(function ${value.name})`
    if (value instanceof Error) return `(${value.name}: ${value.message})`
    if (typeof value === 'object' && value !== null && 'sessionId' in value && 'send' in value)
      return `(actor ${nameOf(value)})`
    return value
  })
  // The id of a root is counted over the whole process.
  return text.replaceAll(/"x:\d+"/g, '"(root)"')
}

/** The first line in which two records differ, with what came before it; `null` when they are equal. */
export function findDifference(one: readonly string[], other: readonly string[]): string | null {
  const length = Math.max(one.length, other.length)
  for (let at = 0; at < length; at += 1)
    if (one[at] !== other[at])
      return [
        ...one.slice(Math.max(0, at - 3), at).map((line) => `  ${line}`),
        `xstate:   ${one[at] ?? '(ends)'}`,
        `compiled: ${other[at] ?? '(ends)'}`,
      ].join('\n')
  return null
}
