import type { ComponentChildren } from 'preact'
import { useRef, useState } from 'preact/hooks'
import { describeCode, formatClock, formatSpan } from '../display-text.ts'
import { type Measure, measures } from '../distribution.ts'
import { download } from '../download.ts'
import { FilterField } from '../frame/filter-field.tsx'
import { Screen, type ViewProps } from '../frame/view-frame.tsx'
import type { Look } from '../look.ts'
import {
  findScale,
  formatCsv,
  isPicked,
  measureFirst,
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
import { ColumnChooser, columns, useColumns } from './request-columns.tsx'
import { RequestHistogram } from './request-histogram.tsx'
import { RequestStory } from './request-story.tsx'
import { useRowWindow } from './row-window.ts'

const pickWords: readonly (readonly [Picked, string])[] = [
  ['all', 'All'],
  ['open', 'Under way'],
  ['waited', 'Had to wait'],
  ['failed', 'Failed or cut'],
]

const HISTOGRAM_NAME = 'leasehold.histogram'

/** The last requests: where the time of each went, and what became of it. */
export function Requests(view: ViewProps) {
  const { app, atMs } = view
  const { route, filter, history, recording, status } = app.state
  const [pick, choose] = useState<Picked>('all')
  const [{ sort, isDown }, order] = useState<{ sort: Sort; isDown: boolean }>({ sort: 'when', isDown: true })
  const { shown, choose: chooseColumns } = useColumns()
  const { measure, isShown, measureBy } = useHistogram()
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
        <ColumnChooser shown={shown} choose={chooseColumns} />
        <button
          type="button"
          class="btn bare"
          aria-pressed={isShown}
          onClick={() => measureBy(isShown ? null : measure)}
        >
          <Icon name="bars" size={14} /> Histogram
        </button>
        {news > 0 && (
          <button type="button" class="btn" onClick={release}>
            {`${news} new, show`}
          </button>
        )}
        <span class="grow hide-s" />
        <PhaseLegend />
      </div>
      {isShown && rows.length > 0 && <RequestHistogram rows={rows} measure={measure} onMeasure={measureBy} />}
      <div class={`split ${route.id === null ? '' : 'open'}`}>
        <section class="card" aria-label="Requests" ref={section}>
          <Table
            view={view}
            rows={rows}
            shown={shown}
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

/** Which histogram is shown, as this browser remembers it; on a phone only where it was asked for. */
function useHistogram() {
  const [kept, keep] = useState(localStorage.getItem(HISTOGRAM_NAME))
  const isShown = kept === null ? matchMedia('(min-width: 641px)').matches : kept !== 'none'
  return {
    isShown,
    measure: measures.find((one) => one === kept) ?? 'pace',
    /** `null`: none is shown. */
    measureBy: (measure: Measure | null) => {
      localStorage.setItem(HISTOGRAM_NAME, measure ?? 'none')
      keep(measure ?? 'none')
    },
  }
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

/** More columns are narrower. */
const MANY = 9

interface TableProps {
  readonly view: ViewProps
  readonly rows: readonly RequestRow[]
  readonly shown: readonly Sort[]
  readonly scale: number
  readonly sort: Sort
  readonly isDown: boolean
  onSort(sort: Sort): void
}

function Table({ view, rows, shown, scale, sort, isDown, onSort }: TableProps) {
  const { app } = view
  const table = useRef<HTMLTableElement>(null)
  const { first, end, beforePx, afterPx } = useRowWindow(rows.length, () => table.current)
  return (
    <table class={`req ${shown.length > MANY ? 'many' : ''}`} ref={table} aria-rowcount={rows.length + 1}>
      <thead>
        <tr>
          {shown.map((by) => (
            <th
              key={by}
              scope="col"
              class={columns[by].name}
              aria-sort={by === sort ? (isDown ? 'descending' : 'ascending') : 'none'}
            >
              <button type="button" class="by" onClick={() => onSort(by)}>
                {columns[by].text}
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
            shown={shown}
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
  readonly route: string
  readonly firstByte: string
  readonly status: string
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
    route: row.route ?? '–',
    firstByte: formatFirst({ spent, status: row.status }),
    status: String(row.status ?? '–'),
    ...spent,
    phase,
    tokens: usage?.promptTokens == null ? tokens : `${usage.promptTokens} → ${tokens}`,
    cached: String(usage?.cachedTokens ?? '–'),
    prefill: formatPace(usage?.promptTokensPerSecond),
    pace: formatPace(usage?.tokensPerSecond),
    ...describeResult(row, phase),
  }
}

function formatFirst(row: Pick<RequestRow, 'spent' | 'status'>): string {
  const ms = measureFirst(row)
  return ms === null ? '–' : formatSpan(ms)
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
  readonly shown: readonly Sort[]
  readonly scale: number
  readonly isAt: boolean
}

class Row extends Still<RowProps> {
  override render(row: RowProps) {
    const { id, phase } = row
    return (
      <tr
        class={`one ${phase === null ? '' : 'open'} ${row.isAt ? 'at' : ''}`}
        data-row={id}
        aria-rowindex={row.index}
        onClick={({ target }) => {
          if ((target as HTMLElement).closest('a, button') === null)
            location.hash = formatRoute('requests', id)
        }}
      >
        {row.shown.map((name) => cells[name](row))}
      </tr>
    )
  }
}

const cells: Readonly<Record<Sort, (row: RowProps) => ComponentChildren>> = {
  when: ({ when }) => <td class="c-when soft">{when}</td>,
  model: ({ id, model, when, wait, load, first, stream, result }) => (
    <td class="c-md cut">
      <a
        href={formatRoute('requests', id)}
        title={model}
        aria-label={`${model}, ${when}, ${formatSpan(sumSpent({ wait, load, first, stream }))}, ${result}`}
      >
        {model}
      </a>
    </td>
  ),
  client: ({ client }) => (
    <td class="c-cl soft" title={client}>
      {client}
    </td>
  ),
  route: ({ route }) => (
    <td class="c-rt soft" title={route}>
      {route}
    </td>
  ),
  time: ({ wait, load, first, stream, phase, scale }) => (
    <td class="c-bar">
      <PhaseBar spent={{ wait, load, first, stream }} phase={phase} scale={scale} />
    </td>
  ),
  first: ({ firstByte }) => <td class="c-fb num">{firstByte}</td>,
  cached: ({ cached }) => <td class="c-ca num">{cached}</td>,
  prefill: ({ prefill }) => <td class="c-pf num">{prefill}</td>,
  tokens: ({ tokens }) => <td class="c-in c-tk num">{tokens}</td>,
  pace: ({ pace }) => <td class="c-ps num">{pace}</td>,
  status: ({ status }) => <td class="c-st num">{status}</td>,
  outcome: ({ look, phase, result }) => (
    <td class={`c-out ${look === 'failed' ? 'bad' : phase === null ? 'soft' : ''}`} title={result}>
      <span class="row">
        {look !== null && <Glyph look={look} />}
        <span class="cut">{result}</span>
      </span>
    </td>
  ),
}
