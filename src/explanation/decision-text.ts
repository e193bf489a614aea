import type { Decision, Need, SpareCause, Spared, Taken } from '../../machines/scheduler.ts'
import { toDurationText } from '../text/duration.ts'

/**
 * Describes a decision of the scheduler as one clause without a full stop: what is needed, which services stop for
 * it, which stay and why. It names the service that wants to start, because the services that stop show the same
 * text.
 */
export function toDecisionText({ choice, because, rejected }: Decision): string {
  const { service, taken } = choice
  const wake = choice.isWake ? ' to wake' : ''
  const needs = `${service} needs ${because.needed.map(describeNeed).join(' and ')}${wake}`
  const others = (mark: string) =>
    rejected.length === 0 ? '' : mark + rejected.map((one) => describeSpared(one, because.needed)).join(', ')
  switch (because.cause) {
    case 'fits':
      return because.needed.length === 0
        ? `${service} needs no room that others need`
        : `${needs}, which was free`
    case 'room-made':
      return `${needs}: ${describeMaking(taken, () => 'had')} for it${others('; ')}`
    case 'idle-cheapest':
      return `${needs}: ${describeMaking(taken, hasOrHave)} for it${others('; ')}`
    case 'starved':
      return `${needs}, and has waited long enough: ${describeTaken(taken)} ${hasOrHave(taken)} to stop as soon as ${taken.length === 1 ? 'its' : 'their'} requests are done${others('; ')}`
    case 'start-places':
      return `${service} waits: as many services are starting as may at the same time`
    case 'receipts':
      return `${needs}, and waits until what is stopping is gone${others(': ')}`
    case 'promised':
      return `${needs}, which ${because.ahead.join(' and ')} ${because.ahead.length === 1 ? 'gets' : 'get'} first`
    case 'no-room':
      return `${needs}, and no other service can make room for it${others(': ')}`
    case 'pinned':
      return `${needs}, and waits for no service that is pinned${others(': ')}`
    case 'preload':
      return `${needs}, and is preloaded only into room that is free${others(': ')}`
    case 'nobody-waits':
      return `no request waits for ${service} any more, and another service would have to stop for it`
  }
}

/** Which services sleep and which stop: `qwen has to sleep and llama has to stop`. */
function describeMaking(taken: readonly Taken[], toVerb: (some: readonly Taken[]) => string): string {
  const sleepers = taken.filter(({ how }) => how === 'sleep')
  const others = taken.filter(({ how }) => how !== 'sleep')
  const parts = [
    [sleepers, 'sleep'],
    [others, 'stop'],
  ] as const
  return parts
    .filter(([some]) => some.length > 0)
    .map(([some, what]) => `${describeTaken(some)} ${toVerb(some)} to ${what}`)
    .join(' and ')
}

/** `9000 MiB of VRAM (200 of 24000 free)`, `the place of the group gpu`. */
function describeNeed({ limit, amount, capacity, free, isUnmeasured }: Need): string {
  if (limit.startsWith('group:')) return `the place of the group ${limit.slice('group:'.length)}`
  const guess = isUnmeasured ? 'all of it, because its use is not measured yet; ' : ''
  return `${formatAmount(limit, amount)} (${guess}${free} of ${capacity} free)`
}

function formatAmount(limit: string, amount: number): string {
  return limit.endsWith('MiB')
    ? `${amount} MiB of ${limit.slice(0, -3).toUpperCase()}`
    : `${amount} of ${limit}`
}

function hasOrHave({ length }: readonly Taken[]): string {
  return length === 1 ? 'has' : 'have'
}

function describeTaken(taken: readonly Taken[]): string {
  return taken.map(({ service }) => service).join(' and ')
}

const spareTexts: Readonly<Record<SpareCause, string>> = {
  pinned: 'is pinned',
  survivor: 'did not end when it was stopped',
  starting: 'is starting',
  settling: 'is kept while services take turns, until it has been up for its minimum time',
  leased: 'is in use',
  leaving: 'is stopping',
  sleeping: 'is falling asleep',
  needless: 'may stay',
}

/** A service that stays, with what it holds of the needed room: `llama holds 9000 MiB of VRAM and is in use`. */
function describeSpared(
  { service, because, holds, minResidencyMs, residencyLeftMs, pids = [] }: Spared,
  needed: readonly Need[],
): string {
  const amounts = needed.flatMap(({ limit }) => {
    const amount = limit.startsWith('group:') ? 0 : (holds[limit] ?? 0)
    return amount > 0 ? [formatAmount(limit, amount)] : []
  })
  const held = amounts.length === 0 ? '' : `holds ${amounts.join(' and ')} and `
  const time = residencyLeftMs === undefined ? '' : `, ${toDurationText(residencyLeftMs)} left`
  const whole = minResidencyMs === undefined ? '' : ` (${toDurationText(minResidencyMs)}${time})`
  const rest = pids.length === 0 ? '' : ` (end ${formatProcesses(pids)} by hand)`
  return `${service} ${held}${spareTexts[because]}${whole}${rest}`
}

/** `process 7`, `processes 7 and 8`. */
export function formatProcesses(pids: readonly number[]): string {
  return `${pids.length === 1 ? 'process' : 'processes'} ${pids.join(' and ')}`
}
