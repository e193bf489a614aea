import { hasTag } from '../../../../machines/provider/tags.ts'
import type { App } from '../app.ts'
import { formatClock, formatSpan, listNames } from '../display-text.ts'
import { FilterField } from '../frame/filter-field.tsx'
import { countFailing } from '../frame/rail.tsx'
import { Screen, type Told, type ViewProps } from '../frame/view-frame.tsx'
import { type Look, lookWords } from '../look.ts'
import type { ChangeView, ServiceView } from '../model.ts'
import { countPerMinute, listRates } from '../rates.ts'
import { formatRoute } from '../route.ts'
import { Glyph, Icon } from '../shapes.tsx'
import { Budgets } from './overview-budgets.tsx'
import { ServiceTable } from './overview-table.tsx'

export interface OverviewProps extends ViewProps {
  readonly told: readonly Told[]
}

/** Everything at a glance: what goes on, who holds the memory, and a row for each service. */
export function Overview(view: OverviewProps) {
  const { app, told } = view
  const { later, state } = app
  const { filter } = state
  const isDense = told.length > 12
  const tools = told.length > 3 && <FilterField app={app} label="Filter services" />
  return (
    <Screen view={view} title="Overview" tools={tools}>
      {told.length === 0 ? (
        <Nothing {...view} />
      ) : (
        <>
          <Lead {...view} />
          {later && <later.ThisMachine {...view} />}
          <Budgets {...view} isDense={isDense} />
          <ServiceTable {...view} filter={filter} isDense={isDense} />
        </>
      )}
      {later && <later.OtherMachines {...view} />}
      <Unavailable app={app} />
      {told.length > 0 && !isDense && <Lately {...view} />}
      {told.length > 0 && <Legend />}
      <small>{`leasehold ${document.documentElement.dataset.version}`}</small>
    </Screen>
  )
}

/** What to do where there is no service: it comes with the other views. */
function Nothing(view: OverviewProps) {
  const { later } = view.app
  if (later !== undefined) return <later.Empty {...view} />
  return (
    <div class="hero">
      <h2>Connecting…</h2>
    </div>
  )
}

/** The headline, and three figures. */
function Lead({ app, model, atMs, told }: OverviewProps) {
  const { history } = app.state
  const pace = app.pace()
  const open = Object.keys(model.requests).length
  const perMinute = countPerMinute(pace, history.moments, atMs)
  const rate = told.reduce((sum, { service }) => sum + (listRates(pace, service.key, atMs).at(-1) ?? 0), 0)
  const firstMs = app.firstByteMs(atMs)
  return (
    <div class="lead">
      <div>
        <h2>{describeHeadline(told)}</h2>
        <p>
          {describeRest(told)} {open > 0 && `${open} ${open === 1 ? 'request' : 'requests'} under way.`}
        </p>
      </div>
      <dl class="stats">
        <Figure name="Generating" value={String(Math.round(rate))} unit="tok/s" />
        <Figure name="Requests" value={perMinute === null ? '–' : String(perMinute)} unit="/ min" />
        <Figure name="First byte" value={firstMs === null ? '–' : formatSpan(firstMs)} unit="median" />
      </dl>
    </div>
  )
}

function Figure({ name, value, unit }: Readonly<Record<'name' | 'value' | 'unit', string>>) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        {value} <small>{unit}</small>
      </dd>
    </div>
  )
}

const namesOf = (told: readonly Told[], ...looks: readonly Look[]) =>
  told.filter(({ look }) => looks.includes(look)).map(({ service }) => service.name)

/** One is named, several are counted. */
function phrase(names: readonly string[], one: string, many: string): string[] {
  return names.length === 0 ? [] : [names.length === 1 ? `${names[0]} ${one}` : `${names.length} ${many}`]
}

function describeHeadline(told: readonly Told[]): string {
  const use = phrase(namesOf(told, 'use'), 'is in use', 'services are in use')
  const tripped = phrase(namesOf(told, 'tripped'), 'keeps failing', 'keep failing')
  const failed = phrase(namesOf(told, 'backoff', 'failed'), 'failed', 'failed')
  const busy = phrase(namesOf(told, 'loading'), 'loads', 'services load')
  const quiet = countFailing(told) === 0 ? ['All is quiet'] : []
  const first = use.length > 0 ? use : busy.length > 0 ? busy : quiet
  return [...first, ...tripped, ...failed].join(', ')
}

function describeRest(told: readonly Told[]): string {
  const parts = [
    ...(namesOf(told, 'use').length > 0 ? phrase(namesOf(told, 'loading'), 'loads', 'load') : []),
    ...phrase(namesOf(told, 'waiting'), 'waits for room', 'wait for room'),
    ...phrase(namesOf(told, 'stopping'), 'stops', 'stop'),
    ...phrase(namesOf(told, 'idle'), 'is ready', 'are ready'),
    ...phrase(namesOf(told, 'down'), 'is down', 'are down'),
  ]
  return parts.length === 0 ? 'Nothing else runs.' : `${listNames(parts)}.`
}

/** Providers of the configuration that have no service, because this host cannot use them. */
function Unavailable({ app }: { readonly app: App }) {
  const unavailable = app.state.status?.config.unavailable ?? []
  if (unavailable.length === 0 || app.state.recording !== null) return null
  return (
    <section class="card unavailable" aria-label="Unavailable providers">
      <header>
        <h2>{`${unavailable.length} ${unavailable.length === 1 ? 'provider' : 'providers'} cannot be used on this host:`}</h2>
      </header>
      <ul>
        {unavailable.map(({ provider, reason }) => (
          <li key={provider}>
            <Glyph look="failed" />
            <span>
              <b>{provider}</b>: {reason}
            </span>
          </li>
        ))}
      </ul>
    </section>
  )
}

/** Changes that are news; in use and back again is none. */
function findNews({ from, to }: ChangeView): readonly [Look, string] | null {
  if (hasTag(to, 'spawning')) return ['loading', 'starts']
  if (hasTag(to, 'asleep')) return ['asleep', 'sleeps']
  if (hasTag(to, 'up')) return hasTag(from, 'up') ? null : ['idle', 'is ready']
  if (hasTag(to, 'terminating')) return ['stopping', 'stops']
  if (hasTag(to, 'tripped')) return ['tripped', 'keeps failing']
  if (hasTag(to, 'backoff')) return ['backoff', 'failed']
  return hasTag(to, 'cold') ? ['down', 'is down'] : null
}

/** The last changes that are news, the newest first. */
export function listNews(services: readonly ServiceView[]) {
  return services
    .flatMap((service) =>
      service.changes.flatMap((change) => {
        const what = findNews(change)
        return what === null ? [] : [{ service, change, look: what[0], text: what[1] }]
      }),
    )
    .toSorted((a, b) => b.change.atMs - a.change.atMs || b.change.seq - a.change.seq)
    .slice(0, 5)
}

/** What changed last, in words. */
function Lately({ app, told }: OverviewProps) {
  const news = listNews(told.map(({ service }) => service))
  if (news.length === 0) return null
  return (
    <section class="card" aria-label="Lately">
      <header>
        <h2>Lately</h2>
        <span class="tools">
          <a class="btn bare" href={formatRoute('timeline')}>
            Timeline <Icon name="on" size={14} />
          </a>
        </span>
      </header>
      <ol class="lately">
        {news.map(({ service, change, look, text }) => {
          const time = formatClock(app.wallMs(change.atMs))
          return (
            <li key={`${service.key} ${change.seq}`}>
              <button
                type="button"
                class="go-to"
                onClick={() => app.holdTime(change.atMs)}
                aria-label={`Go to ${time}`}
              >
                {time}
              </button>
              <p>
                <Glyph look={look} />
                <span class="cut">
                  <a href={formatRoute('service', service.name)}>{service.name}</a>{' '}
                  <span class="soft">
                    {text}: {change.whyText}
                  </span>
                </span>
              </p>
            </li>
          )
        })}
      </ol>
    </section>
  )
}

const legend: readonly Look[] = [
  'use',
  'idle',
  'asleep',
  'loading',
  'waiting',
  'stopping',
  'tripped',
  'backoff',
  'down',
]

function Legend() {
  return (
    <ul class="key" aria-label="Legend">
      {legend.map((look) => (
        <li key={look}>
          <Glyph look={look} /> {lookWords[look]}
        </li>
      ))}
    </ul>
  )
}
