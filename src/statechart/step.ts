import { type AnyActorRef, type AnyEventObject, assign, type MachineContext, stopChild } from 'xstate'
import type { Chart } from './compiled-chart.ts'
import type { Block, Candidate, Configuration, Plan } from './transition-table.ts'
import type {
  ActorScope,
  Builtin,
  GuardReference,
  GuardScope,
  QueueOfStep,
  Snapshot,
  StateNode,
} from './xstate-internals.ts'

/** Builtins that read nothing of a snapshot but `machine`, `context` and `children`, and return it unchanged. */
const PURE_BUILTINS = new Set(['xstate.sendTo', 'xstate.log'])

/** Thrown when an assignment spawns: xstate's own `assign` does it again. */
export const SPAWNS = new Error('an assignment spawns')

/** One event on its way through a machine: everything that changes while it is handled. */
export class Step {
  readonly chart: Chart
  readonly scope: ActorScope
  readonly machine: Chart['machine']
  event: AnyEventObject
  context: MachineContext
  children: Snapshot['children']
  private snapshot: Snapshot
  private at: Configuration
  private status: Snapshot['status']
  private output: unknown
  private isChanged = false
  private queue: AnyEventObject[] | undefined
  private block: QueueOfStep | undefined
  private retries: [Builtin, unknown][] | undefined

  constructor(chart: Chart, snapshot: Snapshot, at: Configuration, scope: ActorScope, event: AnyEventObject) {
    this.chart = chart
    this.scope = scope
    this.machine = chart.machine
    this.event = event
    this.context = snapshot.context
    this.children = snapshot.children
    this.snapshot = snapshot
    this.at = at
    this.status = snapshot.status
    this.output = snapshot.output
  }

  // The course of an event.

  /** The first candidate whose guard holds. */
  select(candidates: readonly Candidate[]): Candidate | undefined {
    if (candidates.length === 0) return undefined
    const guardScope = { context: this.context, event: this.event }
    for (const candidate of candidates)
      if (candidate.guard === undefined || this.isAllowed(candidate, guardScope)) return candidate
    return undefined
  }

  private isAllowed({ guard, eventType, definition }: Candidate, guardScope: GuardScope): boolean {
    if (guard === undefined) return true
    if (eventType === undefined) return guard(guardScope, this.snapshot)
    try {
      return guard(guardScope, this.snapshot)
    } catch (error) {
      throw buildGuardError(definition.guard, definition.source, eventType, error)
    }
  }

  /** Takes one transition, or none, and reports it as xstate does. */
  take(candidate: Candidate | undefined): void {
    if (candidate !== undefined) this.carryOut(candidate.plan)
    this.scope.system._sendInspectionEvent({
      type: '@xstate.microstep',
      actorRef: this.scope.self,
      event: this.event,
      snapshot: this.snapshot,
      _transitions: candidate === undefined ? [] : candidate.list,
    })
  }

  carryOut({ blocks, next }: Plan): void {
    for (const block of blocks) this.runBlock(block)
    const at = next === undefined ? this.at : this.chart.configurationOf(next)
    if (this.status !== 'active') for (const exit of at.lastExits) exit(this)
    else if (!this.isChanged && at === this.at) return
    this.at = at
    this.isChanged = false
    this.snapshot = this.chart.buildSnapshot(at, {
      status: this.status,
      output: this.output,
      context: this.context,
      children: this.children,
      historyValue: this.snapshot.historyValue,
    })
  }

  /** Takes eventless transitions and raised events until nothing is left to do. */
  settle(): Snapshot {
    let looksForEventless = true
    for (let count = 1; this.status === 'active'; count += 1) {
      if (count > this.chart.maxIterations) throw new Error(toEndless(this.chart.maxIterations))
      const eventless = looksForEventless ? this.select(this.at.always) : undefined
      if (eventless !== undefined) {
        const before = this.snapshot
        this.take(eventless)
        looksForEventless = this.snapshot !== before
        continue
      }
      const raised = this.queue?.shift()
      if (raised === undefined) return this.snapshot
      this.event = raised
      this.take(this.select(this.chart.candidatesOf(this.at, raised.type)))
      looksForEventless = true
    }
    // The last snapshot keeps its children, although they are stopped.
    const { snapshot } = this
    for (const child of Object.values(this.children)) this.runBuiltin(stopOf(child), undefined)
    return snapshot
  }

  private runBlock({ actions, deferred, final }: Block): void {
    if (deferred === undefined) for (const action of actions) action(this)
    else this.runSpawningBlock(actions, deferred)
    if (final !== undefined) this.complete(final)
  }

  /** A message to a child that the same block spawns is resolved again once the child is there. */
  private runSpawningBlock(actions: Block['actions'], deferred: readonly string[]): void {
    this.queue ??= []
    this.block = { internalQueue: this.queue, deferredActorIds: deferred }
    const retries: [Builtin, unknown][] = []
    this.retries = retries
    for (const action of actions) action(this)
    this.block = undefined
    this.retries = undefined
    for (const [builtin, resolved] of retries) builtin.retryResolve?.(this.scope, this, resolved)
  }

  /** A final state was entered: its parent is done, and below the root the machine is. */
  private complete(final: StateNode): void {
    const { parent } = final
    if (parent === undefined) return
    this.queue ??= []
    this.queue.push({ type: `xstate.done.state.${parent.id}`, output: this.resolveOutput(final, this.event) })
    const { root } = this.chart
    if (parent !== root) return
    this.status = 'done'
    if (root.output === undefined) return
    const done = { type: `xstate.done.state.${final.id}`, output: this.resolveOutput(final, this.event) }
    this.output = this.resolveOutput(root, done)
  }

  private resolveOutput({ output }: StateNode, event: AnyEventObject): unknown {
    return typeof output === 'function'
      ? output({ context: this.context, event, self: this.scope.self })
      : output
  }

  // Actions.

  run(type: string, exec: unknown, params: unknown): void {
    this.scope.actionExecutor({ type, info: new Info(this), params, exec })
  }

  assign(assignment: unknown, params: unknown): void {
    const info = new AssignInfo(this)
    let update: object
    try {
      update =
        typeof assignment === 'function'
          ? assignment(info, params)
          : assignByKey(assignment as Readonly<Record<string, unknown>>, info, params)
    } catch (error) {
      if (error !== SPAWNS) throw error
      this.runBuiltin(assign(assignment as never) as unknown as Builtin, params)
      return
    }
    this.context = { ...this.context, ...update }
    this.isChanged = true
  }

  emit(given: unknown, params: unknown): void {
    const { scope } = this
    const info = new Info(this)
    const event = typeof given === 'function' ? given(info, params) : given
    const exec = () => scope.defer(() => scope.emit(event))
    scope.actionExecutor({ type: 'xstate.emit', info, params: { event }, exec })
  }

  raise(given: unknown, { id, delay }: { readonly id?: string; readonly delay?: unknown }, params: unknown) {
    const { scope } = this
    const info = new Info(this)
    const event = typeof given === 'function' ? given(info, params) : given
    const named = typeof delay === 'string' ? this.chart.delays[delay] : delay
    const delayMs: unknown = typeof named === 'function' ? named(info, params) : named
    // Without a delay in milliseconds the event is raised at once, even where a delay was named.
    let exec = () => {}
    if (typeof delayMs === 'number') {
      const schedule = () => scope.system.scheduler.schedule(scope.self, scope.self, event, delayMs, id)
      exec = () => scope.defer(schedule)
    } else {
      this.queue ??= []
      this.queue.push(event)
    }
    scope.actionExecutor({ type: 'xstate.raise', info, params: { event, id, delay: delayMs }, exec })
  }

  cancel(given: unknown, params: unknown): void {
    const { scope } = this
    const info = new Info(this)
    const sendId = typeof given === 'function' ? given(info, params) : given
    const exec = () => scope.defer(() => scope.system.scheduler.cancel(scope.self, sendId))
    scope.actionExecutor({ type: 'xstate.cancel', info, params: { sendId }, exec })
  }

  enqueueActions(collect: Builtin['collect'], params: unknown): void {
    const { context, event, scope } = this
    const check = (guard: GuardReference) =>
      this.chart.resolveGuard(guard)({ context, event }, this.toSnapshot())
    const list = this.chart.collect((enqueue) =>
      collect?.({ context, event, enqueue, check, self: scope.self, system: scope.system }, params),
    )
    for (const queued of list) {
      if (queued.kind === 'other') this.chart.resolveAction(queued.action)(this)
      else if (queued.kind === 'assign') this.assign(queued.what, undefined)
      else if (queued.kind === 'emit') this.emit(queued.what, undefined)
      else if (queued.kind === 'raise') this.raise(queued.what, queued.options ?? {}, undefined)
      else this.cancel(queued.what, undefined)
    }
  }

  /** Any other builtin, by xstate's own code. */
  runBuiltin(builtin: Builtin, params: unknown): void {
    const { scope } = this
    const info = new Info(this)
    const before = PURE_BUILTINS.has(builtin.type) ? (this as unknown as Snapshot) : this.toSnapshot()
    this.queue ??= []
    const block = this.block ?? { internalQueue: this.queue, deferredActorIds: undefined }
    const [after, resolved, actions = []] = builtin.resolve(scope, before, info, params, builtin, block)
    if (after !== before) {
      this.context = after.context
      this.children = after.children
      this.isChanged = true
    }
    if ('retryResolve' in builtin) this.retries?.push([builtin, resolved])
    if ('execute' in builtin)
      scope.actionExecutor({
        type: builtin.type,
        info,
        params: resolved,
        exec: () => builtin.execute?.(scope, resolved),
      })
    for (const action of actions) this.chart.resolveAction(action)(this)
  }

  /** What xstate would hold in the middle of this step: the old state with what has changed so far. */
  private toSnapshot(): Snapshot {
    const { status, output, context, children } = this
    return { ...this.snapshot, status, output, context, children }
  }
}

/** What an action is called with. */
class Info {
  readonly context: MachineContext
  readonly event: AnyEventObject
  readonly self: AnyActorRef
  readonly system: ActorScope['system']
  constructor({ context, event, scope }: Step) {
    this.context = context
    this.event = event
    this.self = scope.self
    this.system = scope.system
  }
}

class AssignInfo extends Info {
  get spawn(): never {
    throw SPAWNS
  }
}

function assignByKey(assignment: Readonly<Record<string, unknown>>, info: AssignInfo, params: unknown) {
  const update: Record<string, unknown> = {}
  for (const key in assignment) {
    const part = assignment[key]
    update[key] = typeof part === 'function' ? part(info, params) : part
  }
  return update
}

function stopOf(child: AnyActorRef): Builtin {
  return stopChild(child) as unknown as Builtin
}

function buildGuardError(
  guard: GuardReference | undefined,
  { id }: StateNode,
  eventType: string,
  error: unknown,
): Error {
  const name = typeof guard === 'object' ? guard.type : typeof guard === 'string' ? guard : undefined
  const which = name === undefined ? '' : `'${name}' `
  const { message } = error as Error
  return new Error(
    `Unable to evaluate guard ${which}in transition for event '${eventType}' in state node '${id}':\n${message}`,
  )
}

function toEndless(maxIterations: number): string {
  return `Infinite loop detected: the machine has processed more than ${maxIterations} microsteps without reaching a stable state. This usually happens when there's a cycle of transitions (e.g., eventless transitions or raised events causing state A -> B -> C -> A).`
}
