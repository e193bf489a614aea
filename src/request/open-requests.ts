import type { ActorRefFrom } from 'xstate'
import { nameRequestState, type RequestState, type requestMachine } from '../../machines/request.ts'
import { OpenMap } from '../collections/open-map.ts'
import { AbortedError } from '../errors.ts'
import type { RequestTimings } from '../events/timings.ts'

/** One model request under way, as it stands. Never a prompt, never an answer. */
export interface RequestSnapshot {
  readonly id: string
  /** The model it is sent to, `provider/model`; `null` before one is found. */
  readonly ref: string | null
  /** Key of the service it waits for or talks to. */
  readonly service: string | null
  /** `leasing`: it waits for its lease. `sending`: for the first byte. `streaming`: the answer is under way. */
  readonly state: RequestState
  /** Since it came in, in milliseconds. */
  readonly ageMs: number
  /** Product name in its `user-agent`, at most 40 characters; `null`: it names none. */
  readonly client: string | null
  /** Where that time went so far. */
  readonly timings: RequestTimings
  /** Size of the body of its answer so far. */
  readonly bytes: number
  /** In how many pieces that body came: of a stream about one for each token. */
  readonly chunks: number
}

/** A request in the list. */
export interface OpenRequest {
  readonly id: string
  readonly actor: ActorRefFrom<typeof requestMachine>
  readonly startedAtMs: number
  readonly serviceKey: string | undefined
  readonly client: string | null
  readonly progress: { readonly bytes: number; readonly chunks: number }
  timingsAt(nowMs: number): RequestTimings
  abort(reason?: unknown): void
}

/** Every model request that has not ended. */
export interface RequestBook<One extends OpenRequest = OpenRequest> {
  readonly open: Pick<OpenMap<One>, 'get' | typeof Symbol.iterator>
  add(request: One): void
  remove(id: string): void
  /** The oldest first; at most `limit` of them. */
  list(nowMs: number, limit?: number): readonly RequestSnapshot[]
  /** Ends one as if its client had left: its lease, or its place in the queue, is free. `false`: there is none. */
  cancel(id: string): boolean
}

/** Several books as one. */
export function joinBooks(
  books: readonly Pick<RequestBook, 'list' | 'cancel'>[],
): Pick<RequestBook, 'list' | 'cancel'> {
  return {
    list: (nowMs, limit = Number.POSITIVE_INFINITY) =>
      books
        .flatMap((book) => book.list(nowMs, limit))
        .sort((a, b) => b.ageMs - a.ageMs)
        .slice(0, limit),
    cancel: (id) => books.some((book) => book.cancel(id)),
  }
}

/** Creates an empty list. */
export function createRequestBook<One extends OpenRequest>(): RequestBook<One> {
  const open = new OpenMap<One>()
  return {
    open,
    add: (request) => open.set(request.id, request),
    remove: (id) => open.delete(id),
    list: (nowMs, limit = Number.POSITIVE_INFINITY) =>
      [...open].slice(0, limit).map(([, request]) => {
        const { id, actor, startedAtMs, serviceKey, client, progress } = request
        const { value, context } = actor.getSnapshot()
        return {
          id,
          ref: context.candidates[context.index] ?? null,
          service: serviceKey ?? null,
          state: nameRequestState(value),
          ageMs: Math.round(nowMs - startedAtMs),
          client,
          timings: request.timingsAt(nowMs),
          ...progress,
        }
      }),
    cancel: (id) => {
      const request = open.get(id)
      request?.abort(new AbortedError(undefined, 'The request was cancelled through the control API.'))
      return request !== undefined
    },
  }
}
