import { admission } from './actions/admission.ts'
import { effects } from './actions/effects.ts'
import { explanations } from './actions/explain.ts'
import { records } from './actions/record.ts'
import { runs } from './actions/runs.ts'
import { base } from './guards.ts'

/** The words that the provider chart is written in. */
export const provider = base.extend({
  actions: {
    ...admission,
    ...records,
    ...explanations,
    ...runs,
    ...effects,

    // `supervised.ts` supplies these: the supervisor owns the limits that services share.
    requestStart: () => {},
    foreseeStart: () => {},
    leaveStartQueue: () => {},
    reportDemand: () => {},
    finishStart: () => {},
    reportRest: () => {},
    reportUse: () => {},
    reportStop: () => {},
    requestWake: () => {},
    reportFallingAsleep: () => {},
    reportAsleep: () => {},
    reportAwake: () => {},
    reportRunEnd: () => {},
  },
})
