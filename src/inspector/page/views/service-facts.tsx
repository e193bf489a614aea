import { toDurationText } from '../../../text/duration.ts'
import type { App } from '../app.ts'
import { formatSize, formatSpan } from '../display-text.ts'
import type { Told } from '../frame/view-frame.tsx'
import type { PageModel, ServiceView } from '../model.ts'
import { formatAmount, formatName } from './overview-budgets.tsx'

const owners = {
  owned: 'started by leasehold',
  adopted: 'started by another program; used, never stopped',
  borrowed: 'another leasehold’s, lent to this one',
  none: 'none',
} as const

interface FactsProps {
  readonly app: App
  readonly service: ServiceView
  readonly model: PageModel
  readonly atMs: number
  readonly all: readonly Told[]
}

type Fact = readonly [string, string]

export function Facts({ service, model, atMs }: FactsProps) {
  const facts: readonly Fact[] = [
    ...listIdentity(service, atMs),
    ...listUse(service, model),
    ...listTrouble(service),
  ]
  return (
    <section class="card" aria-label="Facts">
      <header>
        <h2>Facts</h2>
      </header>
      <dl class="facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </section>
  )
}

function listIdentity(service: ServiceView, atMs: number): readonly Fact[] {
  const { state, enteredAtMs, models, ownership, holder, pid, generation, baseUrl } = service
  return [
    ['State', `${state}, for ${toDurationText(Math.max(0, atMs - enteredAtMs))}`],
    ...models.map(({ id, aliases }): Fact => [`Model ${id}`, aliases.join(', ') || 'no other name']),
    ['Server', owners[ownership]],
    ...(holder === null ? [] : [['Run by', `${holder.name}, pid ${holder.pid}`] as const]),
    ...(baseUrl === null ? [] : [['Address', baseUrl] as const]),
    ...(pid === null ? [] : [['Pid', String(pid)] as const]),
    ...(generation === null ? [] : [['Generation', generation] as const]),
  ]
}

function listUse(service: ServiceView, model: PageModel): readonly Fact[] {
  const { memory, startTimes, policy } = service
  const holds = model.budgets.flatMap(({ name, holds: all }) =>
    all
      .filter(({ key }) => key === service.key)
      .map(({ amount, isLearned }) => {
        const how = isLearned === undefined ? '' : isLearned ? ', learned' : ', stated'
        return `${formatAmount(name, amount)} ${formatName(name)}${how}`
      }),
  )
  return [
    ...(memory === null
      ? []
      : [['Memory', `${formatSize(memory.bytes)}, at most ${formatSize(memory.peakBytes)}`] as const]),
    ...(memory?.gpuBytes == null ? [] : [['GPU memory', formatSize(memory.gpuBytes)] as const]),
    ...(holds.length === 0 ? [] : [['Reserves', holds.join(', ')] as const]),
    ...(startTimes === null
      ? []
      : [['Usual start', `${toDurationText(startTimes.medianMs)} (median of ${startTimes.count})`] as const]),
    ...(policy === null
      ? []
      : [
          [
            'Idle stop',
            policy.idleStopMs > 0 ? `after ${toDurationText(policy.idleStopMs)}` : 'never',
          ] as const,
        ]),
  ]
}

function listTrouble({ failures, verdict, receipt }: ServiceView): readonly Fact[] {
  return [
    ...(verdict === null ? [] : [['Health', `${verdict.kind}: ${verdict.detail}`] as const]),
    ...(failures === 0 ? [] : [['Failures', `${failures} in a row`] as const]),
    ...(receipt === null || receipt.survivors.length === 0
      ? []
      : [['Still alive', receipt.survivors.join(', ')] as const]),
    ...(receipt?.isPortHeld === true
      ? [
          [
            'Port still taken by',
            receipt.portHolder?.strangers.map(({ pid }) => pid).join(', ') || 'unknown',
          ] as const,
        ]
      : []),
  ]
}

/** How long its last starts took, against their median. A failed one is a cross. */
export function Starts({ service: { starts, startTimes } }: { readonly service: ServiceView }) {
  if (starts.length === 0) return null
  const failed = starts.filter((start) => start.failed).length
  const most = Math.max(1, ...starts.map(({ ms }) => ms)) * 1.15
  const y = (ms: number) => 70 - (ms / most) * 60
  const x = (index: number) => 14 + (index * 232) / Math.max(5, starts.length - 1)
  const words = starts.map(
    ({ ms, failed: isFailed }) => `${isFailed ? 'failed after ' : ''}${formatSpan(ms)}`,
  )
  const medianMs = startTimes?.medianMs
  return (
    <section class="card" aria-label="Starts">
      <header>
        <h2>Starts</h2>
        <small>
          {medianMs === undefined
            ? `${failed} of ${starts.length} failed`
            : `median ${formatSpan(medianMs)}${failed > 0 ? `, ${failed} failed` : ''}`}
        </small>
      </header>
      <svg class="starts" viewBox="0 0 300 88" role="img" aria-label={`Oldest first: ${words.join(', ')}`}>
        {medianMs !== undefined && (
          <>
            <path class="median" d={`M0 ${y(medianMs)}H258`} />
            <text x="300" y={y(medianMs) + 4} text-anchor="end">
              {formatSpan(medianMs)}
            </text>
          </>
        )}
        {starts.map((start, index) => {
          const [at, height] = [x(index), y(start.ms)]
          return start.failed ? (
            <path key={index} class="failed" d={`M${at - 4.5} ${height - 4.5}l9 9m0-9l-9 9`} />
          ) : (
            <g key={index}>
              <path class="stem" d={`M${at} ${height}V74`} />
              <circle cx={at} cy={height} r="4" />
            </g>
          )
        })}
        <path class="ground" d="M0 74.5H300" />
        <text x="0" y="87">
          older
        </text>
        <text x="300" y="87" text-anchor="end">
          last
        </text>
      </svg>
    </section>
  )
}
