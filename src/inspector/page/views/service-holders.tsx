import { toDurationText } from '../../../text/duration.ts'
import type { ViewProps } from '../frame/view-frame.tsx'
import type { HolderView, RequestView, ServiceView } from '../model.ts'
import { formatRoute } from '../route.ts'
import { Glyph } from '../shapes.tsx'

interface ListProps extends ViewProps {
  readonly service: ServiceView
}

/** Requests that are listed of a queue. */
const MAX_LISTED = 20

export function Holders(props: ListProps) {
  const { service } = props
  const { holders, leases } = service
  if (leases === 0 && service.queue.length === 0)
    return <p class="none">No request holds a lease, and none waits.</p>
  if (leases === 0) return null
  const unknown = leases - holders.length
  return (
    <ol class="people" aria-label="Leases">
      {holders.slice(0, MAX_LISTED).map((holder) => (
        <Person key={holder.id} {...props} holder={holder} />
      ))}
      {service.guests.map(({ name, pid, leases: held, waiting }) => (
        <li
          key={`${name} ${pid}`}
          class="more"
        >{`of these ${held} for ${name}, pid ${pid}; ${waiting} of it waiting`}</li>
      ))}
      {unknown > 0 && <li class="more">{`and ${unknown} more`}</li>}
    </ol>
  )
}

export function Queue(props: ListProps) {
  const { queue } = props.service
  if (queue.length === 0) return null
  return (
    <ol class="people waiting" aria-label="Queue">
      {queue.slice(0, MAX_LISTED).map((holder, index) => (
        <Person key={holder.id} {...props} holder={holder} position={index + 1} />
      ))}
      {queue.length > MAX_LISTED && <li class="more">{`and ${queue.length - MAX_LISTED} more`}</li>}
    </ol>
  )
}

interface PersonProps extends ListProps {
  readonly holder: HolderView
  readonly position?: number
}

function Person({ app, holder, model, atMs, isStill, position }: PersonProps) {
  const request = model.requests[holder.id]
  const time = toDurationText(Math.max(0, atMs - holder.sinceMs))
  const expected =
    holder.estimatedMs === undefined ? '' : `, about ${toDurationText(holder.estimatedMs)} to go`
  const rank = holder.priority === undefined || holder.priority === 0 ? '' : `, priority ${holder.priority}`
  return (
    <li>
      {position === undefined ? <Glyph look="use" /> : <span class="position">{position}</span>}
      <span class="cut">{describeWho(request)}</span>
      {request !== undefined && !isStill ? (
        <button
          type="button"
          class="btn"
          onClick={() => app.cancel(holder.id)}
          aria-label={`Cancel ${holder.id}`}
        >
          Cancel
        </button>
      ) : (
        <span />
      )}
      <small>
        <a href={formatRoute('requests', holder.id)}>{holder.id}</a>
        {` · ${request?.ref ?? 'a lease of the program'} · ${position === undefined ? describeDoing(request) : 'waits '}${time}${expected}${rank}`}
      </small>
    </li>
  )
}

function describeWho(request: RequestView | undefined): string {
  return request === undefined ? 'The program itself' : (request.client ?? 'A client')
}

function describeDoing(request: RequestView | undefined): string {
  if (request === undefined) return ''
  if (request.state !== 'streaming') return 'waits for the first byte, '
  return request.chunks > 0 ? `about ${request.chunks} tokens, ` : 'streams, '
}
