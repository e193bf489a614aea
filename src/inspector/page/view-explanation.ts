import { explain } from '../../explanation/explanation.ts'
import type { Explanation, Situation } from '../../explanation/situation.ts'
import type { PageModel, ServiceView } from './model.ts'

/** Explains one service at a moment of the events' clock; `lastLine`: what it printed last. */
export function explainView(
  service: ServiceView,
  model: PageModel,
  atMs: number,
  lastLine?: string,
): Explanation {
  if (last?.model !== model || last.atMs !== atMs) {
    const all = Object.values(model.services).map((one) => toSituation(one, atMs))
    last = { model, atMs, all }
  }
  return explain(toSituation(service, atMs), { all: last.all, lastLine })
}

/** The situations of the last moment: each service of it is explained with all of them. */
let last: { readonly model: PageModel; readonly atMs: number; readonly all: readonly Situation[] } | null =
  null

function toSituation({ name, enteredAtMs, timers, ...rest }: ServiceView, atMs: number): Situation {
  return {
    ...rest,
    service: name,
    inStateMs: Math.max(0, atMs - enteredAtMs),
    timers: timers.map(({ name: timer, endsAtMs }) => ({
      name: timer,
      remainingMs: Math.max(0, endsAtMs - atMs),
    })),
  }
}
