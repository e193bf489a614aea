import type { StateNode, TransitionDefinition } from './xstate-internals.ts'

/**
 * A chart as a tree of states. Without parallel states the active leaf says everything, so exits, entries and
 * candidates follow from the leaf alone. These functions run when a table is made, never per event.
 */

/** Whether the executor knows everything that this chart uses; other charts stay with xstate. */
export function isCompilable(root: StateNode): boolean {
  return root.type === 'compound' && listNodes(root).every(isKnown)
}

function isKnown({ type, config, transitions, always = [] }: StateNode): boolean {
  if (type === 'parallel' || type === 'history' || config.route !== undefined) return false
  return [...transitions.values(), always].flat().every(({ target = [] }) => target.length <= 1)
}

export function listNodes(node: StateNode): StateNode[] {
  return [node, ...Object.values(node.states).flatMap(listNodes)]
}

export function isLeaf({ type }: StateNode): boolean {
  return type === 'atomic' || type === 'final'
}

/** From the root to the node. */
export function listPath(node: StateNode): StateNode[] {
  return node.parent === undefined ? [node] : [...listPath(node.parent), node]
}

export function findInitialLeaf(node: StateNode): StateNode {
  return node.type === 'compound' ? findInitialLeaf(node.initial.target[0]) : node
}

export function buildValue(path: readonly StateNode[]): unknown {
  const keys = path.slice(1).map(({ key }) => key)
  return keys.slice(0, -1).reduceRight<unknown>((inner, key) => ({ [key]: inner }), keys.at(-1))
}

/** What a transition leaves (inner first) and enters (outer first), as SCXML defines it for one region. */
export interface Route {
  readonly exits: readonly StateNode[]
  readonly entries: readonly StateNode[]
  /** Entered without being the target's ancestor: their initial actions run. */
  readonly defaults: ReadonlySet<StateNode>
}

export function findRoute(
  active: readonly StateNode[],
  { source, reenter }: TransitionDefinition,
  target: StateNode,
): Route {
  const isInside = target === source || isWithin(target, source)
  const domain = !reenter && isInside ? source : findCommonAncestor(target, source, reenter)
  const exits = active.filter((node) => domain === undefined || isWithin(node, domain)).toReversed()
  const staysAtItself = source === target && source === domain && !reenter
  const descent = target.type === 'compound' ? listDescent(target) : []
  const defaults = new Set(staysAtItself ? descent : [target, ...descent])
  const entries = new Set(defaults)
  if (target !== domain)
    for (let node = target.parent; node !== undefined && node !== domain; node = node.parent)
      entries.add(node)
  return { exits, entries: [...entries].sort((a, b) => a.order - b.order), defaults }
}

/** The initial states below a compound state, outer first. */
function listDescent(node: StateNode): StateNode[] {
  if (node.type !== 'compound') return []
  const [first] = node.initial.target
  return [first, ...listDescent(first)]
}

function isWithin(node: StateNode, ancestor: StateNode): boolean {
  for (let one = node.parent; one !== undefined; one = one.parent) if (one === ancestor) return true
  return false
}

function findCommonAncestor(target: StateNode, source: StateNode, reenter: boolean): StateNode | undefined {
  for (let node = target.parent; node !== undefined; node = node.parent)
    if (isWithin(source, node)) return node
  return reenter ? undefined : listPath(source)[0]
}

/** Transitions of one state for an event type: exact ones first, then wildcards, the most specific first. */
export function listTransitions(node: StateNode, type: string): TransitionDefinition[] {
  const exact = node.transitions.get(type) ?? []
  const wildcards = [...node.transitions]
    .filter(([descriptor]) => descriptor !== type && isMatch(type, descriptor))
    .sort(([a], [b]) => b.length - a.length)
  return [...exact, ...wildcards.flatMap(([, definitions]) => definitions)]
}

function isMatch(type: string, descriptor: string): boolean {
  if (descriptor === '*') return true
  if (!descriptor.endsWith('.*')) return false
  const tokens = type.split('.')
  const wanted = descriptor.split('.')
  const differs = wanted.findIndex((token, index) => token === '*' || token !== tokens[index])
  return wanted[differs] === '*' && differs === wanted.length - 1
}
