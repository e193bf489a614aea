import type { Situation } from '../../src/explanation/situation.ts'

/** A service in the middle of nothing special, but for these changes. */
export function toSituation(changes: Partial<Situation> = {}): Situation {
  return {
    key: 'k',
    service: 'demo',
    state: 'ready',
    inStateMs: 3_000,
    ownership: 'owned',
    pid: 7,
    leases: 0,
    keepAliveMs: null,
    queue: [],
    timers: [],
    startTimes: null,
    failures: 0,
    failure: null,
    verdict: null,
    stopReason: null,
    why: null,
    decision: null,
    policy: null,
    ...changes,
  }
}
