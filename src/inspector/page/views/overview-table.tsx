import { useRef, useState } from 'preact/hooks'
import { hasTag } from '../../../../machines/provider/tags.ts'
import type { App, AppState } from '../app.ts'
import { formatSize, listNames } from '../display-text.ts'
import type { Told } from '../frame/view-frame.tsx'
import { findGroup, type Group, groups, type Look, lookWords } from '../look.ts'
import type { PageModel, ServiceView } from '../model.ts'
import { listRates } from '../rates.ts'
import { formatRoute } from '../route.ts'
import { Glyph, Icon, Ring, Spark } from '../shapes.tsx'
import { Still } from '../still.ts'
import { measureDial } from './countdown.ts'
import { useNearRows } from './near-rows.ts'
import type { OverviewProps } from './overview.tsx'
import { formatAmount, formatName } from './overview-budgets.tsx'

interface TableProps extends OverviewProps {
  readonly filter: string
  readonly isDense: boolean
}

/** A row for each service: what is broken on top, what is at rest below. */
export function ServiceTable({ app, model, told, atMs, isStill, filter, isDense }: TableProps) {
  const [closed, close] = useState<ReadonlySet<Group>>(new Set())
  const table = useRef<HTMLTableElement>(null)
  const sorted = useSorted(told, table.current)
  const shown = sorted.filter((one) => matches(one, filter))
  const hasGroups = told.length > 8
  const { isNear, watch } = useNearRows(told.length)
  return (
    <section class={`card ${isDense ? 'dense' : ''}`} aria-label="Services">
      <table class="svc" ref={table}>
        <colgroup>
          {['name', 'now', 'pace', 'leases', 'memory', 'next', 'act'].map((name) => (
            <col key={name} class={`c-${name}`} />
          ))}
        </colgroup>
        <thead>
          <tr>
            <th scope="col">Service</th>
            <th scope="col">Now</th>
            <th scope="col" class="c-pace">
              Pace, 2 min
            </th>
            <th scope="col" class="c-leases">
              Requests
            </th>
            <th scope="col" class="c-memory">
              Memory
            </th>
            <th scope="col" class="c-next">
              Next
            </th>
            <th scope="col" class="c-act">
              <span class="vh">Start or stop</span>
            </th>
          </tr>
        </thead>
        {groups.map((group) => {
          const rows = shown.filter((one) => one.group === group)
          const isClosed = closed.has(group) && filter === ''
          if (rows.length === 0) return null
          return (
            <tbody key={group}>
              {hasGroups && (
                <tr>
                  <th scope="rowgroup" colSpan={7}>
                    <button
                      type="button"
                      class="fold"
                      aria-expanded={!isClosed}
                      onClick={() => close(toggle(closed, group))}
                    >
                      <Icon name="fold" size={12} />
                      {group} <i>{rows.length}</i>
                    </button>
                  </th>
                </tr>
              )}
              {!isClosed &&
                rows.map((one) => (
                  <Row
                    key={one.service.key}
                    app={app}
                    {...describeRow(one, app, model, atMs)}
                    isStill={isStill}
                    isAt={app.state.row === one.service.key}
                    isNear={isNear(one.service.key, sorted.indexOf(one))}
                    watch={watch}
                  />
                ))}
            </tbody>
          )
        })}
      </table>
      {shown.length === 0 && <p class="none">{`No service matches “${filter}”.`}</p>}
    </section>
  )
}

/**
 * Services in the order of their groups. It stays while the pointer or the focus is among the rows: a row that went to
 * another group would lose it.
 */
function useSorted(
  told: readonly Told[],
  table: HTMLTableElement | null,
): readonly (Told & { readonly group: Group })[] {
  const order = useRef<ReadonlyMap<string, readonly [number, Group]>>(new Map())
  const isHeld = table?.querySelector('tbody:hover, tbody :focus') != null
  const place = ({ service, look }: Told): readonly [number, Group] => {
    const group = findGroup(look)
    const before = isHeld ? order.current.get(service.key) : undefined
    return before ?? [(groups.indexOf(group) + 1) * 1_000, group]
  }
  const sorted = told
    .map((one) => ({ ...one, at: place(one) }))
    .toSorted((a, b) => a.at[0] - b.at[0])
    .map(({ at, ...one }) => ({ ...one, group: at[1] }))
  if (!isHeld)
    order.current = new Map(sorted.map(({ service, group }, index) => [service.key, [index, group]]))
  return sorted
}

function toggle(closed: ReadonlySet<Group>, group: Group): ReadonlySet<Group> {
  return new Set(closed.has(group) ? [...closed].filter((one) => one !== group) : [...closed, group])
}

function matches({ service, look, explanation }: Told, filter: string): boolean {
  const wanted = filter.trim().toLowerCase()
  if (wanted === '') return true
  const models = service.models.flatMap(({ id, aliases }) => [id, ...aliases])
  return [service.name, ...models, lookWords[look], explanation.title].some((text) =>
    text.toLowerCase().includes(wanted),
  )
}

/** What a row shows, as plain values: a row whose values are the same is not drawn again. */
interface RowFacts {
  readonly id: string
  readonly name: string
  readonly look: Look
  readonly models: string
  readonly title: string
  readonly short: string
  /** Tokens per second, the oldest first; empty: it has made none. */
  readonly rates: string
  readonly leases: number
  readonly waiting: number
  readonly memory: string
  readonly nextName: string
  readonly nextLeft: string
  readonly nextShare: number
  readonly action: 'start' | 'stop' | 'stopping' | 'let go'
}

function describeRow(
  { service, look, explanation }: Told,
  app: App,
  { requests }: PageModel,
  atMs: number,
): RowFacts {
  const rates = listRates(app.pace(), service.key, atMs).map(Math.round)
  const dial = measureDial(service, atMs)
  const isShown = rates.some((rate) => rate > 0)
  return {
    id: service.key,
    name: service.name,
    look,
    models: describeModels(service, app.state.abilities),
    title: explanation.title,
    short: describeShort(service, explanation, requests),
    rates: isShown ? rates.join(' ') : '',
    leases: service.leases,
    waiting: service.queue.length,
    memory: describeMemory(service),
    nextName: dial?.caption ?? '',
    nextLeft: dial?.text ?? '',
    nextShare: Math.ceil((dial?.left ?? 0) * 100) / 100,
    action: findAction(service),
  }
}

/** Who uses it, what it needs, or what it does now: in other words than its title. */
function describeShort(
  { state, holders, decision }: ServiceView,
  { title, short, sentence, next }: Told['explanation'],
  requests: PageModel['requests'],
): string {
  const clients = holders.flatMap(({ id }) => requests[id]?.client ?? [])
  if (hasTag(state, 'busy') && clients.length > 0) return listNames([...new Set(clients)])
  const need = hasTag(state, 'claiming') ? decision?.because.needed[0] : undefined
  if (need?.limit.endsWith('MiB'))
    return `Needs ${formatAmount(need.limit, need.amount)} of ${formatName(need.limit)}, ${formatAmount(need.limit, Math.max(0, need.free))} free`
  if (short !== title && !hasTag(state, 'loading')) return short
  return hasTag(state, 'up') || hasTag(state, 'loading') ? sentence : (next ?? sentence)
}

function describeModels({ name, models, holder }: ServiceView, abilities: AppState['abilities']): string {
  const names = models.flatMap(({ id, aliases }) => [id, ...aliases]).filter((one) => one !== name)
  const known = new Set(models.flatMap(({ id }) => abilities[id] ?? []))
  const tags = [...known].map((one) => (one === 'completion' ? 'chat' : one)).join(', ')
  return [names.join(', '), tags, holder && `run by ${holder.name}`].filter(Boolean).join(' · ')
}

function describeMemory({ memory }: ServiceView): string {
  if (memory === null) return ''
  return memory.gpuBytes === null || memory.gpuBytes === 0
    ? formatSize(memory.bytes)
    : `${formatSize(memory.gpuBytes)} GPU`
}

function findAction({ state, ownership }: ServiceView): RowFacts['action'] {
  if (hasTag(state, 'down')) return 'start'
  if (hasTag(state, 'stopping')) return 'stopping'
  return ownership === 'adopted' ? 'let go' : 'stop'
}

interface RowProps extends RowFacts {
  readonly app: App
  readonly isStill: boolean
  readonly isAt: boolean
  /** Whether it is in sight, or almost; `false`: only its name is drawn. */
  readonly isNear: boolean
  readonly watch: (row: HTMLElement | null) => void
}

class Row extends Still<RowProps> {
  override render(row: RowProps) {
    const { id, name, look, models, isAt, isNear, watch } = row
    const href = formatRoute('service', name)
    return (
      <tr
        ref={watch}
        class={`one ${look} ${isAt ? 'at' : ''} ${isNear ? '' : 'far'}`}
        data-row={id}
        data-look={look}
        onClick={({ target }) => {
          if ((target as HTMLElement).closest('a, button') === null) location.hash = href
        }}
      >
        <td class="c-name">
          <div class="name">
            {isNear && <Glyph look={look} label />}
            <a key="name" class="cut" href={href} title={name}>
              {name}
            </a>
            {isNear && (
              <small class="cut" title={models}>
                {models}
              </small>
            )}
          </div>
        </td>
        {isNear && this.renderRest(row)}
      </tr>
    )
  }

  private renderRest(row: RowProps) {
    const { look, title, short, rates } = row
    const values = rates === '' ? [] : rates.split(' ').map(Number)
    return (
      <>
        <td class="c-now">
          <div class="now">
            <b class="cut">{title}</b>
            <small class="cut" title={short}>
              {short}
            </small>
          </div>
        </td>
        <td class="c-pace">
          {values.length > 0 && (
            <div class="pace">
              <Spark values={values} />
              <span>
                <b>{values.at(-1)}</b> <small>tok/s</small>
              </span>
            </div>
          )}
        </td>
        <td class="c-leases">
          {row.leases > 0 && (
            <span>
              {row.leases} <span class="faint">in use</span>
            </span>
          )}
          {row.waiting > 0 && (
            <span>
              {row.waiting} <span class="faint">waiting</span>
            </span>
          )}
        </td>
        <td class="c-memory">{row.memory}</td>
        <td class="c-next">
          {row.nextName !== '' && (
            <div class={`next ${look}`}>
              <Ring share={row.nextShare} />
              <span>
                <small>{row.nextName}</small> {row.nextLeft}
              </span>
            </div>
          )}
        </td>
        <td class="c-act">
          <Act {...row} />
        </td>
      </>
    )
  }
}

/** Two buttons and never one that changes: it would keep the focus, and a key meant for Start would stop. */
function Act({ app, id, name, action, isStill }: RowProps) {
  return action === 'start' ? (
    <button
      key="start"
      type="button"
      class="btn"
      disabled={isStill}
      onClick={() => app.start(id)}
      aria-label={`Start ${name}`}
    >
      Start
    </button>
  ) : (
    <button
      key="stop"
      type="button"
      class="btn"
      disabled={isStill || action === 'stopping'}
      onClick={() => app.stop(id)}
      aria-label={`${action === 'let go' ? 'Let go of' : 'Stop'} ${name}`}
    >
      {action === 'let go' ? 'Let go' : 'Stop'}
    </button>
  )
}
