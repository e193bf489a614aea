import { cancel, setup, stopChild } from 'xstate'
import type { SharingEvent, SupervisorEmitted, SupervisorEvent } from './messages.ts'
import { NEVER_MS } from './provider/delays.ts'
import { toPinnedFailure } from './provider/failures.ts'
import { supervisedProviderMachine } from './provider/supervised.ts'
import { findStayers, schedule, toHolds } from './scheduler.ts'
import {
  applyDecision,
  changeResident,
  emptyContext,
  forgetProvider,
  isDefaultMissed,
  keepShares,
  letStay,
  noteAsking,
  noteEnded,
  noteFinished,
  noteForeseen,
  notePhase,
  noteSleep,
  type SupervisorContext,
  type SupervisorInput,
} from './supervisor-context.ts'
import { AGEING_MS } from './waiting-line.ts'

type Scope = { context: SupervisorContext; event: SupervisorEvent }

const base = setup({
  types: {
    context: {} as SupervisorContext,
    events: {} as SupervisorEvent,
    emitted: {} as SupervisorEmitted,
    input: {} as SupervisorInput,
  },
  actors: { provider: supervisedProviderMachine },
  delays: {
    ageing: AGEING_MS,
    starvation: ({ context, event }: Scope) => context.shares[keyOf(event)]?.maxStarveMs ?? NEVER_MS,
    residency: ({ context, event }: Scope) => context.shares[keyOf(event)]?.minResidencyMs ?? 0,
    returnToDefault: ({ context }: Scope) => context.returnToDefaultMs,
  },
  guards: {
    isUnused: ({ context }: Scope) => context.alive.length === 0,
    isDefaultMissed: ({ context }: Scope) => isDefaultMissed(context),
  },
})

const keyOf = (event: SupervisorEvent): string => ('key' in event ? event.key : '')
const generationOf = (event: SupervisorEvent): string => ('generation' in event ? event.generation : '')
/** `xstate.done.actor.KEY` and `xstate.error.actor.KEY`. */
const actorOf = (event: { readonly type: string }): string => event.type.replace(/^xstate\.\w+\.actor\./, '')

/** Records what a provider reported. */
const note = <Type extends SharingEvent['type']>(
  type: Type,
  toChange: (
    context: SupervisorContext,
    event: Extract<SharingEvent, { type: Type }>,
  ) => Partial<SupervisorContext>,
) =>
  base.assign(({ context, event }) =>
    event.type === type ? toChange(context, event as Extract<SharingEvent, { type: Type }>) : {},
  )

const supervisor = base.extend({
  actions: {
    replaceServices: base.enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'services.replaced') return
      const { services, maxConcurrentStarts, sharing } = event
      const shares = { ...keepShares(context), ...sharing.shares }
      enqueue.assign({ services, maxConcurrentStarts, ...sharing, shares })
      for (const key of context.alive) {
        const policy = services[key]
        if (policy === undefined) enqueue.sendTo(key, { type: 'service.stop', reason: 'removed' })
        else enqueue.sendTo(key, { type: 'policy.replaced', policy })
      }
      // A service without an actor is wanted as soon as it has one.
      for (const key of sharing.preload)
        if (!context.preload.includes(key) && context.alive.includes(key))
          enqueue.emit({ type: 'service.wanted', key, cause: 'preload' })
    }),
    /** Every run holds what its service needs by the newest figures. */
    recount: base.assign(({ context }) => ({
      residents: context.residents.map((one) =>
        context.shares[one.key] === undefined ? one : { ...one, holds: toHolds(context, one) },
      ),
    })),
    /** Creates an actor for every service that has none: new, crashed, or removed and configured again. */
    bearProviders: base.enqueueActions(({ context, enqueue }) => {
      const unborn = Object.entries(context.services).filter(([key]) => !context.alive.includes(key))
      unborn.forEach(([key, policy], index) => {
        const instance = `${context.instance}-${context.born + index + 1}`
        enqueue.spawnChild('provider', { id: key, input: { key, instance, policy } })
        enqueue.emit({ type: 'service.added', key })
      })
      for (const key of context.preload)
        if (unborn.some(([other]) => other === key))
          enqueue.emit({ type: 'service.wanted', key, cause: 'preload' })
      enqueue.assign({
        born: context.born + unborn.length,
        alive: [...context.alive, ...unborn.map(([key]) => key)],
      })
    }),
    wantDefault: base.enqueueActions(({ context: { defaultKey }, enqueue }) => {
      enqueue.assign({ isDisplaced: false })
      if (defaultKey !== null) enqueue.emit({ type: 'service.wanted', key: defaultKey, cause: 'default' })
    }),

    noteAsking: note('start.requested', noteAsking),
    noteForeseen: note('start.foreseen', noteForeseen),
    noteDemand: note('start.changed', ({ queuedStarts }, { key, waiting, priority, isPreload }) => ({
      queuedStarts: queuedStarts.map((one) =>
        one.key === key ? { ...one, waiting, priority, isPreload } : one,
      ),
    })),
    noteFinished: note('start.finished', (context, { key, isRunning }) =>
      noteFinished(context, key, isRunning),
    ),
    noteEnded: note('run.ended', noteEnded),
    noteUse: note('service.used', (context, { generation }) => notePhase(context, generation, 'leased')),
    noteRest: note('service.rested', (context, { generation }) => notePhase(context, generation, 'idle')),
    noteLeaving: note('service.leaving', (context, { generation }) =>
      notePhase(context, generation, 'leaving'),
    ),
    noteFallingAsleep: note('service.falling-asleep', noteSleep),
    noteAsleep: note('service.asleep', noteSleep),
    noteAwake: note('service.awake', noteSleep),
    noteMeasured: base.assign(({ context, event }) =>
      event.type === 'share.measured' && context.shares[event.key] !== undefined
        ? { shares: { ...context.shares, [event.key]: event.share } }
        : {},
    ),
    noteOverdue: base.assign(({ context, event }) => ({
      queuedStarts: context.queuedStarts.map((one) =>
        one.generation === generationOf(event) ? { ...one, isOverdue: true } : one,
      ),
    })),
    ageStarts: base.assign(({ context }) => ({
      queuedStarts: context.queuedStarts.map((one) => ({ ...one, age: one.age + 1 })),
    })),
    noteSettled: base.assign(({ context, event }) => ({
      residents: changeResident(context.residents, generationOf(event), () => ({ residency: 'over' })),
    })),
    /** Runs from the request for a start until the service leaves the queue. */
    awaitStarvation: base.enqueueActions(({ event, enqueue }) => {
      const generation = generationOf(event)
      enqueue.raise(
        { type: 'start.overdue', generation },
        { delay: 'starvation', id: `starvation.${generation}` },
      )
    }),
    /** Runs while a start waits; begins with the first in the queue. */
    awaitAgeing: base.enqueueActions(({ context, enqueue }) => {
      if (context.queuedStarts.length !== 1) return
      enqueue.cancel('ageing')
      enqueue.raise({ type: 'starts.aged' }, { delay: 'ageing', id: 'ageing' })
    }),
    goOnAgeing: base.enqueueActions(({ context, enqueue }) => {
      if (context.queuedStarts.length > 0)
        enqueue.raise({ type: 'starts.aged' }, { delay: 'ageing', id: 'ageing' })
    }),
    forgetStarvation: base.enqueueActions(({ context, event, enqueue }) => {
      const asked = context.queuedStarts.find(({ key }) => key === keyOf(event))
      if (asked !== undefined) enqueue.cancel(`starvation.${asked.generation}`)
    }),
    /** Runs from the first use: until it ends, the service that gave up its room does not get it back. */
    awaitResidency: base.enqueueActions(({ context, event, enqueue }) => {
      const generation = generationOf(event)
      const resident = context.residents.find((one) => one.generation === generation)
      if (resident?.residency !== 'ahead') return
      enqueue.raise(
        { type: 'residency.over', generation },
        { delay: 'residency', id: `residency.${generation}` },
      )
    }),
    forgetResidency: cancel(({ event }: Scope) => `residency.${generationOf(event)}`),
    /** The delay of the default service restarts with every event. */
    awaitDefault: base.enqueueActions(({ context, enqueue }) => {
      if (context.returnToDefaultMs === 0) return
      enqueue.cancel('returnToDefault')
      if (isDefaultMissed(context))
        enqueue.raise({ type: 'default.due' }, { delay: 'returnToDefault', id: 'returnToDefault' })
    }),

    /** Decides and applies everything that can be decided now: permits, stops that make room, and their end. */
    decide: base.enqueueActions(({ context, enqueue }) => {
      let next = context
      for (;;) {
        const stayers = findStayers(next)
        for (const { key } of stayers) enqueue.sendTo(key, { type: 'service.stay' })
        if (stayers.length > 0) next = letStay(next, stayers)
        const decision = schedule(next)
        if (decision === null) break
        const { key, type, taken } = decision.choice
        const asked = next.queuedStarts.find((one) => one.key === key)
        next = applyDecision(next, decision)
        enqueue.emit({ type: 'scheduler.decided', key, ...decision })
        if (type === 'start') {
          enqueue.cancel(`starvation.${asked?.generation}`)
          // Of a run that is woken, from before its sleep.
          enqueue.cancel(`residency.${asked?.generation}`)
          enqueue.sendTo(key, { type: 'start.permitted', follows: taken.length > 0 })
        }
        if (type === 'decline')
          enqueue.sendTo(key, {
            type: 'start.declined',
            ...(decision.because.cause === 'pinned' ? { failure: toPinnedFailure(decision) } : {}),
          })
        if (type === 'evict')
          for (const victim of taken)
            enqueue.sendTo(
              victim.key,
              victim.how === 'sleep'
                ? { type: 'service.sleep' }
                : victim.how === 'yield'
                  ? { type: 'service.stop', reason: 'yielded', sleeps: victim.sleeps === true }
                  : { type: 'service.stop', reason: 'evicted' },
            )
      }
      const { queuedStarts, residents, decisions, gaveWayTo, level, isDisplaced } = next
      if (queuedStarts.length === 0) enqueue.cancel('ageing')
      if (next !== context)
        enqueue.assign({ queuedStarts, residents, decisions, gaveWayTo, level, isDisplaced })
    }),

    stopAll: base.enqueueActions(({ context, event, enqueue }) => {
      const force = event.type === 'shutdown' && event.force === true
      for (const key of context.alive)
        enqueue.sendTo(key, { type: 'service.stop', reason: 'shutdown', force })
    }),
    /** The actor and its place in the queue are gone. A process that it left running counts until its end is known. */
    forgetProvider: base.enqueueActions(({ context, event, enqueue }) => {
      const key = actorOf(event)
      enqueue(stopChild(key))
      enqueue.assign(forgetProvider(context, key))
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
  context: ({ input }) => ({ ...input, ...emptyContext }),
  on: {
    'start.requested': { actions: ['noteAsking', 'awaitStarvation', 'awaitAgeing', 'decide'] },
    'start.foreseen': { actions: ['noteForeseen', 'awaitAgeing', 'decide'] },
    'start.changed': { actions: ['noteDemand', 'decide'] },
    'start.finished': { actions: ['forgetStarvation', 'noteFinished', 'decide', 'awaitDefault'] },
    'run.ended': { actions: ['forgetResidency', 'noteEnded', 'decide', 'awaitDefault'] },
    'service.used': { actions: ['awaitResidency', 'noteUse', 'decide', 'awaitDefault'] },
    'service.rested': { actions: ['noteRest', 'decide', 'awaitDefault'] },
    'service.leaving': { actions: ['noteLeaving', 'decide'] },
    'service.falling-asleep': { actions: ['noteFallingAsleep', 'decide'] },
    'service.asleep': { actions: ['noteAsleep', 'decide', 'awaitDefault'] },
    'service.awake': { actions: ['noteAwake', 'decide'] },
    'share.measured': { actions: ['noteMeasured', 'recount', 'decide'] },
    'residency.over': { actions: ['noteSettled', 'decide'] },
    'start.overdue': { actions: ['noteOverdue', 'decide'] },
    'starts.aged': { actions: ['ageStarts', 'decide', 'goOnAgeing'] },
  },
  states: {
    running: {
      description: 'Services come, go and start as room permits.',
      on: {
        'services.replaced': { actions: ['replaceServices', 'recount', 'bearProviders', 'decide'] },
        'default.due': { guard: 'isDefaultMissed', actions: 'wantDefault' },
        'xstate.done.actor.*': { actions: ['forgetProvider', 'reportRetirement', 'bearProviders', 'decide'] },
        // A bug ended the actor: its process is reaped by key, and a new actor takes its place.
        'xstate.error.actor.*': { actions: ['forgetProvider', 'reportFailure', 'bearProviders', 'decide'] },
        shutdown: { target: 'draining', actions: 'stopAll' },
      },
    },
    draining: {
      description: 'A shutdown is under way: every service drains and stops, at the same time.',
      always: { guard: 'isUnused', target: 'stopped' },
      on: {
        'xstate.done.actor.*': { actions: ['forgetProvider', 'reportRetirement', 'decide'] },
        'xstate.error.actor.*': { actions: ['forgetProvider', 'reportFailure', 'decide'] },
        shutdown: { actions: 'stopAll' },
      },
    },
    stopped: { description: 'No service is left.', type: 'final' },
  },
})
