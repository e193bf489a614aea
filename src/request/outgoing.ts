import { peekMultipart, rewriteMultipart } from '../compat/multipart.ts'
import { streamUsage } from '../compat/request-fields.ts'
import { rewriteHeaders } from '../compat/request-headers.ts'
import { hasAnswerRules } from '../compat/response.ts'
import { type BodyPeek, peekBody, type Route, rewriteBody } from '../compat/rewrite.ts'
import type { ModelTarget } from '../config/model-ref.ts'
import { BadRequestError } from '../errors.ts'
import { toKeyHeaders, toLowerCaseNames } from '../service/services.ts'
import { toPlainText } from '../text/plain-text.ts'
import { type Headers, toUpstreamHeaders } from '../transport/headers.ts'
import { HOP_HEADER, toHopMark } from '../transport/hops.ts'
import type { UpstreamRequest } from '../transport/upstream.ts'

/** The part of a model request that travels on. */
export interface Outgoing {
  readonly method: string
  readonly path: string
  /** Whether the path begins at the root of the server, as llama.cpp's own routes do. @default false */
  readonly isAtRoot?: boolean
  readonly headers: Headers
  readonly body: Buffer
  readonly priority?: number
}

/** What must be known of a request before anything is started for it. @throws {@link BadRequestError} */
export function peekRequest({ headers, body }: Outgoing): BodyPeek {
  const form = toFormType(headers)
  const peek = form === undefined ? peekBody(body) : { model: peekMultipart(body, form), stream: false }
  checkModelName(peek.model)
  return peek
}

/** Longest name of a model that a client may send, in characters: it is shown in events, logs and headers. */
const MAX_MODEL_NAME = 512

function checkModelName(name: string | undefined): void {
  if (name === undefined) return
  if (name.length <= MAX_MODEL_NAME && toPlainText(name) === name) return
  throw new BadRequestError(
    `The name of a model has at most ${MAX_MODEL_NAME} characters and no control characters.`,
    { param: 'model' },
  )
}

/** A request on its way, and what was changed of it that the client must hear or not see. */
export interface OutgoingRequest extends UpstreamRequest {
  /** Whether the usage of the stream was asked for here and not by the client. */
  readonly hidesUsage: boolean
  /** Members of the client's body that are not sent on. */
  readonly dropped: readonly string[]
  /** Names of the rules that changed the body. */
  readonly rewrites: readonly string[]
}

const NOTHING: readonly string[] = []

/**
 * The request as the target's server should get it: its model name, its rewrites, its key, its path. `isSearched`: its
 * answer is searched for secrets.
 */
export function toUpstreamRequest(
  request: Outgoing,
  target: ModelTarget,
  {
    id,
    isStream,
    isSearched,
  }: { readonly id: string; readonly isStream: boolean; readonly isSearched: boolean },
): OutgoingRequest {
  const { provider, model, upstreamId, params } = target
  const compat = model?.compat ?? {}
  const form = toFormType(request.headers)
  const maxTokens = provider.maxTokens
  const { pieces, applied, dropped } =
    form === undefined
      ? rewriteBody(request.body, {
          // Its owner makes the other changes.
          route: provider.memberOf === undefined ? toRoute(request.path) : 'other',
          model: upstreamId,
          compat,
          params,
          dropParams: model?.dropParams ?? NOTHING,
          ...(maxTokens === undefined ? {} : { maxTokens }),
        })
      : { pieces: rewriteMultipart(request.body, form, upstreamId), applied: NOTHING, dropped: NOTHING }
  const isAtRoot = request.isAtRoot === true
  const headers = rewriteHeaders(toUpstreamHeaders(request.headers), compat)
  // A compressed answer can neither be searched nor rewritten; no comment may precede it, and its end proves nothing.
  if (isStream || isSearched || hasAnswerRules(compat)) headers['accept-encoding'] = 'identity'
  // Behind a remote provider may be another leasehold, whose queue knows priorities, too.
  if (request.priority !== undefined && provider.localService === undefined)
    headers['x-leasehold-priority'] = String(request.priority)
  headers[HOP_HEADER] = toHopMark(request.headers, id)
  Object.assign(headers, headersOf(target))
  return {
    method: request.method,
    path: isAtRoot || !request.path.startsWith('/v1') ? request.path : request.path.slice('/v1'.length),
    isAtRoot,
    headers,
    body: pieces,
    bodyBytes: pieces.reduce((bytes, piece) => bytes + piece.length, 0),
    isStream,
    dropped,
    rewrites: applied,
    hidesUsage: compat.supportsUsageInStreaming !== false && applied.includes(streamUsage.name),
  }
}

const ownHeaders = new WeakMap<ModelTarget, Readonly<Record<string, string>>>()

/** What every request to a target gets. A target is remembered with its configuration. */
function headersOf(target: ModelTarget): Readonly<Record<string, string>> {
  const known = ownHeaders.get(target)
  if (known !== undefined) return known
  const headers = { ...toKeyHeaders(target.provider), ...toLowerCaseNames(target.model?.headers) }
  ownHeaders.set(target, headers)
  return headers
}

function toFormType({ 'content-type': contentType }: Headers): string | undefined {
  const type = typeof contentType === 'string' ? contentType : ''
  return type.toLowerCase().startsWith('multipart/form-data') ? type : undefined
}

/** The rewrites that a path calls for. */
function toRoute(path: string): Route {
  if (path === '/v1/chat/completions') return 'chat'
  const name = path.replace(/[?#].*$/, '').replace(/^\/v1\//, '')
  if (name === 'chat/completions') return 'chat'
  return name === 'completions' || name === 'embeddings' || name === 'responses' || name === 'messages'
    ? name
    : 'other'
}
