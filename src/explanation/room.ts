import { type Decision, isKeptOutBy, type SpareCause, type Spared } from '../../machines/scheduler.ts'
import { toDecisionText, toProcessText } from '../decision-text.ts'
import { toSentence } from '../errors.ts'
import type { Advice } from './advice.ts'
import type { Explanation } from './situation.ts'

/** Explains a start that waits for room: what it needs, who has it, why that one stays, and when it comes. */
export function explainRoom(decision: Decision, waiting: string): Explanation {
  const { because } = decision
  const holders = toList(findHolders(decision).map(({ service }) => service))
  return {
    tone: because.cause === 'no-room' ? 'warn' : 'busy',
    title: toTitle(decision, holders),
    sentence: `${toSentence(toDecisionText(decision))}${waiting}`,
    next: toNext(decision),
    advice: toAdvice(decision),
  }
}

/** Those whose leaving would help. One that never leaves is in the way only where the others could not make room. */
function findHolders(decision: Decision): Spared[] {
  const isInTheWay = isKeptOutBy(decision, ['pinned', 'stray'])
  return decision.rejected.filter(
    ({ because }) => because !== 'needless' && (isInTheWay || (because !== 'pinned' && because !== 'stray')),
  )
}

function toTitle(decision: Decision, holders: string): string {
  const { choice, because } = decision
  switch (because.cause) {
    case 'no-room':
      return holders === ''
        ? 'Waits for room'
        : `Waits for room that ${holders} ${holds(findHolders(decision))}`
    case 'promised':
      return `Waits for room that ${toList(because.ahead)} ${because.ahead.length === 1 ? 'gets' : 'get'} first`
    case 'receipts':
      return holders === '' ? 'Waits for room' : `Waits until ${holders} ${holds(findHolders(decision))} left`
    default:
      return `Waits until ${toList(choice.taken.map(({ service }) => service))} ${holds(choice.taken)} left`
  }
}

function toNext({ choice, because, rejected }: Decision): string | null {
  const taken = toList(choice.taken.map(({ service }) => service))
  const isOne = choice.taken.length === 1
  if (because.cause === 'idle-cheapest') return `It starts as soon as ${taken} ${isOne ? 'is' : 'are'} gone.`
  if (because.cause === 'starved')
    return `${taken} ${isOne ? 'takes' : 'take'} no new requests any more; it starts when the last one of those has ended.`
  const users = rejected.filter((one) => one.because === 'leased').map(({ service }) => service)
  if (because.cause !== 'no-room' || users.length === 0) return null
  const used = toList(users)
  const [is, takes] = users.length === 1 ? ['is', 'takes'] : ['are', 'take']
  return `It starts when ${used} ${is} done. Once it has waited for its maxStarveMs, ${used} ${takes} no new requests.`
}

function holds(services: readonly unknown[]): string {
  return services.length === 1 ? 'has' : 'have'
}

function toList(names: readonly string[]): string {
  return names.join(' and ')
}

/** What can be done about one that holds room that another waits for; nothing: it leaves by itself. */
const pleas: Partial<
  Record<SpareCause, (holder: string, waiting: string, left: readonly number[]) => Advice>
> = {
  leased: (holder, waiting) => ({
    text: `If ${waiting} matters more, stop ${holder}: what it answers now is still finished.`,
    command: { verb: 'stop', service: holder },
  }),
  pinned: (holder) => ({
    text: `${holder} never leaves by itself, because it is pinned: take pinned off it, or stop it by hand.`,
    command: { verb: 'stop', service: holder },
  }),
  starting: (holder, waiting) => ({
    text: `If ${waiting} matters more, stop ${holder}.`,
    command: { verb: 'stop', service: holder },
  }),
  stray: (holder, _, left) => ({
    text:
      left.length === 0
        ? `Processes of ${holder} outlived its stop and still count: end them by hand.`
        : `What is left of ${holder} after its stop still counts: end ${toProcessText(left)} by hand.`,
    command: null,
  }),
}

/** What can be done about a wait for room. */
function toAdvice(decision: Decision): Advice[] {
  const { choice, because } = decision
  if (because.cause !== 'no-room') return []
  const limits = because.needed.map(({ limit }) => limit)
  const budgets = limits.filter((limit) => !limit.startsWith('group:'))
  const groups = limits.filter((limit) => limit.startsWith('group:')).map((limit) => limit.slice(6))
  return [
    ...because.needed
      .filter(({ isUnmeasured }) => isUnmeasured)
      .map(({ limit }) => ({
        text: `Say in needs how much of ${limit} ${choice.service} takes: until it was measured it counts as all there is.`,
        command: null,
      })),
    ...findHolders(decision).flatMap(
      ({ service, because: cause, left = [] }) => pleas[cause]?.(service, choice.service, left) ?? [],
    ),
    ...groups.map((group) => ({
      text: `Of the group ${group} one is up at a time. If both fit, take one of them out of it.`,
      command: null,
    })),
    ...(budgets.length === 0
      ? []
      : [
          {
            text: `If there is room for both, raise ${budgets.map((limit) => `leasehold.budgets.${limit}`).join(' and ')}, or state smaller needs.`,
            command: null,
          },
        ]),
  ]
}
