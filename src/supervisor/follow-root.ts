import type { ProviderEmitted } from '../../machines/messages.ts'
import { hasTag } from '../../machines/provider/tags.ts'
import { isServing } from '../events/events.ts'
import { holdLease } from '../lease/lease.ts'
import { sumHolds } from '../service/budgets.ts'
import { toShare } from '../service/seen-needs.ts'
import type { Parts } from './parts.ts'

/** Lowest priority: preloading never displaces a service in use. */
const BACKGROUND_PRIORITY = -100

/** Carries out what the root chart emits, and tells it what was measured. */
export function followRoot({
  root,
  catalogue,
  registry,
  leases,
  leaseRequests,
  leaseTimes,
  requestLog,
  timeline,
  clock,
  learning,
  contextSizes,
  effects,
  upstreams,
  table,
  publish,
  seat,
}: Parts): void {
  const withRetryAfter = (key: string, message: Extract<ProviderEmitted, { type: 'lease.refused' }>) => {
    const retryAfterMs = registry.retryAfter(key, message.failure)
    return retryAfterMs === undefined ? message : { ...message, retryAfterMs }
  }
  /** The room of a run whose service was removed is free as soon as none of its processes is left. */
  const forgetStrays = () => {
    const left = new Set(table.entries().map(({ generation }) => generation))
    for (const { phase, generation } of root.getSnapshot().context.residents)
      if (phase === 'survivor' && !left.has(generation))
        root.send({ type: 'run.ended', generation, survivors: 0 })
  }
  /** The root decides by what a service was last seen to need and to cost. */
  const remeasure = (key: string) => {
    const service = catalogue.services.get(key)
    if (service?.policy.drawsOnLimits)
      root.send({
        type: 'share.measured',
        key,
        share: toShare(service, catalogue.config.leasehold, learning.seenOf(key)),
      })
  }
  /** The root hears of a change after the change is told. */
  const lookAtRoom = () => {
    const atMs = clock.now()
    queueMicrotask(() => timeline.noteRoom(atMs, sumHolds(root.getSnapshot().context)))
  }
  learning.looked$.subscribe(forgetStrays)
  learning.grown$.subscribe(remeasure)

  root.on('service.added', ({ key }) => {
    publish(key, { type: 'service.added', ...registry.birthOf(key) })
    timeline.noteState(key, catalogue.nameOf(key), clock.now(), registry.stateOf(key) ?? 'down.cold', null)
    registry.follow(key, {
      message: (message) => {
        publish(key, message.type === 'lease.refused' ? withRetryAfter(key, message) : message)
        leases.deliver(key, message)
      },
      changed: (change, context) => {
        seat.noteState(key, change.from, change.to)
        publish(key, { type: 'service.state', ...change })
        timeline.noteState(key, catalogue.nameOf(key), clock.now(), change.to, change.reason)
        if (!isServing(change.from) || !isServing(change.to)) lookAtRoom()
        if (hasTag(change.from, 'asleep') !== hasTag(change.to, 'asleep'))
          learning.noteSleep(key, hasTag(change.to, 'asleep'))
        contextSizes.hear(key, change, context.generation)
        if (hasTag(change.from, 'warming')) remeasure(key)
        if (hasTag(change.to, 'cold') || hasTag(change.to, 'retired'))
          void upstreams.disconnectAll(`${context.instance}.`)
      },
    })
  })
  root.on('service.retired', ({ key }) => {
    publish(key, { type: 'service.retired' })
    leaseRequests.close(key)
    leases.abandon(key, { code: 'LEASEHOLD_REMOVED', message: 'it was removed' })
    if (!catalogue.forget(key)) return
    registry.forget(key)
    effects.forget(key)
    leaseTimes.forget(key)
    requestLog.forget(key)
  })
  root.on('service.failed', ({ key, message }) => {
    publish(key, { type: 'service.failed', message })
    leaseRequests.close(key)
    leases.abandon(key, { code: 'LEASEHOLD_INTERNAL', message: `its supervision failed: ${message}` })
    void table.reap(key).then(forgetStrays)
  })
  root.on('scheduler.decided', ({ key, type, choice, because, rejected }) => {
    timeline.noteDecision(clock.now(), { choice, because, rejected })
    publish(key, { type, choice, because, rejected })
  })
  root.on('service.wanted', ({ key, cause }) => {
    // The events tell why it could not be had.
    holdLease(leases, key, { priority: BACKGROUND_PRIORITY, cause }).then(
      ({ release }) => release(),
      () => {},
    )
  })
}
