import { charts } from 'leasehold:charts'
import { toDurationText } from '../../../text/duration.ts'
import { StateChart } from '../chart-view.tsx'
import { formatClock } from '../display-text.ts'
import { download } from '../download.ts'
import { Screen, type Told, type ViewProps } from '../frame/view-frame.tsx'
import { formatRoute } from '../route.ts'
import { SequenceView } from '../sequence-view.tsx'
import { Glyph, Icon } from '../shapes.tsx'
import { findChange } from './service-view.tsx'

/** What the inspector tells: every state, and what each machine was told and said. And the configuration in force. */
export function Machines(view: ViewProps & { readonly told: readonly Told[] }) {
  const { app, told, atMs } = view
  const { id } = app.state.route
  const one = told.find(({ service }) => service.key === id || service.name === id) ?? told[0]
  return (
    <Screen
      view={view}
      title="Machines"
      tools={
        <button type="button" class="btn" onClick={() => document.getElementById('recording')?.click()}>
          <Icon name="file" size={14} /> Open recording
        </button>
      }
    >
      {one !== undefined && (
        <>
          <section class="card" aria-label="States" data-state={one.service.state}>
            <header>
              <Glyph look={one.look} />
              <select
                class="field"
                aria-label="Service"
                value={one.service.name}
                onChange={({ currentTarget }) => {
                  location.hash = formatRoute('machines', currentTarget.value)
                }}
              >
                {told.map(({ service }) => (
                  <option key={service.key} value={service.name}>
                    {service.name}
                  </option>
                ))}
              </select>
              <span class="chip mono">{one.service.state}</span>
              <small class="hide-s">{`for ${toDurationText(Math.max(0, atMs - one.service.enteredAtMs))}`}</small>
            </header>
            <StateChart
              chart={charts.provider}
              state={one.service.state}
              tone={one.look}
              change={findChange(app, one.service, atMs)}
            />
          </section>
          <section class="card" aria-label="Messages">
            <header>
              <h2>Messages</h2>
              <small>what the machine was told, and what it said</small>
            </header>
            <SequenceView rows={app.rows()} service={one.service} />
          </section>
        </>
      )}
      <div class="pair">
        <Configuration {...view} />
        <Recording {...view} />
      </div>
    </Screen>
  )
}

/** The file in force, what was refused after it, and what reloads have changed. */
function Configuration({ app }: ViewProps) {
  const { status, history } = app.state
  const { file, loadedAt, refusal = null, unavailable = [] } = status?.config ?? {}
  const changes = history.moments
    .flatMap(({ event }) => (event.type === 'config.replaced' ? [event] : []))
    .slice(-5)
    .toReversed()
  return (
    <section class="card" aria-label="Configuration">
      <header>
        <h2>Configuration</h2>
      </header>
      <dl class="facts">
        <div>
          <dt>File</dt>
          <dd class="mono">{file ?? 'not told'}</dd>
        </div>
        {loadedAt !== undefined && (
          <div>
            <dt>In force since</dt>
            <dd>{formatClock(Date.parse(loadedAt))}</dd>
          </div>
        )}
        {unavailable.map(({ provider, reason }) => (
          <div key={provider}>
            <dt>{`Cannot be used: ${provider}`}</dt>
            <dd>{reason}</dd>
          </div>
        ))}
      </dl>
      {refusal !== null && (
        <div class="refused" role="group" aria-label="Refused">
          <h3>{`Refused at ${formatClock(Date.parse(refusal.time))}`}</h3>
          {refusal.problems.length === 0 && <p>{refusal.message}</p>}
          <ul>
            {refusal.problems.map(({ path, line, column, message }) => (
              <li key={`${path} ${message}`}>
                <code>{line === undefined ? path : `${line}:${column}`}</code> {message}
              </li>
            ))}
          </ul>
        </div>
      )}
      {changes.length > 0 && (
        <ol class="reloads">
          {changes.map((event) => (
            <li key={event.seq}>
              <button type="button" class="go-to" onClick={() => app.seekTime(event.atMs)}>
                {formatClock(Date.parse(event.time))}
              </button>
              <span>{describeReload(event)}</span>
            </li>
          ))}
        </ol>
      )}
    </section>
  )
}

interface Reload {
  readonly added: readonly string[]
  readonly removed: readonly string[]
  readonly changed: readonly string[]
  readonly settings: readonly string[]
  readonly ignored: readonly string[]
}

function describeReload({ added, removed, changed, settings, ignored }: Reload): string {
  const part = (word: string, names: readonly string[]) =>
    names.length === 0 ? [] : [`${word} ${names.join(', ')}`]
  const parts = [
    ...part('added', added),
    ...part('removed', removed),
    ...part('changed', changed),
    ...part('settings', settings),
    ...part('only after a restart', ignored),
  ]
  return parts.length === 0 ? 'nothing differed' : parts.join('; ')
}

function Recording({ app }: ViewProps) {
  const save = () => download('leasehold.ndjson', app.saved(), 'application/x-ndjson')
  return (
    <section class="card" aria-label="Recording">
      <header>
        <h2>Recording</h2>
      </header>
      <div class="padded">
        <p class="soft">
          Open what <code>leasehold serve --record FILE</code> wrote, on this machine or on another. Every
          view plays it as it plays what happens now.
        </p>
        <p class="row">
          <button type="button" class="btn" onClick={() => document.getElementById('recording')?.click()}>
            <Icon name="file" size={14} /> Open a recording
          </button>
          <button type="button" class="btn bare" onClick={save}>
            <Icon name="download" size={14} /> Save these events
          </button>
        </p>
        <p class="soft">
          <a href="/inspect/stately">Open the machines in Stately’s own inspector</a> (needs the internet)
        </p>
      </div>
    </section>
  )
}
