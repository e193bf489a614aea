import type { ProviderEvent } from '../../machines/messages.ts'
import type { providerMachine } from '../../machines/provider/chart.ts'
import type { ProviderContext } from '../../machines/provider/context.ts'
import type { Reason } from '../../machines/reasons.ts'
import type { ServiceEventBody } from '../events/events.ts'
import type { Script, ScriptEvent, ScriptStep } from './script.ts'
import { createStage, type Stage, type StageOptions } from './stage.ts'

/** A fact of a story, with its time. */
export type StoryFact = ServiceEventBody & { readonly atMs: number }

/** A step as it went: what was asked, what was seen since the step before, and what was expected in vain. */
export interface StoryStep {
  readonly step: ScriptStep
  readonly state: string
  readonly facts: readonly StoryFact[]
  readonly failures: readonly string[]
}

/** A script as it went. `ok` when every expectation was met and no invariant broken. */
export interface Story {
  readonly script: Script
  readonly ok: boolean
  readonly steps: readonly StoryStep[]
}

/** Runs a script against the provider machine on the virtual clock. Never rejects: failures are in the story. */
export async function runScript(
  script: Script,
  machine?: typeof providerMachine,
  inspect?: StageOptions['inspect'],
): Promise<Story> {
  const { service: policy, world, silent = false } = script
  const stage = createStage({
    policy,
    world,
    silent,
    ...(machine && { machine }),
    ...(inspect && { inspect }),
  })
  const steps: StoryStep[] = []
  let seen = 0
  for (const step of script.steps) {
    const failures: string[] = []
    try {
      await play(stage, step)
    } catch (error) {
      failures.push(error instanceof Error ? error.message : String(error))
    }
    const facts = stage.facts.slice(seen)
    seen = stage.facts.length
    const { state, context, timers } = stage.view()
    failures.push(
      ...findFailures(step, {
        state,
        facts,
        leases: context.leases,
        queue: context.waiters.map(({ id }) => id),
        spawns: stage.world.spawns,
        live: stage.world.live,
        timers,
        ownership: context.ownership,
        why: context.why,
      }),
    )
    steps.push({ step, state, facts, failures })
    if (failures.length > 0) break
  }
  stage.stop()
  return { script, steps, ok: steps.every(({ failures }) => failures.length === 0) }
}

async function play(stage: Stage, step: ScriptStep): Promise<void> {
  await stage.advanceTo(step.at)
  if (step.world !== undefined) stage.world.set(step.world)
  if (step.crash !== undefined) stage.world.crash(omitUndefined(step.crash))
  for (const event of step.hears ?? []) stage.send(event as ProviderEvent)
  for (const event of [step.send ?? []].flat()) stage.send(completeEvent(event, stage))
  await stage.advanceTo(step.at)
}

/** Fills in what a script leaves out: the current generation, the rest of a verdict or an exit. */
function completeEvent(event: ScriptEvent, stage: Stage): ProviderEvent {
  switch (event.type) {
    case 'lease.released':
      return { ...event, generation: event.generation ?? stage.view().context.generation ?? '' }
    case 'health.verdict':
      return {
        ...event,
        isOfRequest: event.isOfRequest ?? false,
        verdict: { kind: event.verdict, detail: 'sent by the script' },
      }
    case 'process.exited':
      return { ...event, exitCode: event.exitCode ?? null, signal: event.signal ?? null, tail: [] }
    case 'policy.replaced':
      return { ...event, policy: { ...stage.view().context.policy, ...omitUndefined(event.policy) } }
    default:
      return event
  }
}

/** What a script leaves out is absent, whatever its types say. */
function omitUndefined<T extends object>(partial: T): { [Key in keyof T]: Exclude<T[Key], undefined> } {
  return Object.fromEntries(Object.entries(partial).filter(([, value]) => value !== undefined)) as never
}

/** What can be seen of a service between two steps. */
export interface Seen {
  readonly state: string
  readonly facts: readonly StoryFact[]
  readonly leases: number
  readonly queue: readonly string[]
  readonly spawns: number
  readonly live: number
  readonly timers: readonly string[]
  readonly ownership: ProviderContext['ownership']
  readonly why: Reason | null
}

/** Compares a step's expectations with what was seen; one sentence for each that is not met. */
export function findFailures(step: ScriptStep, seen: Seen): string[] {
  const failures: string[] = []
  const expect = (name: string, expected: unknown, actual: unknown) => {
    if (expected !== undefined && JSON.stringify(expected) !== JSON.stringify(actual))
      failures.push(`expected ${name} ${JSON.stringify(expected)}, saw ${JSON.stringify(actual)}`)
  }
  if (step.state !== undefined && !isWithin(seen.state, step.state))
    failures.push(`expected state ${step.state}, saw ${seen.state}`)
  expect('leases', step.leases, seen.leases)
  expect('queue', step.queue, seen.queue)
  expect('spawns', step.spawns, seen.spawns)
  expect('live', step.live, seen.live)
  expect('timers', step.timers?.toSorted(), seen.timers.toSorted())
  expect('owned', step.owned, seen.ownership === 'owned')
  expect('ownership', step.ownership, seen.ownership)
  if (step.because !== undefined && !isSubset(step.because, seen.why))
    failures.push(`expected the reason ${JSON.stringify(step.because)}, saw ${JSON.stringify(seen.why)}`)
  let from = 0
  for (const fact of step.emitted ?? []) {
    const index = seen.facts.findIndex((candidate, at) => at >= from && isSubset(fact, candidate))
    if (index === -1) failures.push(`expected the fact ${JSON.stringify(fact)}`)
    else from = index + 1
  }
  for (const fact of step.never ?? []) {
    const found = seen.facts.find((candidate) => isSubset(fact, candidate))
    if (found !== undefined) failures.push(`saw the fact ${JSON.stringify(found)}`)
  }
  return failures
}

function isWithin(state: string, expected: string): boolean {
  return state === expected || state.startsWith(`${expected}.`)
}

function isSubset(expected: unknown, actual: unknown): boolean {
  if (typeof expected !== 'object' || expected === null) return Object.is(expected, actual)
  if (typeof actual !== 'object' || actual === null) return false
  return Object.entries(expected).every(([key, value]) =>
    isSubset(value, (actual as Record<string, unknown>)[key]),
  )
}
