import { map } from 'rxjs'
import { hasTag } from '../../machines/provider/tags.ts'
import { toConfig } from '../config/load.ts'
import { ServiceError } from '../errors.ts'
import { runOutside } from '../lease/caller-context.ts'
import { acquireLease } from '../lease/lease.ts'
import { warmUp } from '../lease/warm-up.ts'
import { toOwnLogLine } from '../observe/own-log.ts'
import { createAsk, createFetch } from '../request/fetch.ts'
import { toServiceState } from '../request/neighbourhood.ts'
import { listBudgets } from '../service/budgets.ts'
import { createFileAbilities } from '../service/file-abilities.ts'
import { findModelListing, type RunningFacts, toModelList } from '../service/model-list.ts'
import type { ServiceSnapshot } from '../service/snapshot.ts'
import type { Supervisor } from './interface.ts'
import { attachInternals } from './internals.ts'
import type { Parts } from './parts.ts'

/** The methods of {@link Supervisor}. */
export function createFace(
  {
    environment,
    clock,
    instance,
    scrubber,
    hub,
    catalogue,
    configuration,
    table,
    root,
    registry,
    leases,
    contextSizes,
    rank,
    openRequests,
    requestLog,
    timeline,
    hardware,
    inspections,
    dispatch,
    openServerCall,
    secretsOf,
    bodies,
    membership,
    seat,
  }: Parts,
  close: Supervisor['close'],
): Supervisor {
  const describe = (key: string): ServiceSnapshot => {
    const snapshot = registry.snapshotOf(key)
    if (snapshot !== undefined) return snapshot
    throw new ServiceError(catalogue.nameOf(key), {
      code: 'LEASEHOLD_SHUTTING_DOWN',
      message: 'it is not supervised any more',
    })
  }
  const files = createFileAbilities()
  const facts: RunningFacts = {
    stateOf: registry.stateOf,
    contextOf: contextSizes.of,
    // A running server knows more than its file: a flag may switch something off.
    abilitiesOf: (key, providerId, modelId) => ({
      ...files.of(key),
      ...contextSizes.abilitiesOf(key, providerId, modelId),
    }),
    memberStateOf: (member, provider) =>
      toServiceState(membership.neighbourhood?.standingOf(member, provider)),
  }
  const lookAtFiles = () => files.look(catalogue.config)
  const models = () => toModelList(catalogue.config, facts)
  const model = (ref: string) => findModelListing(catalogue.config, ref, facts)

  const face: Supervisor = {
    fetch: createFetch({ dispatch, listModels: models, findModel: model, lookAtFiles }),
    events$: hub.events$,
    pastEvents: (afterSeq = 0, limit) => hub.past(afterSeq, limit),
    get config() {
      return catalogue.config
    },
    acquire: (ref, options) => runOutside(acquireLease, () => membership.own, leases, rank, ref, options),
    models,
    model,
    snapshot: () =>
      scrubber.value({
        instance,
        seq: hub.lastSeq,
        atMs: hub.nowMs,
        state: root.getSnapshot().value,
        config: configuration.status(),
        watchdog: table.watchdog(),
        totals: requestLog.totals,
        budgets: listBudgets(root.getSnapshot().context, catalogue.services),
        services: registry.snapshots(),
      }),
    service: (id) => scrubber.value(describe(catalogue.keyOf(id))),
    requests: (limit) => openRequests.list(clock.now(), limit),
    endedRequests: (limit = Number.POSITIVE_INFINITY) =>
      scrubber.value(requestLog.list(limit, hub.nowMs - clock.now())),
    timeline: () => scrubber.value(timeline.read(clock.now(), hub.nowMs - clock.now())),
    cancel: (id) => runOutside(openRequests.cancel, id),
    inspect: (inspector) => runOutside(inspections.attach, inspector),
    output: (id) => table.outputOf(catalogue.keyOf(id)),
    start: enclose(async (id, options) => {
      const key = catalogue.keyOf(id)
      registry.send(key, { type: 'breaker.reset' })
      const up = await warmUp(key, {
        ...options,
        root,
        leases,
        toError: registry.toError,
        look: () => describe(key),
      })
      // A borrowed service is let go with this lease, and its owner keeps it up.
      return up.ownership === 'borrowed' ? up : describe(key)
    }),
    stop: enclose(async (id, { force = false } = {}) => {
      const key = catalogue.keyOf(id)
      const { holder, generation: stopped } = describe(key)
      registry.send(key, { type: 'service.stop', reason: 'asked', force })
      // A service that a reload removed is forgotten as soon as it is retired.
      let last: ServiceSnapshot | undefined
      // A request that came meanwhile begins the next run in the same step, so it need never be seen down.
      await registry.untilState(key, (state, generation) => {
        if (hasTag(state, 'retired')) last = describe(key)
        return hasTag(state, 'settled') || (stopped !== null && generation !== stopped)
      })
      return { ...(last ?? describe(key)), holder }
    }),
    replaceConfig: enclose((next) =>
      configuration.replace(Promise.resolve(next).then((given) => toConfig(given, environment))),
    ),
    close: enclose(close),
    [Symbol.asyncDispose]: enclose(() => close()),
  }
  return attachInternals(face, {
    dispatch,
    ask: createAsk(dispatch),
    lookAtFiles,
    openServerCall,
    secretsOf,
    bodiesOf: bodies.find,
    membership,
    cluster: () => seat.joined,
    instance,
    lookAtHardware: enclose(hardware.look),
    ownLog: {
      lines: () => hub.notable().map(toOwnLogLine),
      lines$: hub.notable$.pipe(map(toOwnLogLine)),
      get nowMs() {
        return hub.nowMs
      },
    },
    seq$: hub.seq$,
    pastEvents: (afterSeq = 0, limit, choose) => hub.past(afterSeq, limit, choose),
  })
}

/** A method that leaves its caller's async context. */
function enclose<Args extends unknown[], Result>(
  method: (...args: Args) => Result,
): (...args: Args) => Result {
  return (...args) => runOutside(method, ...args)
}
