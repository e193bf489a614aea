import { cancel, setup, stopChild } from 'xstate'
import type { SharingEvent, SupervisorEmitted, SupervisorEvent } from './messages.ts'
import { NEVER_MS } from './provider/delays.ts'
import { supervisedProviderMachine } from './provider/supervised.ts'
import { findStayers, schedule, toNeeds } from './scheduler.ts'
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

/** Enters what a provider reported. */
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
      // One that has no actor yet is wanted as soon as it has.
      for (const key of sharing.preload)
        if (!context.preload.includes(key) && context.alive.includes(key))
          enqueue.emit({ type: 'service.wanted', key, cause: 'preload' })
    }),
    /** What runs holds what it is said to need now. */
    recount: base.assign(({ context }) => ({
      residents: context.residents.map((one) =>
        context.shares[one.key] === undefined ? one : { ...one, holds: toNeeds(context, one.key) },
      ),
    })),
    /** An actor for every service that has none: new ones, those that died, and those removed and wanted again. */
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
    noteDemand: note('start.changed', ({ asking }, { key, waiting, priority, isPreload }) => ({
      asking: asking.map((one) => (one.key === key ? { ...one, waiting, priority, isPreload } : one)),
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
    noteMeasured: base.assign(({ context, event }) =>
      event.type === 'share.measured' && context.shares[event.key] !== undefined
        ? { shares: { ...context.shares, [event.key]: event.share } }
        : {},
    ),
    noteOverdue: base.assign(({ context, event }) => ({
      asking: context.asking.map((one) =>
        one.generation === generationOf(event) ? { ...one, isOverdue: true } : one,
      ),
    })),
    ageAsking: base.assign(({ context }) => ({
      asking: context.asking.map((one) => ({ ...one, age: one.age + 1 })),
    })),
    noteSettled: base.assign(({ context, event }) => ({
      residents: changeResident(context.residents, generationOf(event), () => ({ residency: 'over' })),
    })),
    /** Its time begins when it asks, and ends with its place in the queue. */
    awaitStarvation: base.enqueueActions(({ event, enqueue }) => {
      const generation = generationOf(event)
      enqueue.raise(
        { type: 'asking.overdue', generation },
        { delay: 'starvation', id: `starvation.${generation}` },
      )
    }),
    /** Runs while somebody waits: begins with the first in the queue. */
    awaitAgeing: base.enqueueActions(({ context, enqueue }) => {
      if (context.asking.length !== 1) return
      enqueue.cancel('ageing')
      enqueue.raise({ type: 'asking.aged' }, { delay: 'ageing', id: 'ageing' })
    }),
    goOnAgeing: base.enqueueActions(({ context, enqueue }) => {
      if (context.asking.length > 0) enqueue.raise({ type: 'asking.aged' }, { delay: 'ageing', id: 'ageing' })
    }),
    forgetStarvation: base.enqueueActions(({ context, event, enqueue }) => {
      const asked = context.asking.find(({ key }) => key === keyOf(event))
      if (asked !== undefined) enqueue.cancel(`starvation.${asked.generation}`)
    }),
    /** Its first use: from here on it is not taken away at once by one that it took its room from. */
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
    /** The clock of the way back starts again with everything that happens. */
    awaitDefault: base.enqueueActions(({ context, enqueue }) => {
      if (context.returnToDefaultMs === 0) return
      enqueue.cancel('returnToDefault')
      if (isDefaultMissed(context))
        enqueue.raise({ type: 'default.due' }, { delay: 'returnToDefault', id: 'returnToDefault' })
    }),

    /** Puts into effect whatever can be decided now: permits, stops of those that make room, and their end. */
    decide: base.enqueueActions(({ context, enqueue }) => {
      let next = context
      for (;;) {
        const stayers = findStayers(next)
        for (const { key } of stayers) enqueue.sendTo(key, { type: 'service.stay' })
        if (stayers.length > 0) next = letStay(next, stayers)
        const decision = schedule(next)
        if (decision === null) break
        const { key, type, taken } = decision.choice
        const asked = next.asking.find((one) => one.key === key)
        next = applyDecision(next, decision)
        enqueue.emit({ type: 'scheduler.decided', key, ...decision })
        if (type === 'start') {
          enqueue.cancel(`starvation.${asked?.generation}`)
          enqueue.sendTo(key, { type: 'start.permitted', follows: taken.length > 0 })
        }
        if (type === 'decline') enqueue.sendTo(key, { type: 'start.declined' })
        if (type === 'evict')
          for (const victim of taken)
            enqueue.sendTo(victim.key, {
              type: 'service.stop',
              reason: victim.how === 'yield' ? 'yielded' : 'evicted',
            })
      }
      const { asking, residents, decisions, gaveWayTo, level, isDisplaced } = next
      if (asking.length === 0) enqueue.cancel('ageing')
      if (next !== context) enqueue.assign({ asking, residents, decisions, gaveWayTo, level, isDisplaced })
    }),

    stopAll: base.enqueueActions(({ context, event, enqueue }) => {
      const force = event.type === 'shutdown' && event.force === true
      for (const key of context.alive)
        enqueue.sendTo(key, { type: 'service.stop', reason: 'shutdown', force })
    }),
    /** The actor is gone, and its place in the queue with it. What it left running counts until it is known to be gone. */
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
    'share.measured': { actions: ['noteMeasured', 'recount', 'decide'] },
    'residency.over': { actions: ['noteSettled', 'decide'] },
    'asking.overdue': { actions: ['noteOverdue', 'decide'] },
    'asking.aged': { actions: ['ageAsking', 'decide', 'goOnAgeing'] },
  },
  states: {
    running: {
      on: {
        'services.replaced': { actions: ['replaceServices', 'recount', 'bearProviders', 'decide'] },
        'default.due': { guard: 'isDefaultMissed', actions: 'wantDefault' },
        'xstate.done.actor.*': { actions: ['forgetProvider', 'reportRetirement', 'bearProviders', 'decide'] },
        // It died of a bug: its process is reaped by key, and a fresh actor takes its place.
        'xstate.error.actor.*': { actions: ['forgetProvider', 'reportFailure', 'bearProviders', 'decide'] },
        shutdown: { target: 'draining', actions: 'stopAll' },
      },
    },
    draining: {
      always: { guard: 'isUnused', target: 'stopped' },
      on: {
        'xstate.done.actor.*': { actions: ['forgetProvider', 'reportRetirement', 'decide'] },
        'xstate.error.actor.*': { actions: ['forgetProvider', 'reportFailure', 'decide'] },
        shutdown: { actions: 'stopAll' },
      },
    },
    stopped: { type: 'final' },
  },
})
