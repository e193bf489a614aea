import { spawnChild, stopChild } from 'xstate'
import type { Action } from './action-functions.ts'
import type { Guard } from './guard-functions.ts'
import {
  buildValue,
  findInitialLeaf,
  findRoute,
  isLeaf,
  listNodes,
  listPath,
  listTransitions,
} from './state-tree.ts'
import type {
  ActionReference,
  GuardReference,
  Machine,
  Snapshot,
  StateNode,
  TransitionDefinition,
} from './xstate-internals.ts'

/** Everything that is decided once for an active leaf: its value and tags, and what each event type may do. */
export interface Configuration {
  readonly nodes: readonly StateNode[]
  readonly value: unknown
  readonly tags: ReadonlySet<string>
  readonly always: readonly Candidate[]
  /** Candidates by event type. Only types that the chart names: unknown ones would be kept for ever. */
  readonly byType: Map<string, readonly Candidate[]>
  /** Inner first, as xstate leaves the nodes of a machine that is done. */
  readonly reversed: readonly StateNode[]
  /** Exit actions that run when the machine is done in this leaf. */
  readonly lastExits: readonly Action[]
}

/** One transition as seen from one active leaf. */
export interface Candidate {
  readonly definition: TransitionDefinition
  /** The same, as the inspection message lists it. */
  readonly list: readonly TransitionDefinition[]
  readonly guard: Guard | undefined
  /** `undefined` for eventless transitions, whose guard errors xstate does not wrap. */
  readonly eventType: string | undefined
  readonly plan: Plan
}

/** What a transition does: its actions in order, and the leaf that is active afterwards. */
export interface Plan {
  readonly blocks: readonly Block[]
  readonly next: StateNode | undefined
}

/** Actions that run in one go. */
export interface Block {
  readonly actions: readonly Action[]
  /** Ids of children that these actions spawn and already send to. */
  readonly deferred: readonly string[] | undefined
  /** Set when these actions enter a final state. */
  readonly final: StateNode | undefined
}

export interface Table {
  /** Before the first state is entered. */
  readonly origin: Configuration
  readonly beginning: Plan
  configurationOf(leaf: StateNode): Configuration
  /** A restored snapshot may list its nodes in another order. */
  configurationOfSnapshot(snapshot: Snapshot): Configuration
  candidatesOf(at: Configuration, eventType: string): readonly Candidate[]
}

export interface TableOptions {
  readonly machine: Machine
  readonly resolveGuard: (reference: GuardReference) => Guard
  readonly resolveAction: (reference: ActionReference) => Action
}

/** Builds the table of one machine, each part when it is first needed. */
export function createTable({ machine: { root }, resolveGuard, resolveAction }: TableOptions): Table {
  const configurations = new Map<StateNode, Configuration>()
  const knownTypes = new Set(listNodes(root).flatMap(({ transitions }) => [...transitions.keys()]))
  const resolveActions = (references: readonly ActionReference[]) => references.map(resolveAction)

  function configurationOf(leaf: StateNode): Configuration {
    const known = configurations.get(leaf)
    if (known !== undefined) return known
    const nodes = listPath(leaf)
    const reversed = nodes.toReversed()
    const configuration: Configuration = {
      nodes,
      value: buildValue(nodes),
      tags: new Set(nodes.flatMap(({ tags }) => tags)),
      always: reversed
        .flatMap((node) => node.always ?? [])
        .map((definition) => buildCandidate(nodes, definition, undefined)),
      byType: new Map(),
      reversed,
      lastExits: resolveActions(reversed.flatMap(({ exit }) => exit)),
    }
    configurations.set(leaf, configuration)
    return configuration
  }

  function candidatesOf(at: Configuration, type: string): readonly Candidate[] {
    const known = at.byType.get(type)
    if (known !== undefined) return known
    const found = at.nodes
      .toReversed()
      .flatMap((node) => listTransitions(node, type))
      .map((definition) => buildCandidate(at.nodes, definition, type))
    if (knownTypes.has(type)) at.byType.set(type, found)
    return found
  }

  function buildCandidate(
    nodes: readonly StateNode[],
    definition: TransitionDefinition,
    eventType: string | undefined,
  ): Candidate {
    const guard = definition.guard === undefined ? undefined : resolveGuard(definition.guard)
    return { definition, list: [definition], guard, eventType, plan: buildPlan(nodes, definition) }
  }

  function buildPlan(nodes: readonly StateNode[], definition: TransitionDefinition): Plan {
    const own = { ...NO_BLOCK, actions: resolveActions(definition.actions) }
    const [target] = definition.target ?? []
    if (target === undefined) return { blocks: merge([own]), next: undefined }
    const { exits, entries, defaults } = findRoute(nodes, definition, target)
    const left = new Set(exits)
    return {
      blocks: merge([
        ...exits.map(buildExit),
        own,
        ...entries.map((node) => buildEntry(node, defaults.has(node))),
      ]),
      next: [...nodes.filter((node) => !left.has(node)), ...entries].find(isLeaf),
    }
  }

  function buildExit({ exit, invoke }: StateNode): Block {
    const stops = invoke.map(({ id }) => stopChild(id) as unknown as ActionReference)
    return { ...NO_BLOCK, actions: resolveActions([...exit, ...stops]) }
  }

  function buildEntry(node: StateNode, isDefault: boolean): Block {
    const spawns = node.invoke.map(
      (one) =>
        spawnChild(one.src, {
          ...one,
          syncSnapshot: one.onSnapshot !== undefined,
        } as never) as unknown as ActionReference,
    )
    const initial = isDefault && node.type === 'compound' ? node.initial.actions : []
    return {
      actions: resolveActions([...node.entry, ...spawns, ...initial]),
      deferred: spawns.length === 0 ? undefined : node.invoke.map(({ id }) => id),
      final: node.type === 'final' ? node : undefined,
    }
  }

  const firstPath = listPath(findInitialLeaf(root))
  return {
    origin: {
      nodes: [root],
      value: buildValue(firstPath),
      tags: new Set(root.tags),
      always: [],
      byType: new Map(),
      reversed: [root],
      lastExits: [],
    },
    beginning: {
      blocks: merge(firstPath.map((node) => buildEntry(node, true))),
      next: firstPath.at(-1),
    },
    configurationOf,
    configurationOfSnapshot: ({ _nodes: nodes }) => {
      const last = nodes.at(-1)
      const leaf = last !== undefined && isLeaf(last) ? last : nodes.find(isLeaf)
      return configurationOf(leaf ?? root)
    },
    candidatesOf,
  }
}

const NO_BLOCK: Block = { actions: [], deferred: undefined, final: undefined }

/** Neighbours that spawn nothing and end nothing become one block. */
function merge(blocks: readonly Block[]): Block[] {
  const merged: Block[] = []
  for (const block of blocks) {
    const last = merged.at(-1)
    const joins = last !== undefined && last.deferred === undefined && last.final === undefined
    if (joins && block.deferred === undefined)
      merged[merged.length - 1] = { ...block, actions: [...last.actions, ...block.actions] }
    else merged.push(block)
  }
  return merged.filter(({ actions, final }) => actions.length > 0 || final !== undefined)
}
