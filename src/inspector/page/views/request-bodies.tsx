import { useEffect, useState } from 'preact/hooks'
import type { CapturedBodies, CapturedBody } from '../../../request/body-capture.ts'
import type { ViewProps } from '../frame/view-frame.tsx'
import { ask } from '../stream.ts'

interface BodiesProps {
  readonly view: ViewProps
  readonly id: string
  /** Whether the request is over: its answer is whole then. */
  readonly isOver: boolean
}

/** What a request sent and got, where the configuration keeps that. */
export function RequestBodies({ view: { app }, id, isOver }: BodiesProps) {
  const { status, recording } = app.state
  const isKept = recording === null && status?.config.capturesBodies === true
  const [bodies, show] = useState<CapturedBodies | null>(null)
  useEffect(() => {
    if (!isKept) return
    const look = async () => show(await (await ask(`/api/requests/${encodeURIComponent(id)}/bodies`)).json())
    look().catch(() => show(null))
  }, [id, isOver, isKept])
  if (!isKept) return <p class="none">Prompts and answers are not recorded.</p>
  if (bodies?.id !== id) return <p class="none">The bodies of this request are not kept any more.</p>
  return (
    <div class="bodies">
      <Message
        title="What it sent"
        line={`${bodies.request.method} ${bodies.request.path}`}
        body={bodies.request}
      />
      {bodies.answer !== null && (
        <Message title="What it got" line={`Status ${bodies.answer.status}`} body={bodies.answer} />
      )}
    </div>
  )
}

interface MessageProps {
  readonly title: string
  /** What stands before the headers. */
  readonly line: string
  readonly body: CapturedBody
}

function Message({ title, line, body: { headers, type, bytes, text } }: MessageProps) {
  return (
    <details>
      <summary>
        <b>{title}</b> <span class="soft">{[type, formatBytes(bytes)].filter(Boolean).join(', ')}</span>
      </summary>
      <p class="mono">{line}</p>
      <dl class="headers">
        {headers.map(([name, value], index) => (
          <div key={index}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {text === null ? (
        <p class="soft">It is no text, or it is compressed.</p>
      ) : (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
        <pre class="code scrolls" tabIndex={0}>
          {formatBody(text)}
        </pre>
      )}
    </details>
  )
}

function formatBytes(bytes: number): string {
  return bytes < 10_000 ? `${bytes} bytes` : `${Math.round(bytes / 1_000)} kB`
}

/** JSON with its parts in lines; anything else, and JSON that was cut, as it is. */
function formatBody(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text
  }
}
