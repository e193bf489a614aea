import { type Decision, isKeptOutBy, type SpareCause, type Spared } from '../../machines/scheduler.ts'
import { toSentence } from '../errors.ts'
import type { Advice } from './advice.ts'
import { formatProcesses, toDecisionText } from './decision-text.ts'
import type { Told } from './situation.ts'

/** Explains a start that waits for room: its needs, the services that hold the room, why they keep it, and when it starts. */
export function explainRoom(decision: Decision, waiting: string): Told {
  const { because } = decision
  const holders = formatList(findHolders(decision).map(({ service }) => service))
  return {
    tone: because.cause === 'no-room' ? 'warn' : 'busy',
    title: describeTitle(decision, holders),
    sentence: `${toSentence(toDecisionText(decision))}${waiting}`,
    next: describeNext(decision),
    advice: listAdvice(decision),
  }
}

/** Services whose stop would make room. Pinned services and survivors count only where the others alone cannot make enough. */
function findHolders(decision: Decision): Spared[] {
  const isInTheWay = isKeptOutBy(decision, ['pinned', 'survivor'])
  return decision.rejected.filter(
    ({ because }) =>
      because !== 'needless' && (isInTheWay || (because !== 'pinned' && because !== 'survivor')),
  )
}

function describeTitle(decision: Decision, holders: string): string {
  const { choice, because } = decision
  switch (because.cause) {
    case 'no-room':
      return holders === ''
        ? 'Waits for room'
        : `Waits for room that ${holders} ${holds(findHolders(decision))}`
    case 'promised':
      return `Waits for room that ${formatList(because.ahead)} ${because.ahead.length === 1 ? 'gets' : 'get'} first`
    case 'receipts':
      return holders === '' ? 'Waits for room' : `Waits until ${holders} ${holds(findHolders(decision))} left`
    default: {
      const names = formatList(choice.taken.map(({ service }) => service))
      const isOne = choice.taken.length === 1
      return choice.taken.every(({ how }) => how === 'sleep')
        ? `Waits until ${names} ${isOne ? 'sleeps' : 'sleep'}`
        : `Waits until ${names} ${holds(choice.taken)} left`
    }
  }
}

function describeNext({ choice, because, rejected }: Decision): string | null {
  const taken = formatList(choice.taken.map(({ service }) => service))
  const isOne = choice.taken.length === 1
  const isSleep = choice.taken.every(({ how }) => how === 'sleep')
  const begins = choice.isWake ? 'wakes' : 'starts'
  if (because.cause === 'idle-cheapest')
    return `It ${begins} as soon as ${taken} ${isSleep ? (isOne ? 'sleeps' : 'sleep') : isOne ? 'is gone' : 'are gone'}.`
  if (because.cause === 'starved')
    return `${taken} ${isOne ? 'takes' : 'take'} no new requests; it starts when the running requests have ended.`
  const users = rejected.filter((one) => one.because === 'leased').map(({ service }) => service)
  if (because.cause !== 'no-room' || users.length === 0) return null
  const used = formatList(users)
  const [is, takes] = users.length === 1 ? ['is', 'takes'] : ['are', 'take']
  return `It starts when ${used} ${is} done. If it waits too long, ${used} ${takes} no new requests until it has started.`
}

function holds(services: readonly unknown[]): string {
  return services.length === 1 ? 'has' : 'have'
}

function formatList(names: readonly string[]): string {
  return names.length < 3 ? names.join(' and ') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`
}

/** Advice by the reason why a service keeps its room; none where it stops by itself. */
const pleas: Partial<
  Record<SpareCause, (holder: string, waiting: string, pids: readonly number[]) => Advice>
> = {
  leased: (holder, waiting) => ({
    text: `If ${waiting} matters more, stop ${holder}: its running requests finish first.`,
    command: { verb: 'stop', service: holder },
  }),
  pinned: (holder) => ({
    text: `${holder} is pinned and is never evicted: remove pinned, or stop it.`,
    command: { verb: 'stop', service: holder },
  }),
  starting: (holder, waiting) => ({
    text: `If ${waiting} matters more, stop ${holder}.`,
    command: { verb: 'stop', service: holder },
  }),
  survivor: (holder, _, pids) => ({
    text:
      pids.length === 0
        ? `Processes of ${holder} are still alive after its stop and still use room: end them.`
        : `What is left of ${holder} after its stop still counts: end ${formatProcesses(pids)} by hand.`,
    command: null,
  }),
}

function listAdvice(decision: Decision): Advice[] {
  const { choice, because } = decision
  if (because.cause !== 'no-room') return []
  const limits = because.needed.map(({ limit }) => limit)
  const needed = because.needed.filter(({ limit }) => !limit.startsWith('group:'))
  const budgets = needed.map(({ limit }) => limit)
  const groups = limits.filter((limit) => limit.startsWith('group:')).map((limit) => limit.slice(6))
  return [
    ...because.needed
      .filter(({ isUnmeasured }) => isUnmeasured)
      .map(({ limit }) => ({
        text: `Set needs.${limit} of ${choice.service}: until its use is measured, the whole budget is reserved.`,
        command: null,
      })),
    ...findHolders(decision).flatMap(
      ({ service, because: cause, pids = [] }) => pleas[cause]?.(service, choice.service, pids) ?? [],
    ),
    ...groups.map((group) => ({
      text: `Only one service of the group ${group} is up at a time. If both fit, remove one from the group.`,
      command: null,
    })),
    ...(budgets.length === 0
      ? []
      : [
          {
            text: `If there is memory for both, raise ${budgets.map((limit) => `leasehold.budgets.${limit}`).join(' and ')}, or state smaller needs.`,
            command: null,
            copy: `budgets: { ${needed.map(formatEnough).join(', ')} }`,
          },
        ]),
  ]
}

/** A budget that is large enough for what is held and for the start. */
function formatEnough({ limit, amount, capacity, free }: Decision['because']['needed'][number]): string {
  return `${limit}: ${Math.max(capacity, capacity - free + amount)}`
}
