import { type AnyStateMachine, type MachineContext, StateMachine } from 'xstate'
import { createChart } from './compiled-chart.ts'
import { isCompilable } from './state-tree.ts'
import { SPAWNS, Step } from './step.ts'
import type { ActorScope, Machine, Snapshot } from './xstate-internals.ts'

/**
 * The same machine, run from a table: the same snapshots, actions, messages and errors as xstate's interpreter, at a
 * fraction of its cost. Only `transition` and `getInitialSnapshot` differ; actors, mailboxes, timers, children,
 * persistence and inspection stay xstate's. `provide` gives a compiled machine again. A chart with parallel, history
 * or routed states, or with a transition to several targets, is returned as it is.
 */
export function compile<Source extends AnyStateMachine>(machine: Source): Source {
  if (machine instanceof CompiledMachine || !isCompilable((machine as unknown as Machine).root))
    return machine
  return new CompiledMachine(machine) as unknown as Source
}

/**
 * `compile`, or xstate's own interpreter where the environment says `LEASEHOLD_STATECHARTS=xstate`. Both do the same:
 * the variable shows whether a fault lies in the table.
 */
export function chooseInterpreter(environment: Readonly<Record<string, string | undefined>>): typeof compile {
  return environment.LEASEHOLD_STATECHARTS === 'xstate' ? (machine) => machine : compile
}

// The type parameters of a machine are the caller's: `compile` hands them through.
const AnyMachine = StateMachine as unknown as new (
  config: AnyStateMachine['config'],
  implementations: AnyStateMachine['implementations'],
) => AnyStateMachine

class CompiledMachine extends AnyMachine {
  // xstate binds its methods in its constructor, so these are set after it.
  constructor({ config, implementations }: AnyStateMachine) {
    super(config, implementations)
    const chart = createChart(this)
    const { transition, getInitialSnapshot, provide } = this
    this.provide = ((given: never) => compile(provide.call(this, given))) as AnyStateMachine['provide']

    this.transition = ((snapshot: Snapshot, event: { readonly type: string }, scope: ActorScope) => {
      if (event.type === 'xstate.stop' || event.type === 'xstate.init' || snapshot.status !== 'active')
        return transition(snapshot as never, event, scope as never)
      const at = chart.configurationOfSnapshot(snapshot)
      const step = new Step(chart, snapshot, at, scope, event)
      const chosen = step.select(chart.candidatesOf(at, event.type))
      // An error of a child that the chart does not handle ends the machine.
      if (chosen === undefined && event.type.startsWith('xstate.error.actor'))
        return transition(snapshot as never, event, scope as never)
      step.take(chosen)
      return step.settle()
    }) as never

    this.getInitialSnapshot = ((scope: ActorScope, input: unknown) => {
      const event = { type: 'xstate.init', input }
      const given: unknown = config.context
      let context: MachineContext = typeof given === 'object' && given !== null ? given : {}
      const build = (status: Snapshot['status'], error?: unknown) =>
        chart.buildSnapshot(chart.origin, {
          status,
          output: undefined,
          error,
          context,
          children: {},
          historyValue: {},
        })
      try {
        if (typeof given === 'function')
          context = { ...given({ input, self: scope.self, spawn: refuseSpawn }) }
        const step = new Step(chart, build('active'), chart.origin, scope, event)
        step.carryOut(chart.beginning)
        return step.settle()
      } catch (error) {
        if (error === SPAWNS) return getInitialSnapshot(scope as never, input as never)
        return build('error', error)
      }
    }) as never
  }
}

/** A context that spawns is left to xstate. */
function refuseSpawn(): never {
  throw SPAWNS
}
