import type { AnyActorRef, AnyEventObject, AnyStateMachine, EventObject, MachineContext } from 'xstate'

/**
 * The parts of xstate 5.33.3 that the executor uses and that xstate does not document. xstate is pinned to this
 * version; the differential tests in `test/statechart` fail when one of these parts changes its meaning.
 */

/** A state of a chart. Only what the executor reads. */
export interface StateNode {
  readonly id: string
  readonly key: string
  readonly type: 'atomic' | 'compound' | 'parallel' | 'final' | 'history'
  readonly order: number
  readonly parent?: StateNode
  readonly states: Readonly<Record<string, StateNode>>
  readonly initial: { readonly target: readonly [StateNode]; readonly actions: readonly ActionReference[] }
  readonly tags: readonly string[]
  readonly transitions: ReadonlyMap<string, readonly TransitionDefinition[]>
  readonly always?: readonly TransitionDefinition[]
  readonly entry: readonly ActionReference[]
  readonly exit: readonly ActionReference[]
  readonly invoke: readonly InvokeDefinition[]
  readonly output?: unknown
  readonly config: { readonly route?: unknown }
}

export interface TransitionDefinition {
  readonly source: StateNode
  readonly target?: readonly StateNode[]
  readonly guard?: GuardReference
  readonly actions: readonly ActionReference[]
  readonly reenter: boolean
}

export interface InvokeDefinition {
  readonly id: string
  readonly src: never
  readonly onSnapshot?: unknown
}

/** A guard as a chart names it: by name, by name with parameters, or as the function itself. */
export type GuardReference = string | { readonly type: string; readonly params?: unknown } | GuardFunction
export type GuardFunction = ((scope: GuardScope, params: unknown) => boolean) & {
  /** Set on `and`, `or`, `not` and `stateIn`. */
  readonly check?: (snapshot: Snapshot, scope: GuardScope, guard: GuardFunction) => boolean
  readonly guards?: readonly GuardReference[]
}
export interface GuardScope {
  readonly context: MachineContext
  readonly event: AnyEventObject
}

/** An action as a chart names it: by name, by name with parameters, or as the function itself. */
export type ActionReference = string | { readonly type: string; readonly params?: unknown } | ActionFunction
export interface Builtin {
  (args: unknown, params: unknown): unknown
  readonly type: string
  resolve(
    scope: ActorScope,
    snapshot: Snapshot,
    args: unknown,
    params: unknown,
    action: Builtin,
    extra: QueueOfStep,
  ): readonly [snapshot: Snapshot, resolved: unknown, actions?: readonly ActionReference[]]
  execute?(scope: ActorScope, resolved: unknown): void
  retryResolve?(scope: ActorScope, snapshot: Pick<Snapshot, 'children'>, resolved: unknown): void
  /** Of `assign`. */
  readonly assignment?: unknown
  /** Of `emit` and `raise`. */
  readonly event?: unknown
  /** Of `raise`. */
  readonly id?: string
  readonly delay?: unknown
  /** Of `cancel`. */
  readonly sendId?: unknown
  /** Of `enqueueActions`. */
  readonly collect?: (args: object, params: unknown) => void
}
export type ActionFunction = ((args: unknown, params: unknown) => void) | Builtin

/** Raised events, and the children that the same block of actions is about to spawn. */
export interface QueueOfStep {
  readonly internalQueue: AnyEventObject[]
  readonly deferredActorIds: readonly string[] | undefined
}

export interface Snapshot {
  readonly status: 'active' | 'done' | 'error' | 'stopped'
  readonly output: unknown
  readonly error: unknown
  readonly machine: AnyStateMachine
  readonly context: MachineContext
  readonly _nodes: readonly StateNode[]
  readonly value: unknown
  readonly tags: ReadonlySet<string>
  readonly children: Readonly<Record<string, AnyActorRef>>
  readonly historyValue: unknown
  readonly matches: unknown
  readonly hasTag: unknown
  readonly can: unknown
  readonly getMeta: unknown
  readonly toJSON: unknown
}

export interface ActorScope {
  readonly self: AnyActorRef
  readonly system: {
    readonly scheduler: {
      schedule(source: AnyActorRef, target: AnyActorRef, event: unknown, delayMs: number, id?: string): void
      cancel(source: AnyActorRef, id: unknown): void
    }
    _sendInspectionEvent(event: object): void
  }
  defer(fn: () => void): void
  emit(event: EventObject): void
  actionExecutor(action: {
    readonly type: string
    readonly info: object
    readonly params: unknown
    readonly exec: unknown
  }): void
}

/** The machine as the executor reads it. */
export interface Machine {
  readonly root: StateNode
  readonly config: { readonly context?: unknown; readonly initial: string }
  readonly options?: { readonly maxIterations?: number }
  readonly implementations: {
    readonly actions: Readonly<Record<string, ActionFunction | undefined>>
    readonly guards: Readonly<Record<string, GuardReference | undefined>>
    readonly delays: Readonly<Record<string, unknown>>
  }
}
