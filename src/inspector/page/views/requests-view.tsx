import { useRef, useState } from 'preact/hooks'
import { describeCode, formatClock, formatSpan } from '../display-text.ts'
import { download } from '../download.ts'
import { FilterField } from '../frame/filter-field.tsx'
import { Screen, type ViewProps } from '../frame/view-frame.tsx'
import type { Look } from '../look.ts'
import {
  findScale,
  formatCsv,
  isPicked,
  type Phase,
  type Picked,
  type RequestRow,
  type Sort,
  sortRows,
  sumSpent,
} from '../request-rows.ts'
import { formatRoute } from '../route.ts'
import { Glyph, Icon } from '../shapes.tsx'
import { Still } from '../still.ts'
import { useRequests } from './known-requests.ts'
import { PhaseBar, PhaseLegend } from './phase-bar.tsx'
import { RequestStory } from './request-story.tsx'
import { useRowWindow } from './row-window.ts'

const pickWords: readonly (readonly [Picked, string])[] = [
  ['all', 'All'],
  ['open', 'Under way'],
  ['waited', 'Had to wait'],
  ['failed', 'Failed or cut'],
]

interface Column {
  readonly name: string
  readonly sort: Sort
  readonly text: string
}

const columns: readonly Column[] = [
  { name: 'c-when', sort: 'when', text: 'When' },
  { name: 'c-md', sort: 'model', text: 'Model' },
  { name: 'c-cl', sort: 'client', text: 'Client' },
  { name: 'c-bar', sort: 'time', text: 'Time' },
  { name: 'c-ca', sort: 'cached', text: 'Cached' },
  { name: 'c-pf', sort: 'prefill', text: 'Prefill' },
  { name: 'c-in', sort: 'tokens', text: 'Tokens' },
  { name: 'c-ps', sort: 'pace', text: 'tok/s' },
  { name: 'c-out', sort: 'outcome', text: 'Outcome' },
]

/** The last requests: where the time of each went, and what became of it. */
export function Requests(view: ViewProps) {
  const { app, atMs } = view
  const { route, filter, history, recording, status } = app.state
  const [pick, choose] = useState<Picked>('all')
  const [{ sort, isDown }, order] = useState<{ sort: Sort; isDown: boolean }>({ sort: 'when', isDown: true })
  const section = useRef<HTMLElement>(null)
  const all = useRequests(view)
  const isMoving = history.cursor === null && recording === null
  const { rows: held, news, release } = useHeldRows(all, isMoving, section.current, route.id !== null)
  const wanted = filter.trim().toLowerCase()
  const rows = sortRows(
    held.filter((row) => isPicked(row, pick) && matches(row, wanted)),
    sort,
    isDown,
  )
  const scale = findScale(rows)
  const selected = route.id === null ? undefined : all.find(({ id }) => id === route.id)
  return (
    <Screen
      view={view}
      title="Requests"
      tools={<FilterField app={app} label="Filter by model, client or code" />}
    >
      <div class="row wrap">
        <div class="seg" role="group" aria-label="Which requests">
          {pickWords.map(([value, word]) => (
            <button key={value} type="button" aria-pressed={pick === value} onClick={() => choose(value)}>
              {word}
            </button>
          ))}
        </div>
        <button
          type="button"
          class="btn bare hide-s"
          disabled={rows.length === 0}
          onClick={() => download('requests.csv', formatCsv(rows, app.wallMs), 'text/csv')}
        >
          <Icon name="download" size={14} /> CSV
        </button>
        {news > 0 && (
          <button type="button" class="btn" onClick={release}>
            {`${news} new, show`}
          </button>
        )}
        <span class="grow hide-s" />
        <PhaseLegend />
      </div>
      <div class={`split ${route.id === null ? '' : 'open'}`}>
        <section class="card" aria-label="Requests" ref={section}>
          <Table
            view={view}
            rows={rows}
            scale={scale}
            sort={sort}
            isDown={isDown}
            onSort={(next) => order({ sort: next, isDown: next === sort ? !isDown : true })}
          />
          {rows.length === 0 && (
            <p class="none">
              {all.length === 0 ? 'No request has come yet.' : 'No request matches the filter.'}
            </p>
          )}
        </section>
        {route.id !== null && <RequestStory key={route.id} view={view} id={route.id} row={selected} />}
      </div>
      <p class="soft">
        {`The last ${all.length} requests until ${formatClock(app.wallMs(atMs))}.`}
        {!status?.config.capturesBodies && ' Prompts and answers are not recorded.'}
      </p>
    </Screen>
  )
}

/** While the pointer, the focus or a story is at the table, new rows wait: what is looked at does not move. */
function useHeldRows(
  all: readonly RequestRow[],
  isMoving: boolean,
  section: HTMLElement | null,
  isOpen: boolean,
) {
  const until = useRef<number | null>(null)
  const [, redraw] = useState(0)
  const isAt =
    isOpen || (section?.matches(':focus-within, :hover') ?? false)
      ? matchMedia('(hover: hover)').matches
      : false
  if (!isMoving || !isAt) until.current = null
  else until.current ??= all[0]?.startedAtMs ?? 0
  const limit = until.current
  const rows = limit === null ? all : all.filter(({ startedAtMs }) => startedAtMs <= limit)
  return {
    rows,
    news: all.length - rows.length,
    release: () => {
      until.current = all[0]?.startedAtMs ?? null
      redraw((count) => count + 1)
    },
  }
}

function matches({ id, ref, client, code, outcome, phase }: RequestRow, wanted: string): boolean {
  if (wanted === '') return true
  const said = code === null ? '' : describeCode(code)
  return [id, ref, client, code, said, outcome, phase].some((text) =>
    (text ?? '').toLowerCase().includes(wanted),
  )
}

interface TableProps {
  readonly view: ViewProps
  readonly rows: readonly RequestRow[]
  readonly scale: number
  readonly sort: Sort
  readonly isDown: boolean
  onSort(sort: Sort): void
}

function Table({ view, rows, scale, sort, isDown, onSort }: TableProps) {
  const { app } = view
  const table = useRef<HTMLTableElement>(null)
  const { first, end, beforePx, afterPx } = useRowWindow(rows.length, () => table.current)
  return (
    <table class="req" ref={table} aria-rowcount={rows.length + 1}>
      <thead>
        <tr>
          {columns.map(({ name, sort: by, text }) => (
            <th
              key={name}
              scope="col"
              class={name}
              aria-sort={by === sort ? (isDown ? 'descending' : 'ascending') : 'none'}
            >
              <button type="button" class="by" onClick={() => onSort(by)}>
                {text}
                {by === sort && <span aria-hidden="true">{isDown ? ' ↓' : ' ↑'}</span>}
              </button>
              {by === 'time' && <Ticks scale={scale} />}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {beforePx > 0 && <Spacer px={beforePx} />}
        {rows.slice(first, end).map((row, index) => (
          <Row
            key={row.id}
            {...describeRow(row, app.wallMs(row.startedAtMs))}
            index={first + index + 2}
            scale={scale}
            isAt={row.id === app.state.route.id || row.id === app.state.row}
          />
        ))}
        {afterPx > 0 && <Spacer px={afterPx} />}
      </tbody>
    </table>
  )
}

function Spacer({ px }: { readonly px: number }) {
  return (
    <tr class="spacer">
      <td style={{ height: `${px}px` }} />
    </tr>
  )
}

/** The bar takes 84 of 100 parts: its time stands beside it. */
function Ticks({ scale }: { readonly scale: number }) {
  return (
    <span class="ticks" aria-hidden="true">
      {[0.25, 0.5, 0.75].map((share) => (
        <i key={share} style={{ left: `${share * 84}%` }}>
          {formatSpan(scale * share)}
        </i>
      ))}
    </span>
  )
}

/** What a row shows, as plain values: a row whose values are the same is not drawn again. */
interface RowFacts {
  readonly id: string
  readonly when: string
  readonly model: string
  readonly client: string
  readonly wait: number
  readonly load: number
  readonly first: number
  readonly stream: number
  readonly phase: Phase | null
  readonly cached: string
  readonly prefill: string
  readonly tokens: string
  readonly pace: string
  readonly look: Look | null
  readonly result: string
}

function describeRow({ spent, usage, chunks, phase, ...row }: RequestRow, wallMs: number): RowFacts {
  const out = usage?.completionTokens ?? null
  const tokens = phase === null ? (out === null ? '–' : String(out)) : chunks > 1 ? `≈ ${chunks}` : '…'
  return {
    id: row.id,
    when: formatClock(wallMs),
    model: row.ref || 'no model named',
    client: row.client ?? '–',
    ...spent,
    phase,
    tokens: usage?.promptTokens == null ? tokens : `${usage.promptTokens} → ${tokens}`,
    cached: String(usage?.cachedTokens ?? '–'),
    prefill: formatPace(usage?.promptTokensPerSecond),
    pace: formatPace(usage?.tokensPerSecond),
    ...describeResult(row, phase),
  }
}

function formatPace(pace: number | null | undefined): string {
  if (pace == null) return '–'
  if (pace >= 9_999.5) return `${Math.round(pace / 1_000)} k`
  return pace.toFixed(pace < 10 ? 1 : 0)
}

const openWords: Readonly<Record<Phase, readonly [Look, string]>> = {
  wait: ['waiting', 'waiting'],
  load: ['loading', 'loading'],
  first: ['use', 'reading'],
  stream: ['use', 'streaming'],
}

/** What became of a request, or what it does, in a word and a shape. */
export function describeResult(
  { outcome, code, status }: Pick<RequestRow, 'outcome' | 'code' | 'status'>,
  phase: Phase | null,
): { readonly look: Look | null; readonly result: string } {
  if (phase !== null) return { look: openWords[phase][0], result: openWords[phase][1] }
  if (outcome === 'cancelled') return { look: 'stopping', result: 'cancelled' }
  if (outcome === 'failed') return { look: 'failed', result: code === null ? 'failed' : describeCode(code) }
  if (status !== null && status >= 400) return { look: 'failed', result: `status ${status}` }
  return { look: null, result: 'done' }
}

interface RowProps extends RowFacts {
  readonly index: number
  readonly scale: number
  readonly isAt: boolean
}

class Row extends Still<RowProps> {
  override render(row: RowProps) {
    const { id, phase, wait, load, first, stream, look, result } = row
    const href = formatRoute('requests', id)
    const spent = { wait, load, first, stream }
    return (
      <tr
        class={`one ${phase === null ? '' : 'open'} ${row.isAt ? 'at' : ''}`}
        data-row={id}
        aria-rowindex={row.index}
        onClick={({ target }) => {
          if ((target as HTMLElement).closest('a, button') === null) location.hash = href
        }}
      >
        <td class="c-when soft">{row.when}</td>
        <td class="c-md cut">
          <a
            href={href}
            title={row.model}
            aria-label={`${row.model}, ${row.when}, ${formatSpan(sumSpent(spent))}, ${result}`}
          >
            {row.model}
          </a>
        </td>
        <td class="c-cl soft" title={row.client}>
          {row.client}
        </td>
        <td class="c-bar">
          <PhaseBar spent={spent} phase={phase} scale={row.scale} />
        </td>
        <td class="c-ca num">{row.cached}</td>
        <td class="c-pf num">{row.prefill}</td>
        <td class="c-in c-tk num">{row.tokens}</td>
        <td class="c-ps num">{row.pace}</td>
        <td class={`c-out ${look === 'failed' ? 'bad' : phase === null ? 'soft' : ''}`} title={result}>
          <span class="row">
            {look !== null && <Glyph look={look} />}
            <span class="cut">{result}</span>
          </span>
        </td>
      </tr>
    )
  }
}
