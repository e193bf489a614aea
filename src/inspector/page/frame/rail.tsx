import { findGroup, type Look } from '../look.ts'
import { formatRoute, type ViewName, views } from '../route.ts'
import { Glyph, Icon } from '../shapes.tsx'
import { Still } from '../still.ts'
import type { Told, ViewProps } from './view-frame.tsx'

export const viewNames: Readonly<Record<(typeof views)[number], string>> = {
  overview: 'Overview',
  requests: 'Requests',
  timeline: 'Timeline',
  try: 'Try it',
  machines: 'Machines',
  host: 'Host',
}

export interface RailProps extends ViewProps {
  readonly told: readonly Told[]
  readonly theme: string
  onTheme(): void
}

/** Where one can go: the views, and each service. */
export function Rail({ app, model, told, theme, onTheme }: RailProps) {
  const { route } = app.state
  const failing = countFailing(told)
  const open = Object.keys(model.requests).length
  const base = `${location.host}/v1`
  return (
    <aside class="side" aria-label="leasehold">
      <div class="brand">
        <Brand />
        <span>leasehold</span>
      </div>
      <nav class="views" aria-label="Views">
        {views.map((view) => (
          <a
            key={view}
            class="to-view"
            href={formatRoute(view)}
            aria-current={route.view === view ? 'page' : undefined}
            title={viewNames[view]}
          >
            <Icon name={view} />
            <span>{viewNames[view]}</span>
            {view === 'requests' && open > 0 && (
              <span class="end">
                {open}
                <span class="vh"> under way</span>
              </span>
            )}
            {view === 'overview' && failing > 0 && (
              <span class="end bad">
                {failing}
                <span class="vh"> failing</span>
              </span>
            )}
          </a>
        ))}
      </nav>
      <h2 id="rail-services">Services</h2>
      <nav class="services" aria-labelledby="rail-services">
        {told.map(({ service, look }) => (
          <Place
            key={service.key}
            name={service.name}
            look={look}
            href={formatRoute(route.view === 'machines' ? 'machines' : 'service', service.name)}
            isHere={isAt(route.view, route.id, service)}
          />
        ))}
        {told.length === 0 && <p class="faint">none</p>}
      </nav>
      <footer>
        <button type="button" class="btn bare" onClick={() => app.show('search')} title="Search and commands">
          <Icon name="search" />
          <span>Search</span>
          <kbd class="end">Ctrl K</kbd>
        </button>
        <button
          type="button"
          class="btn bare"
          onClick={() => app.copy(`${location.origin}/v1`, 'The base URL')}
          title={`Copy ${location.origin}/v1`}
        >
          <Icon name="link" />
          <span class="cut">{base}</span>
        </button>
        <button type="button" class="btn bare" onClick={onTheme} title="Colours">
          <Icon name="theme" />
          <span>{`Colours: ${theme}`}</span>
          <kbd class="end">T</kbd>
        </button>
        <button type="button" class="btn bare" onClick={() => app.show('keys')} title="Keys">
          <Icon name="help" />
          <span>Keys</span>
          <kbd class="end">?</kbd>
        </button>
      </footer>
    </aside>
  )
}

interface PlaceProps {
  readonly name: string
  readonly look: Look
  readonly href: string
  readonly isHere: boolean
}

class Place extends Still<PlaceProps> {
  override render({ name, look, href, isHere }: PlaceProps) {
    return (
      <a href={href} aria-current={isHere ? 'page' : undefined} title={name}>
        <Glyph look={look} label />
        <span class="cut">{name}</span>
      </a>
    )
  }
}

/** The same views at the bottom of a phone. */
export function Tabs({ app, told }: Pick<RailProps, 'app' | 'told'>) {
  const { route } = app.state
  return (
    <nav class="tabs" aria-label="Tabs">
      {views.map((view) => (
        <a key={view} href={formatRoute(view)} aria-current={isTab(route.view, view) ? 'page' : undefined}>
          <Icon name={view} size={18} />
          <span>{viewNames[view]}</span>
          {view === 'overview' && countFailing(told) > 0 && (
            <span class="pip" role="img" aria-label="a service fails" />
          )}
        </a>
      ))}
    </nav>
  )
}

export function countFailing(told: readonly Told[]): number {
  return told.filter(({ look }) => findGroup(look) === 'Failing').length
}

function isTab(now: ViewName, view: ViewName): boolean {
  return now === view || (now === 'service' && view === 'overview')
}

function isAt(view: ViewName, id: string | null, { key, name }: Told['service']): boolean {
  return (view === 'service' || view === 'machines') && (id === name || id === key)
}

function Brand() {
  return (
    <svg width="20" height="20" viewBox="0 0 20 20" aria-hidden="true">
      <rect class="brand-ground" x="1" y="1" width="18" height="18" rx="5" />
      <path class="brand-line" d="M6.5 5v8.5a1.5 1.5 0 0 0 1.5 1.5h6" />
      <circle class="brand-dot" cx="12.5" cy="8" r="2.2" />
    </svg>
  )
}
