import { useEffect, useRef } from 'preact/hooks'
import type { Decision } from '../../../../machines/scheduler.ts'
import type { Usage } from '../../../events/usage.ts'
import { toDecisionText } from '../../../explanation/decision-text.ts'
import { formatSentence } from '../../../explanation/phrases.ts'
import type { AppState } from '../app.ts'
import { describeCode, formatClock, formatSpan } from '../display-text.ts'
import type { ViewProps } from '../frame/view-frame.tsx'
import type { ServiceView } from '../model.ts'
import { formatMarkdown, type RequestRow, sumSpent } from '../request-rows.ts'
import { formatRoute } from '../route.ts'
import { Icon } from '../shapes.tsx'
import { PhaseBar } from './phase-bar.tsx'
import { RequestBodies } from './request-bodies.tsx'

interface StoryProps {
  readonly view: ViewProps
  readonly id: string
  /** Absent: it is not known any more, or not yet at this moment. */
  readonly row: RequestRow | undefined
}

/** One thing that happened to a request. */
export interface Step {
  readonly tone: 'rest' | 'wait' | 'load' | 'use' | 'first' | 'fail'
  readonly atMs: number
  readonly title: string
  /** How long it took, in milliseconds. */
  readonly tookMs?: number
  readonly text?: string
  /** Names, each by itself. */
  readonly names?: readonly string[]
}

/** A wait that is not worth a step, in milliseconds. */
const SHORT_MS = 20

/** What happened to a request until the moment, in its order. */
export function tellStory(
  row: RequestRow,
  service: Pick<ServiceView, 'name' | 'startTimes' | 'policy'> | undefined,
  decision: Decision | null,
): readonly Step[] {
  const { startedAtMs, spent, phase, client, ref, route, attempts, queued, rewrites, usage, choice } = row
  const grantedAtMs = startedAtMs + spent.wait + spent.load
  const name = service?.name ?? ref ?? 'its service'
  const isGranted = phase === 'first' || phase === 'stream' || spent.first > 0 || row.status !== null
  const hasBegun = phase === 'stream' || (phase === null && row.status !== null)
  const place = queued === null ? '' : `It came to place ${queued.position} of the queue. `
  const why = decision === null ? '' : formatSentence(toDecisionText(decision))
  const usual = service?.startTimes == null ? '' : `Usually ${formatSpan(service.startTimes.medianMs)}.`
  const steps: (Step | false)[] = [
    {
      tone: 'rest',
      atMs: startedAtMs,
      title: `${client ?? 'A client'} asked for ${ref ?? 'a model'}`,
      ...(route === null ? {} : { text: `POST ${route}` }),
    },
    attempts.length > 0 && {
      tone: 'fail',
      atMs: startedAtMs,
      title: attempts.length === 1 ? 'A candidate could not answer' : 'Candidates could not answer',
      text: 'The next one was tried.',
      names: attempts.map((one) => `${one.ref}: ${describeCode(one.code)}`),
    },
    spent.wait > SHORT_MS && {
      tone: 'wait',
      atMs: startedAtMs,
      title: phase === 'wait' ? 'Waits' : 'Waited',
      tookMs: spent.wait,
      text: `${place}${why}` || 'For a place at its server, for room, or for its turn to start.',
    },
    spent.load > 0 && {
      tone: 'load',
      atMs: startedAtMs + spent.wait,
      title: phase === 'load' ? `${name} loads` : `${name} loaded`,
      tookMs: spent.load,
      text: usual,
    },
    isGranted && {
      tone: 'use',
      atMs: grantedAtMs,
      title: 'Got its lease',
      text: `Nothing stops ${name} until the answer ends.`,
    },
    isGranted &&
      (rewrites.length > 0 || phase !== null || choice !== undefined) && {
        tone: 'first',
        atMs: grantedAtMs,
        title: rewrites.length === 0 ? 'Sent as it came' : 'Rewritten and sent',
        ...(choice === undefined ? {} : { text: `It is served ${choice}.` }),
        names: rewrites,
      },
    hasBegun && {
      tone: 'first',
      atMs: grantedAtMs + spent.first,
      title: 'First byte',
      tookMs: spent.first,
      ...(usage?.promptTokens == null
        ? {}
        : {
            text: `${usage.promptTokens} prompt tokens were read first${describePrefill(usage, spent.first)}.`,
          }),
    },
    phase === 'stream' && {
      tone: 'use',
      atMs: grantedAtMs + spent.first,
      title: 'Streams',
      tookMs: spent.stream,
      text: row.chunks > 1 ? `About ${row.chunks} tokens so far.` : '',
    },
    tellEnd(row),
  ]
  return steps.filter((step): step is Step => step !== false)
}

/** How much of the prompt was in a cache, and how fast the rest was read: as the server says, else by its time. */
function describePrefill(
  { promptTokens, cachedTokens = 0, promptTokensPerSecond: said }: Usage,
  firstMs: number,
): string {
  const read = (promptTokens ?? 0) - cachedTokens
  const pace = Math.round(said ?? (firstMs < SHORT_MS ? 0 : (read / firstMs) * 1_000))
  return `${cachedTokens > 0 ? `, ${cachedTokens} from its cache` : ''}${pace > 0 ? `, ${said ? '' : 'about '}${pace} a second` : ''}`
}

function tellEnd(row: RequestRow): Step | false {
  const { phase, outcome, code, status, startedAtMs, spent, usage } = row
  if (phase !== null) return false
  const atMs = startedAtMs + sumSpent(spent)
  const answered = status === null ? '' : ` Its answer had the status ${status}.`
  if (outcome === 'cancelled')
    return {
      tone: 'rest',
      atMs,
      title: 'Cancelled',
      text: `The client left, or it was cancelled here.${answered}`,
    }
  if (outcome === 'failed')
    return {
      tone: 'fail',
      atMs,
      title: code === null ? 'Failed' : `Failed: ${describeCode(code)}`,
      text: `${code ?? ''}${answered === '' ? '' : `.${answered}`}`,
    }
  const tokens = usage?.completionTokens == null ? '' : `${usage.completionTokens} tokens`
  const pace = usage?.tokensPerSecond == null ? '' : `, ${usage.tokensPerSecond.toFixed(1)} a second`
  const isRefused = status !== null && status >= 400
  return {
    tone: isRefused ? 'fail' : 'use',
    atMs,
    title: isRefused ? `Answered with status ${status}` : 'Answered',
    tookMs: spent.stream,
    text: tokens === '' ? 'The lease was released.' : `${tokens}${pace}. The lease was released.`,
  }
}

/** The story of one request. */
export function RequestStory({ view, id, row }: StoryProps) {
  const { app, model, isStill } = view
  const element = useRef<HTMLElement>(null)
  useEffect(() => {
    // Where it lies over the list, the focus goes with it.
    if (matchMedia('(max-width: 1279px)').matches) element.current?.focus({ preventScroll: true })
  }, [])
  const service = row?.service == null ? undefined : model.services[row.service]
  const isOpen = row !== undefined && row.phase !== null
  return (
    <aside class="card drawer" aria-label={`Request ${id}`} ref={element} tabIndex={-1}>
      <header>
        <h2 class="cut" title={id}>
          Request {id.split('-').at(-1)}
        </h2>
        <span class="tools">
          {isOpen && (
            <button
              type="button"
              class="btn"
              disabled={isStill}
              onClick={() => app.cancel(id)}
              aria-label={`Cancel ${id}`}
            >
              Cancel
            </button>
          )}
          {row !== undefined && (
            <button
              type="button"
              class="btn bare"
              onClick={() => app.copy(JSON.stringify(row, null, 2), 'The request')}
            >
              <Icon name="copy" size={14} /> JSON
            </button>
          )}
          {row !== undefined && (
            <button
              type="button"
              class="btn bare"
              onClick={() => app.copy(formatMarkdown(row, app.wallMs), 'The row')}
            >
              <Icon name="copy" size={14} /> Markdown
            </button>
          )}
          <a class="btn sq bare" href={formatRoute('requests')} aria-label="Close the request">
            <Icon name="close" />
          </a>
        </span>
      </header>
      {row === undefined ? (
        <p class="none">It is not known at this moment: it came later, or it is not kept any more.</p>
      ) : (
        <Story view={view} row={row} service={service} />
      )}
    </aside>
  )
}

function Story({
  view,
  row,
  service,
}: {
  readonly view: ViewProps
  readonly row: RequestRow
  readonly service: ServiceView | undefined
}) {
  const { app } = view
  const steps = tellStory(row, service, findDecision(app.state, row))
  return (
    <>
      <div class="padded">
        <PhaseBar spent={row.spent} phase={row.phase} scale={Math.max(1, sumSpent(row.spent))} />
        <p class="row wrap">
          {service !== undefined && (
            <a class="link" href={formatRoute('service', service.name)}>
              {service.name}
            </a>
          )}
          <button type="button" class="btn bare" onClick={() => app.holdTime(row.startedAtMs)}>
            <Icon name="timeline" size={14} /> Go to its start
          </button>
        </p>
      </div>
      <ol class="story">
        {steps.map(({ tone, atMs, title, tookMs, text = '', names = [] }, index) => (
          <li key={index} class={tone}>
            <span>
              <b>{title}</b> {tookMs !== undefined && <span class="soft">{formatSpan(tookMs)}</span>}
            </span>
            <time>{formatClock(app.wallMs(atMs), true)}</time>
            {text !== '' && <p>{text}</p>}
            {names.length > 0 && (
              <ul class="names">
                {names.map((one) => (
                  <li key={one}>
                    <code>{one}</code>
                  </li>
                ))}
              </ul>
            )}
          </li>
        ))}
      </ol>
      <RequestBodies view={view} id={row.id} isOver={row.phase === null} />
    </>
  )
}

/** Why its service had to wait for room, or took it, while the request waited. */
function findDecision({ history }: AppState, { service, startedAtMs, spent }: RequestRow): Decision | null {
  if (service === null || spent.wait + spent.load < SHORT_MS) return null
  const { moments } = history
  const untilMs = startedAtMs + spent.wait + spent.load
  for (let index = moments.length - 1; index >= 0; index -= 1) {
    const event = moments[index]?.event
    if (event === undefined || event.atMs < startedAtMs - SHORT_MS) return null
    if (event.type !== 'scheduler.decided' || event.atMs > untilMs + SHORT_MS) continue
    if (event.choice.key === service && event.because.cause !== 'fits') return event
  }
  return null
}
