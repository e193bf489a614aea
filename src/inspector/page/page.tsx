import { useRef, useState } from 'preact/hooks'
import type { SupervisorEvent } from '../../events/events.ts'
import { describeRefusal, describeWatchdog, formatSentence, toCount } from '../../explanation/phrases.ts'
import { toDurationText } from '../../text/duration.ts'
import type { App, AppState, Connection } from './app.ts'
import type { PageModel, ServiceView } from './model.ts'
import { SequenceView } from './sequence-view.tsx'
import { Service } from './service.tsx'
import { explainView } from './view-explanation.ts'

export interface PageProps {
  readonly app: App
  readonly theme: string
  onTheme(): void
}

/** The whole page at the moment that is shown. */
export function Page({ app, theme, onTheme }: PageProps) {
  const { connection, recording, history, selected, notice, standing, isHelpOpen } = app.state
  const { model, atMs } = app.shown()
  const services = Object.values(model.services)
  const service = services.find(({ key }) => key === selected) ?? services[0]
  return (
    <>
      <Header app={app} theme={theme} onTheme={onTheme} />
      {recording === null && <Connectivity connection={connection} app={app} />}
      {recording === null && connection !== 'locked' && standing !== null && <Standing standing={standing} />}
      {connection === 'locked' && recording === null ? (
        <Lock app={app} />
      ) : service === undefined ? (
        <Empty
          connection={connection}
          isRecording={recording !== null}
          isClosed={model.isClosed}
          hasProviders={(standing?.config.unavailable.length ?? 0) > 0}
        />
      ) : (
        <main>
          <nav aria-label="Services">
            <ul>
              {services.map((one) => (
                <Card
                  key={one.key}
                  service={one}
                  model={model}
                  atMs={atMs}
                  isSelected={one === service}
                  onSelect={() => app.select(one.key)}
                />
              ))}
            </ul>
          </nav>
          <div class="detail">
            <Service app={app} service={service} model={model} atMs={atMs} />
            <section class="panel" aria-label="Messages">
              <h3>Messages, told and said</h3>
              <SequenceView rows={app.rows()} service={service} />
            </section>
          </div>
        </main>
      )}
      {history.moments.length > 0 && <Transport app={app} />}
      {notice !== null && (
        <p class="notice" role="status">
          {notice}
        </p>
      )}
      {isHelpOpen && <Help app={app} />}
    </>
  )
}

function Header({ app, theme, onTheme }: PageProps) {
  const file = useRef<HTMLInputElement>(null)
  const { recording } = app.state
  const open = async (chosen: File | undefined) => {
    if (chosen !== undefined) app.open(chosen.name, await chosen.text())
    if (file.current !== null) file.current.value = ''
  }
  return (
    <header class="top">
      <h1>leasehold</h1>
      <span class="where">{recording === null ? location.host : `recording ${recording}`}</span>
      <div class="tools">
        <input
          ref={file}
          type="file"
          id="recording"
          accept=".ndjson,.jsonl,.json,.txt"
          hidden
          onChange={(event) => open(event.currentTarget.files?.[0])}
        />
        {recording === null ? (
          <button type="button" class="quiet" onClick={() => file.current?.click()}>
            Open recording
          </button>
        ) : (
          <button type="button" class="quiet" onClick={() => app.close()}>
            Close recording
          </button>
        )}
        <button type="button" class="quiet" onClick={onTheme} aria-label={`Colours: ${theme}`}>
          {theme === 'auto' ? 'Auto' : theme === 'light' ? 'Light' : 'Dark'}
        </button>
        <button type="button" class="quiet" onClick={() => app.toggleHelp()} aria-label="Keys">
          ?
        </button>
      </div>
    </header>
  )
}

function Connectivity({ connection, app }: { readonly connection: Connection; readonly app: App }) {
  if (connection !== 'lost') return null
  const since = app.state.history.moments.length > 0 ? ' What you see is the last that was known.' : ''
  return (
    <p class="banner" role="alert">
      {`The connection to the gateway is lost; it is tried again.${since} If leasehold was stopped, start it with `}
      <code>leasehold serve</code>.
    </p>
  )
}

/** What concerns no single service: a refused configuration, a watchdog that does not run, providers without a service. */
function Standing({ standing }: { readonly standing: NonNullable<AppState['standing']> }) {
  const { problem } = standing.watchdog
  const { file, refusal, unavailable } = standing.config
  return (
    <>
      {refusal !== null && (
        <p class="banner" role="alert">
          {formatSentence(
            `the file ${file} was refused at ${formatTime(refusal.time)}: ${describeRefusal(refusal)}`,
          )}{' '}
          The configuration before it is still in force.
        </p>
      )}
      {problem !== null && (
        <p class="banner" role="alert">
          {formatSentence(describeWatchdog(problem))}
        </p>
      )}
      {unavailable.length > 0 && (
        <section class="banner" aria-label="Unavailable providers">
          {`${toCount(unavailable.length, 'provider')} cannot be used on this host:`}
          <ul>
            {unavailable.map(({ provider, reason }) => (
              <li key={provider}>
                <b>{provider}</b>: {reason}
              </li>
            ))}
          </ul>
        </section>
      )}
    </>
  )
}

function Lock({ app }: { readonly app: App }) {
  const [key, type] = useState('')
  return (
    <main class="alone">
      <form
        class="panel"
        onSubmit={(event) => {
          event.preventDefault()
          app.unlock(key)
        }}
      >
        <h2>This gateway asks for a key</h2>
        <p>
          One of <code>leasehold.controlKeys</code>, or of <code>leasehold.apiKeys</code> when there are none.
          It is kept for this tab only.
        </p>
        <label for="key">Key</label>
        <div class="row">
          <input
            id="key"
            type="password"
            autocomplete="off"
            value={key}
            onInput={(event) => type(event.currentTarget.value)}
          />
          <button type="submit" class="primary" disabled={key === ''}>
            Open
          </button>
        </div>
      </form>
    </main>
  )
}

interface EmptyProps {
  readonly connection: Connection
  readonly isRecording: boolean
  readonly isClosed: boolean
  /** Whether providers are configured, of which none can be used. */
  readonly hasProviders: boolean
}

function Empty({ connection, isRecording, isClosed, hasProviders }: EmptyProps) {
  if (connection === 'connecting' && !isRecording)
    return (
      <main class="alone">
        <p class="none">Connecting…</p>
      </main>
    )
  if (isClosed && !isRecording)
    return (
      <main class="alone">
        <div class="panel">
          <h2>leasehold has ended</h2>
          <p>Everything that it ran is stopped. This page goes on by itself when it is back.</p>
        </div>
      </main>
    )
  if (hasProviders && !isRecording)
    return (
      <main class="alone">
        <div class="panel">
          <h2>No provider can be used</h2>
          <p>Cure what is named above, and start leasehold again.</p>
        </div>
      </main>
    )
  return (
    <main class="alone">
      <div class="panel">
        <h2>{isRecording ? 'No service at this moment of the recording' : 'No service is configured'}</h2>
        {isRecording ? (
          <p>Step on with → to see them come.</p>
        ) : (
          <>
            <p>
              Name a server under <code>models.providers</code> in <code>leasehold.json5</code>, and start
              leasehold again:
            </p>
            <pre>{EXAMPLE}</pre>
            <p>
              Or try it without a model: <code>leasehold serve --config builtin:demo</code>
            </p>
          </>
        )}
      </div>
    </main>
  )
}

const EXAMPLE = `models: { providers: { llama: {
  baseUrl: 'http://127.0.0.1:8080/v1',
  localService: {
    command: '/usr/local/bin/llama-server',
    args: ['-m', '/models/qwen3-8b.gguf', '--port', '8080'],
    healthUrl: 'http://127.0.0.1:8080/health',
    idleStopMs: 600000,
  },
  models: [{ id: 'qwen3-8b' }],
} } }`

interface CardProps {
  readonly service: ServiceView
  readonly model: PageModel
  readonly atMs: number
  readonly isSelected: boolean
  onSelect(): void
}

function Card({ service, model, atMs, isSelected, onSelect }: CardProps) {
  const { tone, title } = explainView(service, model, atMs)
  const { leases, queue } = service
  const counts = [
    ...(leases > 0 ? [`${leases} ${leases === 1 ? 'lease' : 'leases'}`] : []),
    ...(queue.length > 0 ? [`${queue.length} waiting`] : []),
  ]
  const rest =
    counts.length > 0 ? counts.join(', ') : `for ${toDurationText(Math.max(0, atMs - service.enteredAtMs))}`
  return (
    <li>
      <button
        type="button"
        class={`card ${tone}`}
        aria-current={isSelected ? 'true' : undefined}
        onClick={onSelect}
      >
        <span class="dot" aria-hidden="true" />
        <span class="text">
          <b>{service.name}</b>
          <span>{title}</span>
          <small>{rest}</small>
        </span>
      </button>
    </li>
  )
}

/** Time: hold it, step through it, go back to now. */
function Transport({ app }: { readonly app: App }) {
  const { history, recording, isPlaying, connection } = app.state
  const last = history.moments.length - 1
  const at = history.cursor ?? last
  const moment = history.moments[at]
  const isLive = history.cursor === null && recording === null
  const label = recording !== null ? (isPlaying ? 'Pause' : 'Play') : isLive ? 'Pause' : 'Go live'
  return (
    <footer class={`transport ${isLive ? 'live' : 'still'}`}>
      <div class="buttons">
        <button
          type="button"
          class="quiet"
          onClick={() => app.step(-1)}
          disabled={at <= 0}
          aria-label="One event back"
        >
          ←
        </button>
        <button type="button" class={isLive ? 'quiet' : 'primary'} onClick={() => app.pause()}>
          {label}
        </button>
        <button
          type="button"
          class="quiet"
          onClick={() => app.step(1)}
          disabled={isLive || (recording !== null && at >= last)}
          aria-label="One event on"
        >
          →
        </button>
      </div>
      <input
        type="range"
        min={0}
        max={Math.max(1, last)}
        value={at}
        aria-label="Moment"
        onInput={(event) => app.seek(Number(event.currentTarget.value))}
      />
      <p class="moment">
        {isLive && connection === 'open' ? (
          <span class="now">Live</span>
        ) : (
          <span class="then">{isLive ? 'Last known' : `${at + 1} of ${last + 1}`}</span>
        )}
        {moment !== undefined && (
          <span class="event">
            <time>{formatTime(moment.event.time)}</time> <b>{moment.event.type}</b>{' '}
            {describeEvent(moment.event)}
          </span>
        )}
      </p>
    </footer>
  )
}

function formatTime(time: string): string {
  const date = new Date(time)
  return `${date.toLocaleTimeString([], { hour12: false })}.${String(date.getMilliseconds()).padStart(3, '0')}`
}

function describeEvent(event: SupervisorEvent): string {
  const who = 'service' in event ? event.service : ''
  if (event.type === 'service.state') return `${who}: ${event.from} → ${event.to}`
  return who
}

const keys: readonly (readonly [string, string])[] = [
  ['Space', 'hold the moment, or go on'],
  ['← →', 'one event back or on; with Shift ten'],
  ['Home End', 'the first event; the newest'],
  ['↑ ↓', 'the service above or below'],
  ['S', 'start or stop the service'],
  ['O', 'open a recording'],
  ['T', 'light, dark, or as the system'],
  ['?', 'these keys'],
]

function Help({ app }: { readonly app: App }) {
  return (
    <div class="help" role="dialog" aria-label="Keys">
      <h2>Keys</h2>
      <dl>
        {keys.map(([key, meaning]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
      <p>
        <a href="/inspect/stately">Open the machines in Stately’s own inspector</a> (needs the internet)
      </p>
      <button type="button" onClick={() => app.toggleHelp()}>
        Close
      </button>
    </div>
  )
}
