import { toErrorApi, toErrorBody } from '../compat/error-shapes.ts'
import { toOpenAiError } from '../compat/openai-error.ts'
import { BadRequestError, type LeaseholdError } from '../errors.ts'
import { runOutside } from '../lease/caller-context.ts'
import type { ModelListing } from '../service/model-list.ts'
import type { AnswerHandler } from '../transport/answer-handler.ts'
import { explainPath } from '../transport/meant-path.ts'
import { decodePath } from '../transport/path.ts'
import type { ModelCall, ModelRequest } from './exchange.ts'
import { toPreferences } from './preferences.ts'

/** What a fetch is made of. */
export interface FetchParts {
  readonly dispatch: (request: ModelRequest, handler: AnswerHandler<LeaseholdError>) => ModelCall
  readonly listModels: () => readonly ModelListing[]
  readonly findModel: (ref: string) => ModelListing
  /** Reads what the files of models say, for the list. */
  readonly lookAtFiles: () => Promise<void>
}

/**
 * A `fetch` that any OpenAI client takes: the path below the host decides the route, the host itself means nothing.
 * An error of ours is an answer in OpenAI's shape, so that clients see its code; only an abort rejects.
 */
export function createFetch({
  dispatch,
  listModels,
  findModel,
  lookAtFiles,
}: FetchParts): typeof globalThis.fetch {
  const send = createAsk(dispatch)
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const request = new Request(input, init)
    const url = new URL(request.url)
    const path = url.pathname + url.search
    const aborting = findAborting(input, init)
    aborting.signal.throwIfAborted()
    try {
      const method = request.method === 'HEAD' ? 'GET' : request.method
      const wrongPath = explainPath(method, path)
      if (wrongPath !== undefined) throw new BadRequestError(wrongPath, { status: 404 })
      if (method === 'GET') return await answerModels(url.pathname)
    } catch (error) {
      return toErrorResponse(error, path)
    }
    const body = Buffer.from(await request.arrayBuffer())
    // A Response that is made by hand is not decoded, so no compression is asked for.
    const headers = { ...Object.fromEntries(request.headers), 'accept-encoding': 'identity' }
    return send({ method: request.method, path, headers, body, ...toPreferences(headers) }, aborting)
  }
  return (input, init) => runOutside(fetch, input, init)

  async function answerModels(pathname: string): Promise<Response> {
    await lookAtFiles()
    if (pathname.endsWith('/models')) return Response.json({ object: 'list', data: listModels() })
    const [, ref] = /\/models\/(.+)$/.exec(pathname) ?? []
    if (ref === undefined) throw new BadRequestError(`GET ${pathname} is not served here.`, { status: 404 })
    return Response.json(findModel(decodePath(ref)))
  }
}

/**
 * Sends a model request and answers as `fetch` does: an error of ours is an answer in OpenAI's shape, and only an abort
 * rejects.
 */
export function createAsk(
  dispatch: FetchParts['dispatch'],
): (request: ModelRequest, aborting: Aborting) => Promise<Response> {
  return (request, aborting) => {
    const { signal } = aborting
    return new Promise((resolve, reject) => {
      const handler = toResponseHandler(aborting, resolve, (error) => {
        if (signal.aborted) reject(signal.reason)
        else resolve(toErrorResponse(error, request.path))
      })
      const call = dispatch(request, handler.handler)
      handler.call = call
      const leave = () => runOutside(() => call.abort(signal.reason))
      if (signal.aborted) leave()
      else signal.addEventListener('abort', leave, { once: true })
      handler.onOver = () => signal.removeEventListener('abort', leave)
    })
  }
}

/** What may abort a request, kept as long as the request is under way. */
export interface Aborting {
  readonly signal: AbortSignal
}

/**
 * The caller's own signal, or the caller's Request. The signal of a Request that is made from either follows only as
 * long as that Request is not collected: its abort would be lost in the middle of an answer.
 */
function findAborting(input: Parameters<typeof fetch>[0], init: RequestInit | undefined): Aborting {
  if (init?.signal) return { signal: init.signal }
  return input instanceof Request ? input : new AbortController()
}

/** Turns the callbacks of an exchange into a `Response` whose body pulls at the reader's pace. */
function toResponseHandler(
  aborting: Aborting,
  onResponse: (response: Response) => void,
  onFailure: (error: LeaseholdError) => void,
) {
  let body: ReadableStreamDefaultController<Uint8Array> | undefined
  const { signal } = aborting
  const state = { aborting, call: undefined as ModelCall | undefined, onOver: () => {} }
  const handler: AnswerHandler<LeaseholdError> = {
    onHead: (status, headers) => {
      const stream = new ReadableStream<Uint8Array>(
        {
          start: (controller) => {
            body = controller
          },
          pull: () => runOutside(() => state.call?.resume()),
          cancel: (reason) => runOutside(() => state.call?.abort(reason)),
        },
        { highWaterMark: 16 },
      )
      const hasBody = status !== 204 && status !== 205 && status !== 304
      onResponse(new Response(hasBody ? stream : null, { status, headers: toHeaders(headers) }))
    },
    onData: (chunk) => {
      // A queue that counts chunks would be filled by empty ones.
      if (chunk.length > 0) body?.enqueue(chunk)
      return (body?.desiredSize ?? 1) > 0
    },
    onEnd: () => {
      state.onOver()
      body?.close()
    },
    onError: (error) => {
      state.onOver()
      if (body === undefined) onFailure(error)
      // As any fetch does: a client that aborts looks for the reason it gave.
      else body.error(signal.aborted ? signal.reason : error)
    },
  }
  return Object.assign(state, { handler })
}

function toHeaders(headers: Readonly<Record<string, string | string[] | undefined>>): Headers {
  const list = new Headers()
  for (const [name, value] of Object.entries(headers))
    for (const one of [value ?? []].flat()) list.append(name, one)
  return list
}

function toErrorResponse(error: unknown, path: string): Response {
  const told = toOpenAiError(error)
  const { status, headers } = told
  // A fetch Response cannot carry 499; the answer to an aborted request is not read.
  return Response.json(toErrorBody(toErrorApi(path), told), {
    status: status === 499 ? 500 : status,
    headers,
  })
}
