import type { AnyStateMachine, MachineContext } from 'xstate'
import { type Action, createActions } from './action-functions.ts'
import { createGuards, type Guard } from './guard-functions.ts'
import { type Collect, createCollector } from './queued.ts'
import { type Configuration, createTable, type Table } from './transition-table.ts'
import type { ActionReference, GuardReference, Machine, Snapshot, StateNode } from './xstate-internals.ts'

/** A machine with everything that is looked up once. */
export interface Chart extends Table {
  readonly machine: AnyStateMachine
  readonly root: StateNode
  readonly delays: Machine['implementations']['delays']
  readonly maxIterations: number
  resolveGuard(reference: GuardReference): Guard
  resolveAction(reference: ActionReference): Action
  readonly collect: Collect
  buildSnapshot(at: Configuration, changes: SnapshotChanges): Snapshot
}

export interface SnapshotChanges {
  readonly status: Snapshot['status']
  readonly output: unknown
  readonly error?: unknown
  readonly context: MachineContext
  readonly children: Snapshot['children']
  readonly historyValue: unknown
}

export function createChart(machine: AnyStateMachine): Chart {
  const inside = machine as unknown as Machine
  const { root, options, implementations } = inside
  const resolveGuard = createGuards(implementations.guards)
  const resolveAction = createActions(implementations.actions)
  // The methods of a snapshot are the same functions for every snapshot of xstate.
  const { matches, hasTag, can, getMeta, toJSON } = machine.resolveState({
    value: inside.config.initial,
    context: {},
  })
  return {
    ...createTable({ machine: inside, resolveGuard, resolveAction }),
    machine,
    root,
    delays: implementations.delays,
    maxIterations: options?.maxIterations ?? Number.POSITIVE_INFINITY,
    resolveGuard,
    resolveAction,
    collect: createCollector(),
    // Exactly the properties of xstate's snapshot, in their order.
    buildSnapshot: (at, { status, output, error, context, children, historyValue }) => ({
      status,
      output,
      error,
      machine,
      context,
      _nodes: status === 'done' ? at.reversed : at.nodes,
      value: at.value,
      tags: at.tags,
      children,
      historyValue,
      matches,
      hasTag,
      can,
      getMeta,
      toJSON,
    }),
  }
}
