import { admission } from './provider-admission.ts'
import { base } from './provider-guards.ts'
import { notes } from './provider-notes.ts'
import { runs } from './provider-runs.ts'

/** The words that the provider chart is written in. */
export const provider = base.extend({
  actions: {
    ...admission,
    ...notes,
    ...runs,

    // The tree around this machine supplies these: shared limits are the supervisor's.
    requestStart: () => {},
    foreseeStart: () => {},
    leaveQueue: () => {},
    reportDemand: () => {},
    finishStart: () => {},
    reportRest: () => {},
    reportUse: () => {},
    reportStop: () => {},
    reportEnd: () => {},
  },
})
