import type { ComponentChildren } from 'preact'
import { describeRefusal, describeWatchdog, formatSentence } from '../../../explanation/phrases.ts'
import { formatClock, formatSpan } from '../display-text.ts'
import { Icon, type IconName } from '../shapes.tsx'
import type { ViewProps } from './view-frame.tsx'

/** What concerns every view: the connection, the configuration, the watchdog, a recording, a moment that is held. */
export function Banners({ app, atMs }: ViewProps) {
  const { connection, recording, history, status } = app.state
  if (recording !== null)
    return (
      <Banner kind="past" icon="file">
        <span>
          <b>A recording is shown:</b> recording {recording}, {history.moments.length} events.
        </span>
        <button type="button" class="btn" onClick={() => app.close()}>
          Close recording
        </button>
      </Banner>
    )
  const { refusal = null, file = '', loadedAt, capturesBodies = false } = status?.config ?? {}
  const problem = status?.watchdog.problem ?? null
  return (
    <>
      {connection === 'lost' && (
        <Banner kind="tripped" icon="warn" role="alert">
          <span>
            <b>The connection to the gateway is lost.</b>
            {` What you see is what was known at ${formatClock(app.wallMs(app.nowMs()))}; it is tried again. If leasehold was stopped, start it with `}
            <code>leasehold serve</code>.
          </span>
          <button type="button" class="btn" onClick={() => app.retry()}>
            Try now
          </button>
        </Banner>
      )}
      {refusal !== null && (
        <Banner kind="loading" icon="warn" role="alert">
          <span>
            <b>{`The file ${file} was refused at ${formatClock(Date.parse(refusal.time))}:`}</b>{' '}
            <code>{formatSentence(describeRefusal(refusal))}</code>{' '}
            {loadedAt === undefined
              ? 'The configuration before it is still in force.'
              : `The configuration of ${formatClock(Date.parse(loadedAt))} is still in force.`}
          </span>
          <button type="button" class="btn" onClick={() => app.copy(describeRefusal(refusal), 'The problem')}>
            Copy
          </button>
        </Banner>
      )}
      {capturesBodies && (
        <Banner kind="past" icon="file">
          <span>
            <b>Prompts and answers are kept:</b> those of the last 50 requests, in memory, because{' '}
            <code>leasehold.captureBodies</code> is on.
          </span>
        </Banner>
      )}
      {problem !== null && (
        <Banner kind="loading" icon="warn" role="alert">
          <span>{formatSentence(describeWatchdog(problem))}</span>
        </Banner>
      )}
      {history.cursor !== null && (
        <Banner kind="past" icon="timeline">
          <span>
            You look at <b>{formatClock(app.wallMs(atMs))}</b>, {formatSpan(Math.max(0, app.nowMs() - atMs))}{' '}
            ago. Nothing can be changed there.
          </span>
          <button type="button" class="btn" onClick={() => app.seek(null)}>
            Back to now
          </button>
        </Banner>
      )}
    </>
  )
}

interface BannerProps {
  readonly kind: string
  readonly icon: IconName
  readonly role?: 'alert' | 'status'
  readonly children: ComponentChildren
}

function Banner({ kind, icon, role = 'status', children }: BannerProps) {
  return (
    <div class={`banner ${kind}`} role={role}>
      <Icon name={icon} />
      {children}
    </div>
  )
}
