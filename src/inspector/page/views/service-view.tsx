import { charts } from 'leasehold:charts'
import { useState } from 'preact/hooks'
import { hasTag } from '../../../../machines/provider/tags.ts'
import type { SupervisorEvent } from '../../../events/events.ts'
import type { Advice } from '../../../explanation/advice.ts'
import { toDurationText } from '../../../text/duration.ts'
import type { App, PrintedLine } from '../app.ts'
import { StateChart } from '../chart-view.tsx'
import { Screen, type Told, tell, type ViewProps } from '../frame/view-frame.tsx'
import { lookWords } from '../look.ts'
import { findNamed, type ServiceView } from '../model.ts'
import { formatRoute } from '../route.ts'
import { Glyph, Icon, Ring } from '../shapes.tsx'
import { SixChart } from '../six-chart.tsx'
import { measureDial } from './countdown.ts'
import { Log } from './output-log.tsx'
import { Facts, Starts } from './service-facts.tsx'
import { Holders, Queue } from './service-holders.tsx'
import { MemoryChart } from './service-memory.tsx'

/** A change is flashed for this long, in milliseconds. */
const FRESH_MS = 1_600

/** Everything about one service: what is going on, the picture of it, who holds it, what it prints. */
export function Service(view: ViewProps & { readonly told: readonly Told[] }) {
  const { app, model, told } = view
  const { id } = app.state.route
  const service = findNamed(model, id)
  if (service === undefined) return <Missing {...view} />
  const lines = listLines(app, service, view.atMs)
  const printed = lines.findLast(({ stream }) => stream !== 'leasehold')
  const one = tell(service, model, view.atMs, printed?.text)
  return (
    <Screen
      view={view}
      title={
        <>
          <a class="soft" href={formatRoute('overview')} aria-label="Back to the overview">
            <Icon name="back" />
          </a>
          <Glyph look={one.look} label />
          <span class="cut">{service.name}</span>
        </>
      }
      tools={<Tools {...view} service={service} />}
    >
      <article class="service two" aria-label={service.name} data-state={service.state} data-look={one.look}>
        <div class="stack">
          <Say {...view} {...one} />
          <Chart app={app} told={one} atMs={view.atMs} />
          <Log
            app={app}
            title="Output"
            name={service.name}
            lines={lines}
            cause={one.explanation.cause}
            isRecording={app.state.recording !== null}
            none={
              app.state.recording === null
                ? 'It has printed nothing yet.'
                : 'A recording holds no output, but the last lines of a process that ended.'
            }
          />
        </div>
        <div class="stack">
          <section class="card requests-of" aria-label="Leases and queue">
            <header>
              <h2>Requests</h2>
              <small>{`${service.leases} in use · ${service.queue.length} waiting`}</small>
            </header>
            <Holders {...view} service={service} />
            <Queue {...view} service={service} />
          </section>
          <MemoryChart {...view} service={service} />
          <Starts service={service} />
          <Facts app={app} service={service} model={model} atMs={view.atMs} all={told} />
          <Changes app={app} service={service} atMs={view.atMs} />
        </div>
      </article>
    </Screen>
  )
}

function Missing(view: ViewProps) {
  const { connection, route } = view.app.state
  const isWaiting = connection === 'connecting'
  return (
    <Screen view={view} title="Service">
      <div class="hero">
        <h2>{isWaiting ? 'Connecting…' : `There is no service “${route.id}” at this moment`}</h2>
        {view.model.isClosed && <p class="soft">leasehold has ended.</p>}
        {!isWaiting && <p class="soft">The last reload may have removed it, or it has yet to come.</p>}
        <p>
          <a class="btn" href={formatRoute('overview')}>
            All services
          </a>
        </p>
      </div>
    </Screen>
  )
}

interface OneProps extends ViewProps {
  readonly service: ServiceView
}

function Tools({ app, service, isStill }: OneProps) {
  return (
    <>
      <span class="row hide-s">
        {service.models.slice(0, 4).map(({ id }) => (
          <span key={id} class="chip">
            {id}
          </span>
        ))}
      </span>
      <a class="btn hide-s" href={formatRoute('try', service.name)}>
        Try it
      </a>
      {/* Two buttons and never one that changes: it would keep the focus, and a key meant for Start would stop. */}
      {hasTag(service.state, 'down') ? (
        <button
          key="start"
          type="button"
          class="btn main"
          disabled={isStill}
          onClick={() => app.start(service.key)}
        >
          Start
        </button>
      ) : (
        <button
          key="stop"
          type="button"
          class="btn"
          disabled={isStill || hasTag(service.state, 'stopping')}
          onClick={() => app.stop(service.key)}
        >
          {service.ownership === 'adopted' ? 'Let go' : 'Stop'}
        </button>
      )}
    </>
  )
}

/** What is going on: a sentence, the reason, what comes next, and what one can do. */
function Say({ app, service, look, explanation, atMs, isStill }: OneProps & Told) {
  const { title, sentence, next, advice } = explanation
  const cause = explanation.cause
  return (
    <section class={`card ${look}`} aria-label="What is going on">
      <div class="say">
        <div>
          <h2>
            <Glyph look={look} />
            {title}
          </h2>
          <p class="vh" role="status">{`${service.name}: ${lookWords[look].toLowerCase()}`}</p>
          <p class="why">
            {sentence} {next !== null && <span class="next">{next}</span>}
          </p>
        </div>
        <Dial service={service} atMs={atMs} />
      </div>
      {(advice.length > 0 || cause !== null) && (
        <div class="cure" role="group" aria-label="What you can do">
          <h3>What you can do</h3>
          {cause !== null && <blockquote>{cause}</blockquote>}
          <ul>
            {advice.map((one) => (
              <Advised key={one.text} app={app} service={service} advice={one} isStill={isStill} />
            ))}
          </ul>
        </div>
      )}
    </section>
  )
}

interface AdvisedProps {
  readonly app: App
  readonly service: ServiceView
  readonly advice: Advice
  readonly isStill: boolean
}

/** What can be done; as a button where it is no other one of this page, and with a line to copy. */
function Advised({ app, service, advice: { text, command, copy }, isStill }: AdvisedProps) {
  const does = command === null || isStill ? null : findDeed(app, service, command)
  return (
    <li>
      <span>
        {text} {copy !== undefined && <code>{copy}</code>}
      </span>
      {copy !== undefined && (
        <button type="button" class="btn" onClick={() => app.copy(copy, 'The line')}>
          <Icon name="copy" size={14} /> Copy
        </button>
      )}
      {does !== null && (
        <button type="button" class="btn" onClick={does.act}>
          {does.label}
        </button>
      )}
    </li>
  )
}

/** What a command of an advice is here; `null`: Stop stands above, and the output below. */
function findDeed(app: App, service: ServiceView, { verb, service: name }: NonNullable<Advice['command']>) {
  if (verb === 'cut') return { label: 'Cut', act: () => app.stop(service.key, true) }
  if (verb === 'start' && name === service.name)
    return { label: 'Start now', act: () => app.start(service.key) }
  if (verb !== 'stop' || name === service.name) return null
  return { label: `Stop ${name}`, act: () => app.stop(name) }
}

/** A start against the usual, or the countdown that runs. */
function Dial({ service, atMs }: { readonly service: ServiceView; readonly atMs: number }) {
  const dial = measureDial(service, atMs)
  if (dial === null) return null
  return (
    <div
      class="dial"
      role="progressbar"
      aria-label={dial.label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round((1 - dial.left) * 100)}
      aria-valuetext={`${dial.caption} ${dial.text}`}
    >
      <div class="in-dial">
        <Ring share={dial.left} size={72} width={4} />
        <b>{dial.text}</b>
      </div>
      <small>{dial.caption}</small>
    </div>
  )
}

interface ChartProps {
  readonly app: App
  readonly told: Told
  readonly atMs: number
}

/** The statechart: six states, or all of them. */
function Chart({ app, told: { service, look }, atMs }: ChartProps) {
  const [isWhole, show] = useState(false)
  const [zoom, enlarge] = useState(100)
  const change = isWhole ? findChange(app, service, atMs) : null
  return (
    <section class="card statechart" aria-label="Statechart">
      <header>
        <h2>Statechart</h2>
        <span class="tools">
          {isWhole ? (
            <span class="row">
              <button
                type="button"
                class="btn sq bare"
                disabled={zoom <= 100}
                onClick={() => enlarge(zoom - 50)}
                aria-label="Smaller"
              >
                −
              </button>
              <small>{zoom} %</small>
              <button
                type="button"
                class="btn sq bare"
                disabled={zoom >= 300}
                onClick={() => enlarge(zoom + 50)}
                aria-label="Larger"
              >
                +
              </button>
            </span>
          ) : (
            <ul class="key hide-s" aria-label="Legend of the statechart">
              <li>
                <i class="stroke last" /> last way
              </li>
              <li>
                <i class="stroke was" /> before it
              </li>
            </ul>
          )}
          <span class="seg" role="group" aria-label="Detail">
            <button type="button" aria-pressed={!isWhole} onClick={() => show(false)}>
              Six states
            </button>
            <button type="button" aria-pressed={isWhole} onClick={() => show(true)}>
              All
            </button>
          </span>
        </span>
      </header>
      {isWhole ? (
        <StateChart chart={charts.provider} state={service.state} tone={look} change={change} zoom={zoom} />
      ) : (
        <SixChart
          name={service.name}
          state={service.state}
          look={look}
          changes={service.changes}
          listHeard={({ seq }) => listHeardBefore(app, service.key, seq)}
        />
      )}
    </section>
  )
}

function Changes({ app, service, atMs }: Pick<OneProps, 'app' | 'service' | 'atMs'>) {
  return (
    <section class="card" aria-label="Last changes">
      <header>
        <h2>Last changes</h2>
      </header>
      {service.changes.length === 0 ? (
        <p class="none">It has not changed since this page looks.</p>
      ) : (
        <ol class="changes">
          {service.changes.slice(0, 8).map((change) => (
            <li key={change.seq}>
              <button
                type="button"
                class="go-to"
                onClick={() => app.seekTime(change.atMs)}
              >{`${toDurationText(Math.max(0, atMs - change.atMs))} ago`}</button>
              <span>
                <b>{change.to}</b> <small>{change.whyText}</small>
              </span>
            </li>
          ))}
        </ol>
      )}
    </section>
  )
}

/** What it printed until a moment, with what became of its process between the lines. */
function listLines(app: App, service: ServiceView, atMs: number): readonly PrintedLine[] {
  const { output, history, recording } = app.state
  if (recording !== null) return listRecordedLines(service)
  const printed = history.cursor === null ? output : output.filter((line) => line.atMs <= atMs + 5)
  const [first] = printed
  if (first === undefined) return printed
  const last = atMs + 5
  const marks = history.moments.flatMap(({ event }) => {
    const text =
      event.atMs < first.atMs - 1_000 || event.atMs > last ? null : describeMark(event, service.key)
    return text === null ? [] : [{ number: -event.seq, stream: 'leasehold', text, atMs: event.atMs }]
  })
  if (marks.length === 0) return printed
  return [...printed, ...marks].toSorted((a, b) => a.atMs - b.atMs)
}

/** Where a run begins and ends. */
function describeMark(event: SupervisorEvent, key: string): string | null {
  if (!('key' in event) || event.key !== key) return null
  if (event.type === 'process.spawned') return `leasehold: started as process ${event.pid}`
  if (event.type === 'process.exited') return 'leasehold: the process has ended'
  return null
}

/** The last words of a process, which its failure carries. */
function listRecordedLines({ failure }: ServiceView): readonly PrintedLine[] {
  return (failure?.tail ?? []).map((text, number) => ({ number, stream: 'stderr', text, atMs: 0 }))
}

/** The last change for the picture, with what was heard just before it. */
export function findChange(app: App, { key, changes: [last] }: ServiceView, atMs: number) {
  if (last === undefined) return null
  const isFresh = atMs - last.atMs < FRESH_MS
  return { from: last.from, to: last.to, heard: listHeardBefore(app, key, last.seq), isFresh }
}

/** What a machine heard just before an event, the newest first. */
function listHeardBefore(app: App, key: string, seq: number): readonly string[] {
  const { moments } = app.state.history
  const index = moments.findLastIndex(({ event }) => event.seq === seq)
  return moments
    .slice(Math.max(0, index - 6), Math.max(0, index))
    .flatMap(({ event }) => listHeard(event, key))
    .toReversed()
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
