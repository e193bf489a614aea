import { hasTag } from '../../../../machines/provider/tags.ts'
import type { Budget as BudgetFacts } from '../../../service/budgets.ts'
import type { Told } from '../frame/view-frame.tsx'
import { type Look, lookWords } from '../look.ts'
import { formatRoute } from '../route.ts'
import { Glyph } from '../shapes.tsx'
import type { OverviewProps } from './overview.tsx'

/** A smaller part has no room for its name, in percent. */
const MIN_NAMED = 8

/** One bar for each budget: who holds what, what is free, and who waits for how much. */
export function Budgets({ app, model, told, isDense }: OverviewProps & { readonly isDense: boolean }) {
  const isKnown = model.budgets.length > 0
  const budgets = isKnown
    ? model.budgets
    : app.state.history.latest.budgets.map((one) => guessBudget(one, told))
  if (budgets.length === 0) return null
  return (
    <section class={`card budgets ${isDense ? 'dense' : ''}`} aria-label="Budgets">
      {budgets.map((budget) => (
        <Budget key={budget.name} budget={budget} told={told} />
      ))}
    </section>
  )
}

/** Before this page looked, what a service holds when it runs tells what it held. */
function guessBudget(budget: BudgetFacts, told: readonly Told[]): BudgetFacts {
  const runs = (key: string) =>
    told.some(({ service: { key: one, pid, state } }) => one === key && (pid !== null || hasTag(state, 'up')))
  return { ...budget, holds: budget.holds.filter(({ key }) => runs(key)), wants: [] }
}

interface BudgetProps {
  readonly budget: BudgetFacts
  readonly told: readonly Told[]
}

function Budget({ budget: { name, capacity, holds, wants }, told }: BudgetProps) {
  const find = (key: string) => told.find(({ service }) => service.key === key)
  const held = holds.reduce((sum, { amount }) => sum + amount, 0)
  const whole = Math.max(capacity, held, 1)
  const free = capacity - held
  const parts = holds
    .map(({ key, amount, isLearned }) => {
      const one = find(key)
      const share = (amount / whole) * 100
      return {
        service: key,
        amount,
        isLearned,
        share,
        name: one?.service.name ?? 'an ended service',
        look: one?.look ?? 'stopping',
      }
    })
    .filter(({ amount }) => amount > 0)
    .toSorted((a, b) => b.amount - a.amount)
  const slim = parts.filter(({ share }) => share < MIN_NAMED)
  // One that has enough of this budget waits for another.
  const want = wants.find(({ amount }) => amount > free)
  const wanting = want === undefined ? undefined : find(want.key)
  const label = formatName(name)
  return (
    <div class="budget" data-budget={name}>
      <div class="what">
        <b>{label}</b>
        <span class="capacity">{formatAmount(name, capacity)}</span>
      </div>
      <div class="bar" role="group" aria-label={`${label}: who holds what`}>
        {parts.map((part) => (
          <Part key={part.service} budget={name} {...part} />
        ))}
        {wanting !== undefined && want !== undefined ? (
          <a
            class="free wants"
            href={formatRoute('service', wanting.service.name)}
            data-want={want.key}
            title={`${wanting.service.name} waits for ${formatAmount(name, want.amount)}`}
          >
            <Glyph look="waiting" />
            <b class="cut">{wanting.service.name}</b> <i>{formatAmount(name, want.amount)}</i>
          </a>
        ) : (
          <span class="free">
            <span class="cut">
              {slim.map((one) => `${one.name} ${formatAmount(name, one.amount)}`).join(' · ')}
            </span>
          </span>
        )}
      </div>
      <div class="left">
        {free >= 0 ? (
          <>
            <b>{formatAmount(name, free)}</b> <span class="faint">free</span>
          </>
        ) : (
          <b class="bad">{formatAmount(name, -free)} too much</b>
        )}
      </div>
      {wanting !== undefined && want !== undefined && (
        <p class="note">
          {`${wanting.service.name} needs ${formatAmount(name, want.amount)}. ${describeTurn(wanting.explanation)}`}
        </p>
      )}
    </div>
  )
}

/** When its turn comes, or what it waits for. */
function describeTurn({ next, title }: Told['explanation']): string {
  return next ?? `It ${title.charAt(0).toLowerCase()}${title.slice(1)}.`
}

interface PartProps {
  readonly budget: string
  readonly name: string
  readonly look: Look
  readonly amount: number
  readonly share: number
  readonly isLearned?: boolean | undefined
}

function Part({ budget, name, look, amount, share, isLearned }: PartProps) {
  const size = formatAmount(budget, amount)
  const how = isLearned === undefined ? '' : isLearned ? ', as its runs so far took' : ', as configured'
  const words = `${name} ${size}, ${lookWords[look].toLowerCase()}${how}`
  return (
    <a
      class={`part ${look} ${share < MIN_NAMED ? 'slim' : ''}`}
      style={{ width: `${share.toFixed(2)}%` }}
      href={formatRoute('service', name)}
      title={words}
      aria-label={words}
    >
      <Glyph look={look} />
      <b class="cut">{name}</b> <i>{size}</i>
    </a>
  )
}

/** `vramMiB` is VRAM, `group:gpu` the group gpu. */
export function formatName(budget: string): string {
  if (budget.startsWith('group:')) return `Group ${budget.slice(6)}`
  return budget.endsWith('MiB') ? budget.slice(0, -3).toUpperCase() : budget
}

export function formatAmount(budget: string, amount: number): string {
  if (!budget.endsWith('MiB')) return String(amount)
  return amount < 1_000 ? `${Math.round(amount)} MiB` : `${(amount / 1_024).toFixed(1)} GiB`
}
