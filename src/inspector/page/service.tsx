import { charts } from 'leasehold:charts'
import { hasTag } from '../../../machines/provider/tags.ts'
import type { SupervisorEvent } from '../../events/events.ts'
import type { Advice } from '../../explanation/advice.ts'
import { findMainTimer } from '../../explanation/next.ts'
import type { Explanation } from '../../explanation/situation.ts'
import { toDurationText } from '../../text/duration.ts'
import type { App, PrintedLine } from './app.ts'
import { StateChart } from './chart-view.tsx'
import type { HolderView, PageModel, ServiceView } from './model.ts'
import { explainView } from './view-explanation.ts'

/** A change is flashed for this long, in milliseconds. */
const FRESH_MS = 1_600

export interface ServiceProps {
  readonly app: App
  readonly service: ServiceView
  readonly model: PageModel
  readonly atMs: number
}

/** Everything about one service: what is going on, the picture of it, who holds it, what it prints. */
export function Service({ app, service, model, atMs }: ServiceProps) {
  const { output, history, recording, connection } = app.state
  const printed = output.filter((line) => history.cursor === null || line.atMs <= atMs + 5)
  const lines = recording === null ? printed : listRecordedLines(service)
  const explanation = explainView(service, model, atMs, lines.at(-1)?.text)
  const isStill = history.cursor !== null || recording !== null || connection !== 'open'
  return (
    <article class="service" aria-label={service.name}>
      <Summary app={app} service={service} explanation={explanation} atMs={atMs} isStill={isStill} />
      <div class="panel picture">
        <StateChart
          chart={charts.provider}
          state={service.state}
          tone={explanation.tone}
          change={findChange(app, service, atMs)}
        />
      </div>
      <div class="pair">
        <section class="panel" aria-label="Leases and queue">
          <h3>Leases</h3>
          <Holders app={app} service={service} model={model} atMs={atMs} isStill={isStill} />
          <h3>Queue</h3>
          <Queue app={app} service={service} model={model} atMs={atMs} isStill={isStill} />
        </section>
        <section class="panel" aria-label="Last changes">
          <h3>Last changes</h3>
          <Changes service={service} atMs={atMs} />
        </section>
      </div>
      <section class="panel output" aria-label="Output">
        <h3>Output</h3>
        <Output lines={lines} isRecording={recording !== null} />
      </section>
    </article>
  )
}

interface SummaryProps extends Omit<ServiceProps, 'model'> {
  readonly explanation: Explanation
  readonly isStill: boolean
}

function Summary({ app, service, explanation, atMs, isStill }: SummaryProps) {
  const { tone, title, sentence, next, advice } = explanation
  const isDown = hasTag(service.state, 'down')
  const progress = measureProgress(service, atMs)
  return (
    <section class={`summary ${tone}`} aria-label="What is going on">
      <header>
        <div>
          <p class="name">{service.name}</p>
          <h2>
            <span class="dot" aria-hidden="true" />
            {title}
          </h2>
        </div>
        <div class="actions">
          {/* Two buttons and never one that changes: it would keep the focus, and a key meant for Start would stop. */}
          {isDown ? (
            <button
              key="start"
              type="button"
              class="primary"
              disabled={isStill}
              onClick={() => app.start(service.key)}
            >
              Start
            </button>
          ) : (
            <button
              key="stop"
              type="button"
              disabled={isStill || hasTag(service.state, 'stopping')}
              onClick={() => app.stop(service.key)}
            >
              {service.ownership === 'adopted' ? 'Let go' : 'Stop'}
            </button>
          )}
        </div>
      </header>
      <p class="why" aria-live="polite">
        {sentence} {next !== null && <span class="next">{next}</span>}
      </p>
      {progress !== null && (
        <div
          class="progress"
          role="progressbar"
          aria-label={progress.label}
          aria-valuemin={0}
          aria-valuemax={100}
          aria-valuenow={Math.round(progress.share * 100)}
        >
          <span style={{ width: `${(progress.share * 100).toFixed(2)}%` }} />
        </div>
      )}
      {advice.length > 0 && (
        <ul class="advice" aria-label="What you can do">
          {advice.map((one) => (
            <Advised key={one.text} app={app} service={service} advice={one} isStill={isStill} />
          ))}
        </ul>
      )}
      <Facts service={service} atMs={atMs} />
    </section>
  )
}

interface AdvisedProps {
  readonly app: App
  readonly service: ServiceView
  readonly advice: Advice
  readonly isStill: boolean
}

/** What can be done; as a button where it is no other one of this page. */
function Advised({ app, service, advice: { text, command }, isStill }: AdvisedProps) {
  const does = command === null || isStill ? null : findDeed(app, service, command)
  return (
    <li>
      <span>{text}</span>
      {does !== null && (
        <button type="button" onClick={does.act}>
          {does.label}
        </button>
      )}
    </li>
  )
}

/** What a command of an advice is here; `null`: Start and Stop stand above, and the output below. */
function findDeed(app: App, service: ServiceView, { verb, service: name }: NonNullable<Advice['command']>) {
  if (verb === 'cut') return { label: 'Cut', act: () => app.stop(service.key, true) }
  if (verb !== 'stop' || name === service.name) return null
  return { label: `Stop ${name}`, act: () => app.stop(name) }
}

/** How far a start is against the usual, or a countdown against its whole. */
function measureProgress(
  service: ServiceView,
  atMs: number,
): { readonly share: number; readonly label: string } | null {
  const { state, startTimes, startedAtMs } = service
  if (hasTag(state, 'starting') && startTimes !== null && startedAtMs !== null) {
    const share = Math.min(1, Math.max(0, atMs - startedAtMs) / Math.max(1, startTimes.medianMs))
    return { share, label: 'Start, against the median of past starts' }
  }
  const timer = findMainTimer(service.timers.map((one) => ({ ...one, remainingMs: one.endsAtMs - atMs })))
  if (timer === undefined || timer.totalMs <= 0) return null
  const share = Math.min(1, Math.max(0, 1 - timer.remainingMs / timer.totalMs))
  return { share, label: timer.name }
}

const owners = {
  owned: 'started by leasehold',
  adopted: 'started by another program; used, never stopped',
  borrowed: 'another leasehold’s, lent to this one',
  none: 'no server',
} as const

function Facts({ service, atMs }: { readonly service: ServiceView; readonly atMs: number }) {
  const { ownership, holder, pid, generation, memory, startTimes, failures, verdict, receipt } = service
  const facts: (readonly [string, string])[] = [
    ['State', `${service.state}, for ${toDurationText(Math.max(0, atMs - service.enteredAtMs))}`],
    ...(ownership === 'none' ? [] : [['Process', owners[ownership]] as const]),
    ...(holder === null ? [] : [['Run by', `${holder.name}, pid ${holder.pid}`] as const]),
    ...(pid === null ? [] : [['Pid', String(pid)] as const]),
    ...(generation === null ? [] : [['Generation', generation] as const]),
    ...(memory === null
      ? []
      : [['Memory', `${formatSize(memory.bytes)}, at most ${formatSize(memory.peakBytes)}`] as const]),
    ...(startTimes === null
      ? []
      : [['Usual start', `${toDurationText(startTimes.medianMs)} (median of ${startTimes.count})`] as const]),
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
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}

interface ListProps extends ServiceProps {
  readonly isStill: boolean
}

function Holders({ app, service, model, atMs, isStill }: ListProps) {
  const { holders, leases } = service
  if (leases === 0) return <p class="none">No leases.</p>
  const unknown = leases - holders.length
  return (
    <ol class="people">
      {holders.map((holder) => (
        <Person key={holder.id} app={app} holder={holder} model={model} atMs={atMs} isStill={isStill} />
      ))}
      {service.guests.map(({ name, pid, leases: held, waiting }) => (
        <li
          key={`${name} ${pid}`}
          class="none"
        >{`of these ${held} for ${name}, pid ${pid}; ${waiting} of it waiting`}</li>
      ))}
      {unknown > 0 && <li class="none">{`and ${unknown} more`}</li>}
    </ol>
  )
}

function Queue({ app, service, model, atMs, isStill }: ListProps) {
  if (service.queue.length === 0) return <p class="none">The queue is empty.</p>
  return (
    <ol class="people waiting">
      {service.queue.slice(0, 20).map((holder, index) => (
        <Person
          key={holder.id}
          app={app}
          holder={holder}
          model={model}
          atMs={atMs}
          isStill={isStill}
          position={index + 1}
        />
      ))}
      {service.queue.length > 20 && <li class="none">{`and ${service.queue.length - 20} more`}</li>}
    </ol>
  )
}

interface PersonProps extends Omit<ListProps, 'service'> {
  readonly holder: HolderView
  readonly position?: number
}

function Person({ app, holder, model, atMs, isStill, position }: PersonProps) {
  const request = model.requests[holder.id]
  const time = toDurationText(Math.max(0, atMs - holder.sinceMs))
  const expected =
    holder.estimatedMs === undefined ? '' : `, about ${toDurationText(holder.estimatedMs)} to go`
  const rank = holder.priority === undefined || holder.priority === 0 ? '' : `, priority ${holder.priority}`
  return (
    <li>
      {position !== undefined && <span class="position">{position}</span>}
      <span class="who">
        <code>{holder.id}</code>
        <small>{`${request?.ref ?? 'a lease of the program'} · ${time}${expected}${rank}`}</small>
      </span>
      {request !== undefined && !isStill && (
        <button
          type="button"
          class="quiet"
          onClick={() => app.cancel(holder.id)}
          aria-label={`Cancel ${holder.id}`}
        >
          Cancel
        </button>
      )}
    </li>
  )
}

function Changes({ service, atMs }: { readonly service: ServiceView; readonly atMs: number }) {
  if (service.changes.length === 0) return <p class="none">It has not changed since this page looks.</p>
  return (
    <ol class="changes">
      {service.changes.slice(0, 8).map((change) => (
        <li key={change.seq}>
          <time>{`${toDurationText(Math.max(0, atMs - change.atMs))} ago`}</time>
          <span>
            <b>{change.to}</b> <small>{change.whyText}</small>
          </span>
        </li>
      ))}
    </ol>
  )
}

function Output({
  lines,
  isRecording,
}: {
  readonly lines: readonly PrintedLine[]
  readonly isRecording: boolean
}) {
  if (lines.length === 0)
    return (
      <p class="none">
        {isRecording
          ? 'A recording holds no output, but the last lines of a process that ended.'
          : 'It has printed nothing yet.'}
      </p>
    )
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <pre tabIndex={0}>
      {lines.slice(-200).map(({ number, stream, text }) => (
        <span key={number} class={stream}>
          {`${text}\n`}
        </span>
      ))}
    </pre>
  )
}

/** The last words of a process, which its failure carries. */
function listRecordedLines({ failure }: ServiceView): readonly PrintedLine[] {
  return (failure?.tail ?? []).map((text, number) => ({ number, stream: 'stderr', text, atMs: 0 }))
}

/** The last change for the picture, with what was heard just before it, the newest first. */
function findChange(app: App, service: ServiceView, atMs: number) {
  const [last] = service.changes
  if (last === undefined) return null
  const { moments } = app.state.history
  const index = moments.findLastIndex(({ event }) => event.seq === last.seq)
  const heard = moments
    .slice(Math.max(0, index - 6), Math.max(0, index))
    .flatMap(({ event }) => listHeard(event, service.key))
  return { from: last.from, to: last.to, heard: heard.toReversed(), isFresh: atMs - last.atMs < FRESH_MS }
}

/** Names by which the chart knows what was heard. */
function listHeard(event: SupervisorEvent, key: string): readonly string[] {
  if (!('key' in event) || event.key !== key) return []
  if (event.type !== 'machine.event') return [event.type]
  const { type } = event.event
  const [, delay] = /^xstate\.after\.([^.]+)/.exec(type) ?? []
  const [, how, who] = /^xstate\.(done|error)\.actor\.(.+)$/.exec(type) ?? []
  if (delay !== undefined) return [`after ${delay}`]
  return [how === undefined ? type : `${who} ${how === 'done' ? 'done' : 'failed'}`]
}

export function formatSize(bytes: number): string {
  const mebibytes = bytes / 1_048_576
  return mebibytes < 1_000 ? `${mebibytes.toFixed(0)} MiB` : `${(mebibytes / 1_024).toFixed(1)} GiB`
}
