import { providerMachine } from '../../machines/provider/chart.ts'
import { createLife, type ReplayedLife, type ReplayStep, type Said } from './replay.ts'
import type { Script, ScriptStep } from './script.ts'
import { defaultPolicy } from './stage.ts'

/** How the generations of a script's machine begin. */
const SCRIPT_INSTANCE = 'g'

/**
 * The life of a statechart as an event script: what it was told, step by step, and what it must be afterwards. Delays
 * are left out, since the script's clock brings them: on time, where a busy host was late. So that everything happens
 * in the order in which it did, what came in between is put just before the end of the delay.
 */
export function buildScript(life: ReplayedLife): Script {
  const { service, instance, policy } = life
  const rename = <Value>(value: Value): Value =>
    JSON.parse(JSON.stringify(value).replaceAll(`"${instance}.`, `"${SCRIPT_INSTANCE}.`))
  const known = Object.keys(defaultPolicy)
  return {
    title: `what happened to ${service}`,
    why: `Made from a recording, of the statechart ${instance}.`,
    real: false,
    silent: true,
    service: Object.fromEntries(Object.entries(policy).filter(([name]) => known.includes(name))),
    world: {},
    steps: roundTimes(life).map((step) => rename(buildStep(step))),
  }
}

/** The same steps at the times at which a script can have them, in whole milliseconds. */
function roundTimes(life: ReplayedLife): readonly ReplayStep[] {
  const again = createLife(providerMachine, life)
  let at = 0
  for (const { event, isDelay, atMs } of life.steps) {
    const latest = isDelay ? (again.dueMs(event) ?? at) : Math.min(atMs, (again.dueMs() ?? Infinity) - 1)
    at = Math.max(at, Math.floor(latest))
    again.tell(at, { type: 'machine.event', event })
  }
  again.stop()
  return again.steps
}

function buildStep({ atMs, event, isDelay, said, state, why }: ReplayStep): ScriptStep {
  const facts = said.filter(({ type }) => type !== 'service.state').map(buildFact)
  return {
    at: atMs,
    ...(isDelay
      ? { say: `the delay ${event.type.replace(/^xstate\.after\./, '')} ends` }
      : { hears: [event] }),
    state,
    ...(why === null ? {} : { because: { kind: why.kind } }),
    ...(facts.length === 0 ? {} : { emitted: facts }),
  }
}

/** As much of a message as tells it from another. */
function buildFact(said: Said): { readonly type: string; readonly [fact: string]: unknown } {
  if ('failure' in said)
    return {
      type: said.type,
      ...('id' in said ? { id: said.id } : {}),
      failure: { code: said.failure.code },
    }
  return { type: said.type, ...('id' in said ? { id: said.id } : {}) }
}
