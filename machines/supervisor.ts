import { sendParent, setup, stopChild } from 'xstate'
import type { ServicePolicy, SupervisorEmitted, SupervisorEvent } from './messages.ts'
import { providerMachine } from './provider.ts'

/** What the root is born with. `instance` is a random id: generations of two supervisors never meet. */
export interface SupervisorInput {
  readonly instance: string
  /** How many services may be starting at the same time. */
  readonly maxConcurrentStarts: number
}

/** What the root remembers: which services there are, and who may start. */
export interface SupervisorContext extends SupervisorInput {
  readonly services: Readonly<Record<string, ServicePolicy>>
  /** Provider actors ever made; part of each one's instance id. */
  readonly born: number
  /** Keys that hold a start permit, and keys that wait for one, first come first served. */
  readonly starting: readonly string[]
  readonly startQueue: readonly string[]
}

type Scope = { context: SupervisorContext; event: SupervisorEvent }

/** The provider machine as it lives under a supervisor: it asks its parent before it starts. */
export const supervisedProviderMachine = providerMachine.provide({
  actions: {
    requestStart: sendParent(({ context }) => ({ type: 'start.requested', key: context.key })),
    finishStart: sendParent(({ context }) => ({ type: 'start.finished', key: context.key })),
  },
})

const base = setup({
  types: {
    context: {} as SupervisorContext,
    events: {} as SupervisorEvent,
    emitted: {} as SupervisorEmitted,
    input: {} as SupervisorInput,
  },
  actors: { provider: supervisedProviderMachine },
  guards: {
    hasStartRoom: ({ context }: Scope) => context.starting.length < context.maxConcurrentStarts,
    isUnused: ({ context }: Scope) => Object.keys(context.services).length === 0,
  },
})

const keyOf = (event: SupervisorEvent): string => ('key' in event ? event.key : '')
/** `xstate.done.actor.KEY` and `xstate.error.actor.KEY`. */
const actorOf = (event: { readonly type: string }): string => event.type.replace(/^xstate\.\w+\.actor\./, '')

const supervisor = base.extend({
  actions: {
    replaceServices: base.enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'services.replaced') return
      const added = Object.keys(event.services).filter((key) => !(key in context.services))
      for (const key of Object.keys(context.services)) {
        const policy = event.services[key]
        if (policy === undefined) enqueue.sendTo(key, { type: 'service.stop', reason: 'removed' })
        else enqueue.sendTo(key, { type: 'policy.replaced', policy })
      }
      added.forEach((key, index) => {
        const policy = event.services[key]
        if (policy === undefined) return
        const instance = `${context.instance}-${context.born + index + 1}`
        enqueue.spawnChild('provider', { id: key, input: { key, instance, policy } })
        enqueue.emit({ type: 'service.added', key })
      })
      enqueue.assign({
        born: context.born + added.length,
        services: { ...context.services, ...event.services },
      })
    }),
    permitStart: base.enqueueActions(({ context, event, enqueue }) => {
      enqueue.assign({ starting: [...context.starting, keyOf(event)] })
      enqueue.sendTo(keyOf(event), { type: 'start.permitted' })
    }),
    queueStart: base.assign({ startQueue: ({ context, event }) => [...context.startQueue, keyOf(event)] }),
    passPermitOn: base.enqueueActions(({ context, event, enqueue }) => {
      const starting = context.starting.filter((key) => key !== keyOf(event))
      const queue = context.startQueue.filter((key) => key !== keyOf(event))
      const permitted = queue.slice(0, context.maxConcurrentStarts - starting.length)
      enqueue.assign({ starting: [...starting, ...permitted], startQueue: queue.slice(permitted.length) })
      for (const key of permitted) enqueue.sendTo(key, { type: 'start.permitted' })
    }),
    stopAll: base.enqueueActions(({ context, event, enqueue }) => {
      const force = event.type === 'shutdown' && event.force === true
      for (const key of Object.keys(context.services))
        enqueue.sendTo(key, { type: 'service.stop', reason: 'shutdown', force })
    }),
    forgetService: base.enqueueActions(({ context, event, enqueue }) => {
      const key = actorOf(event)
      const { [key]: _, ...services } = context.services
      enqueue(stopChild(key))
      enqueue.assign({ services })
      enqueue.emit({ type: 'service.retired', key })
    }),
    reportFailure: base.emit(({ event }) => ({
      type: 'service.failed',
      key: actorOf(event),
      message: 'error' in event ? String(event.error) : 'unknown',
    })),
    /** A provider actor died of a bug: its process is reaped by key, and a fresh actor takes its place. */
    replaceProvider: base.enqueueActions(({ context, event, enqueue }) => {
      const key = actorOf(event)
      const policy = context.services[key]
      if (policy === undefined) return
      enqueue(stopChild(key))
      enqueue.spawnChild('provider', {
        id: key,
        input: { key, instance: `${context.instance}-${context.born + 1}`, policy },
      })
      enqueue.assign({ born: context.born + 1 })
      enqueue.emit({ type: 'service.added', key })
      enqueue.raise({ type: 'start.finished', key })
    }),
  },
})

/** The root: the registry of services, the limits they share, and an ordered end. */
export const supervisorMachine = supervisor.createMachine({
  id: 'supervisor',
  initial: 'running',
  context: ({ input }) => ({ ...input, services: {}, born: 0, starting: [], startQueue: [] }),
  on: {
    'start.requested': [{ guard: 'hasStartRoom', actions: 'permitStart' }, { actions: 'queueStart' }],
    'start.finished': { actions: 'passPermitOn' },
    'xstate.done.actor.*': { actions: 'forgetService' },
  },
  states: {
    running: {
      on: {
        'services.replaced': { actions: 'replaceServices' },
        'xstate.error.actor.*': { actions: ['reportFailure', 'replaceProvider'] },
        shutdown: { target: 'draining', actions: 'stopAll' },
      },
    },
    draining: {
      always: { guard: 'isUnused', target: 'stopped' },
      on: {
        'xstate.error.actor.*': { actions: ['reportFailure', 'forgetService'] },
        shutdown: { actions: 'stopAll' },
      },
    },
    stopped: { type: 'final' },
  },
})
