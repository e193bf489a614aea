import { sendParent, setup, stopChild } from 'xstate'
import type { ServicePolicy, SupervisorEmitted, SupervisorEvent } from './messages.ts'
import { providerMachine } from './provider.ts'

/** What the root is born with. `instance` is a random id: generations of two supervisors never meet. */
export interface SupervisorInput {
  readonly instance: string
}

/** What the root remembers: which services there are, and who may start. */
export interface SupervisorContext extends SupervisorInput {
  /** The services that are configured; one that was removed may still be stopping. */
  readonly services: Readonly<Record<string, ServicePolicy>>
  /** Keys whose provider actor lives. */
  readonly alive: readonly string[]
  /** Provider actors ever made; part of each one's instance id. */
  readonly born: number
  readonly maxConcurrentStarts: number
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
    isUnused: ({ context }: Scope) => context.alive.length === 0,
  },
})

const keyOf = (event: SupervisorEvent): string => ('key' in event ? event.key : '')
/** `xstate.done.actor.KEY` and `xstate.error.actor.KEY`. */
const actorOf = (event: { readonly type: string }): string => event.type.replace(/^xstate\.\w+\.actor\./, '')

const supervisor = base.extend({
  actions: {
    replaceServices: base.enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'services.replaced') return
      enqueue.assign({ services: event.services, maxConcurrentStarts: event.maxConcurrentStarts })
      for (const key of context.alive) {
        const policy = event.services[key]
        if (policy === undefined) enqueue.sendTo(key, { type: 'service.stop', reason: 'removed' })
        else enqueue.sendTo(key, { type: 'policy.replaced', policy })
      }
    }),
    /** An actor for every service that has none: new ones, those that died, and those removed and wanted again. */
    bearProviders: base.enqueueActions(({ context, enqueue }) => {
      const unborn = Object.entries(context.services).filter(([key]) => !context.alive.includes(key))
      unborn.forEach(([key, policy], index) => {
        const instance = `${context.instance}-${context.born + index + 1}`
        enqueue.spawnChild('provider', { id: key, input: { key, instance, policy } })
        enqueue.emit({ type: 'service.added', key })
      })
      enqueue.assign({
        born: context.born + unborn.length,
        alive: [...context.alive, ...unborn.map(([key]) => key)],
      })
    }),
    permitStart: base.enqueueActions(({ context, event, enqueue }) => {
      enqueue.assign({ starting: [...context.starting, keyOf(event)] })
      enqueue.sendTo(keyOf(event), { type: 'start.permitted' })
    }),
    queueStart: base.assign({ startQueue: ({ context, event }) => [...context.startQueue, keyOf(event)] }),
    passPermitsOn: base.enqueueActions(({ context, event, enqueue }) => {
      const starting = context.starting.filter((key) => key !== keyOf(event))
      const queue = context.startQueue.filter((key) => key !== keyOf(event))
      const permitted = queue.slice(0, Math.max(0, context.maxConcurrentStarts - starting.length))
      enqueue.assign({ starting: [...starting, ...permitted], startQueue: queue.slice(permitted.length) })
      for (const key of permitted) enqueue.sendTo(key, { type: 'start.permitted' })
    }),
    stopAll: base.enqueueActions(({ context, event, enqueue }) => {
      const force = event.type === 'shutdown' && event.force === true
      for (const key of context.alive)
        enqueue.sendTo(key, { type: 'service.stop', reason: 'shutdown', force })
    }),
    /** The actor is gone, whatever it held with it: its place among those that start, too. */
    forgetProvider: base.enqueueActions(({ context, event, enqueue }) => {
      const key = actorOf(event)
      enqueue(stopChild(key))
      enqueue.assign({ alive: context.alive.filter((other) => other !== key) })
      enqueue.raise({ type: 'start.finished', key })
    }),
    reportRetirement: base.emit(({ event }) => ({ type: 'service.retired', key: actorOf(event) })),
    reportFailure: base.emit(({ event }) => ({
      type: 'service.failed',
      key: actorOf(event),
      message: 'error' in event ? String(event.error) : 'unknown',
    })),
  },
})

/** The root: the registry of services, the limits they share, and an ordered end. */
export const supervisorMachine = supervisor.createMachine({
  id: 'supervisor',
  initial: 'running',
  context: ({ input }) => ({
    ...input,
    services: {},
    alive: [],
    born: 0,
    maxConcurrentStarts: 0,
    starting: [],
    startQueue: [],
  }),
  on: {
    'start.requested': [{ guard: 'hasStartRoom', actions: 'permitStart' }, { actions: 'queueStart' }],
    'start.finished': { actions: 'passPermitsOn' },
  },
  states: {
    running: {
      on: {
        'services.replaced': { actions: ['replaceServices', 'bearProviders', 'passPermitsOn'] },
        'xstate.done.actor.*': { actions: ['forgetProvider', 'reportRetirement', 'bearProviders'] },
        // It died of a bug: its process is reaped by key, and a fresh actor takes its place.
        'xstate.error.actor.*': { actions: ['forgetProvider', 'reportFailure', 'bearProviders'] },
        shutdown: { target: 'draining', actions: 'stopAll' },
      },
    },
    draining: {
      always: { guard: 'isUnused', target: 'stopped' },
      on: {
        'xstate.done.actor.*': { actions: ['forgetProvider', 'reportRetirement'] },
        'xstate.error.actor.*': { actions: ['forgetProvider', 'reportFailure'] },
        shutdown: { actions: 'stopAll' },
      },
    },
    stopped: { type: 'final' },
  },
})
