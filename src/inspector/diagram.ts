import type { AnyStateMachine, StateNode } from 'xstate'
import { describeGuard, nameOf } from '../statechart/definition.ts'

/** One transition of a statechart, in names. */
export interface DiagramTransition {
  /** `lease.requested`, `after idleStop`, `claim done`, `always`. */
  readonly event: string
  /** `isReady and isOwned`. Absent: it is always taken. */
  readonly guard?: string
  /** Dotted path of the target. Absent: the state stays what it is. */
  readonly target?: string
  readonly actions: readonly string[]
}

/** One state of a statechart, in names. */
export interface DiagramState {
  /** Dotted path below the root: `idle-stopping.terminating`. Empty: the root itself. */
  readonly path: string
  readonly kind: 'atomic' | 'compound' | 'parallel' | 'final' | 'history'
  /** Path of the state it begins in. */
  readonly initial?: string
  readonly entry: readonly string[]
  readonly exit: readonly string[]
  readonly invokes: readonly string[]
  readonly transitions: readonly DiagramTransition[]
}

/** A statechart as data: all that its definition says, without the code behind the names. */
export interface Diagram {
  readonly id: string
  /** The root first, each parent before its children. */
  readonly states: readonly DiagramState[]
}

/** Reads a statechart's definition. Nothing is started. */
export function buildDiagram(machine: AnyStateMachine): Diagram {
  return { id: machine.id, states: listNodes(machine.root).map(buildState) }
}

export interface MermaidOptions {
  /** How many levels of states are drawn. @default all */
  readonly depth?: number
}

/**
 * The statechart as a mermaid `stateDiagram-v2`. For the eye: the transitions between two states are one arrow that
 * names their events, without guards; transitions that change no state are left out. Mermaid cannot draw an arrow
 * between the insides of two composite states, so such an arrow joins the composites.
 */
export function formatMermaid(
  machine: AnyStateMachine,
  { depth = Number.POSITIVE_INFINITY }: MermaidOptions = {},
): string {
  const all = buildDiagram(machine).states
  const cut = (path: string) => path.split('.').slice(0, depth).join('.')
  const states = all.filter(({ path }) => path === cut(path))
  const arrows = new Map<string, Arrow>()
  for (const { path, transitions } of all)
    for (const { event, target } of transitions) {
      if (target === undefined || (cut(path) === cut(target) && path !== target)) continue
      for (const { from, to } of listDrawable(cut(path), cut(target), states)) {
        const key = `${from} ${to}`
        const arrow = arrows.get(key) ?? { from, to, events: new Set() }
        arrow.events.add(event)
        arrows.set(key, arrow)
      }
    }
  return `stateDiagram-v2\n${drawChildren('', states, [...arrows.values()], 1).join('\n')}\n`
}

interface Arrow {
  readonly from: string
  readonly to: string
  readonly events: Set<string>
}

/** The inside of a composite state: its states, where it begins and ends, and the arrows between them. */
function drawChildren(
  parent: string,
  states: readonly DiagramState[],
  arrows: readonly Arrow[],
  depth: number,
): string[] {
  const indent = '  '.repeat(depth)
  const children = states.filter(({ path }) => path !== '' && parentOf(path) === parent)
  const initial = states.find(({ path }) => path === parent)?.initial
  return [
    ...children.flatMap(({ path, kind }) => {
      const head = `${indent}state "${path.split('.').at(-1)}" as ${buildId(path)}`
      const isOpen = states.some(({ path: inner }) => inner !== '' && parentOf(inner) === path)
      return isOpen && (kind === 'compound' || kind === 'parallel')
        ? [`${head} {`, ...drawChildren(path, states, arrows, depth + 1), `${indent}}`]
        : [head]
    }),
    ...(initial === undefined ? [] : [`${indent}[*] --> ${buildId(initial)}`]),
    ...arrows
      .filter(({ from }) => parentOf(from) === parent)
      .map(
        ({ from, to, events }) => `${indent}${buildId(from)} --> ${buildId(to)} : ${[...events].join(', ')}`,
      ),
    ...children.filter(({ kind }) => kind === 'final').map(({ path }) => `${indent}${buildId(path)} --> [*]`),
  ]
}

/** The arrows that stand for one transition: between siblings, on the level where the two paths part. */
function listDrawable(
  source: string,
  target: string,
  states: readonly DiagramState[],
): { readonly from: string; readonly to: string }[] {
  const from = source === '' ? [] : source.split('.')
  const to = target.split('.')
  const common = from.findIndex((name, index) => name !== to[index])
  // The target is inside the source: each of its siblings has the transition.
  if (common === -1) {
    if (to.length === from.length) return []
    const child = to.slice(0, from.length + 1).join('.')
    return states
      .filter(
        ({ path, kind }) => path !== '' && parentOf(path) === source && path !== child && kind !== 'final',
      )
      .map(({ path }) => ({ from: path, to: child }))
  }
  if (common >= to.length) return []
  return [{ from: from.slice(0, common + 1).join('.'), to: to.slice(0, common + 1).join('.') }]
}

function listNodes(node: StateNode): StateNode[] {
  return [node, ...Object.values(node.states).flatMap(listNodes)]
}

function buildState(node: StateNode): DiagramState {
  const initial = node.type === 'compound' ? node.initial.target[0] : undefined
  return {
    path: buildPath(node),
    kind: node.type,
    ...(initial === undefined ? {} : { initial: buildPath(initial) }),
    entry: node.entry.map(nameOf),
    exit: node.exit.map(nameOf),
    invokes: node.invoke.map(({ id }) => id),
    transitions: [...(node.always ?? []), ...[...node.transitions.values()].flat()].map((transition) => {
      const target = transition.target?.[0]
      return {
        event: describeEvent(transition.eventType),
        ...(transition.guard === undefined ? {} : { guard: describeGuard(transition.guard) }),
        ...(target === undefined ? {} : { target: buildPath(target) }),
        actions: transition.actions.map(nameOf),
      }
    }),
  }
}

/** xstate's own event names, in words: `xstate.after.idleStop.provider.ready` is `after idleStop`. */
function describeEvent(type: string): string {
  if (type === '') return 'always'
  const [, kind, rest = ''] = /^xstate\.(after|done\.actor|error\.actor|done\.state)\.(.+)$/.exec(type) ?? []
  if (kind === undefined) return type
  if (kind === 'after') return `after ${rest.split('.')[0]}`
  const who = rest === '*' ? 'actor' : rest
  return kind === 'error.actor' ? `${who} failed` : `${who} done`
}

function buildPath(node: StateNode): string {
  return node.path.join('.')
}

function parentOf(path: string): string {
  return path.split('.').slice(0, -1).join('.')
}

/** Mermaid takes letters, digits and underscores in an id. */
function buildId(path: string): string {
  return path.replace(/[^A-Za-z0-9]/g, '_')
}
