import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { NEVER_MS, toIdleStopMs } from '../../../machines/provider/delays.ts'
import { hasTag } from '../../../machines/provider/tags.ts'
import type { Clock } from '../../clock.ts'
import { createEventParser } from '../../compat/event-parser.ts'
import { toKeepAliveMs } from '../../compat/keep-alive.ts'
import { BadRequestError, UpstreamError } from '../../errors.ts'
import { checkJson } from '../../json/check.ts'
import { type JsonObject as Body, isObject } from '../../json/value.ts'
import { toPreferences } from '../../request/preferences.ts'
import type { ModelListing } from '../../service/model-list.ts'
import type { ServiceSnapshot } from '../../service/snapshot.ts'
import type { Supervisor } from '../../supervisor/interface.ts'
import { internalsOf } from '../../supervisor/internals.ts'
import { UNBUFFERED } from '../../transport/headers.ts'
import { readBody } from '../body.ts'
import type { Reservation } from '../body-budget.ts'
import { sendJson } from '../respond.ts'
import { createStallWatch } from '../stall.ts'
import { createAnswerWriter, toEmbeddings } from './ollama-answer.ts'
import {
  isLoadRequest,
  type OpenAiRequest,
  toChatRequest,
  toEmbeddingRequest,
  toGenerateRequest,
} from './ollama-request.ts'

export interface OllamaOptions {
  readonly supervisor: Supervisor
  readonly clock: Clock
  readonly reservation: Reservation
  /** Checks that the request may control services. @throws {@link KeyError} */
  readonly guardControl: () => void
}

/** The release of Ollama whose API is spoken: clients compare it. */
const OLLAMA_VERSION = '0.12.0'
/** A time that is long enough to mean for ever: how Ollama shows a model that is not unloaded. */
const FOR_EVER_MS = 100 * 365 * 86_400_000

/** Answers one route of Ollama's API. @throws {@link BadRequestError}; what the supervisor throws */
export async function answerOllama(
  route: string,
  response: ServerResponse,
  options: OllamaOptions,
): Promise<void> {
  const { supervisor } = options
  if (route === 'version') return sendJson(response, 200, { version: OLLAMA_VERSION })
  if (route === 'tags')
    return sendJson(response, 200, { models: supervisor.models().map((model) => toTag(model)) })
  if (route === 'ps') return sendJson(response, 200, { models: listLoaded(supervisor) })
  const asked = await readAsked(route, response, options)
  if (asked.kind === 'show') return sendJson(response, 200, toDetails(asked.model))
  if (asked.kind === 'load') return load(route, response, asked, options)
  return asked.isStream
    ? stream(route, response, asked, options)
    : answerWhole(route, response, asked, options)
}

/** What a body asks for. The body itself is not kept while the request waits. */
type Asked = { readonly kind: 'show'; readonly model: ModelListing } | Load | Question

interface Load {
  readonly kind: 'load'
  readonly id: string
  /** The model as the client calls it. */
  readonly name: unknown
  readonly keepAliveMs: number | undefined
}

interface Question {
  readonly kind: 'question'
  readonly id: string
  readonly name: unknown
  readonly path: string
  readonly isStream: boolean
  /** The body for the model server. It is taken once, so that it is not kept here. */
  takeBody(): Buffer
}

async function readAsked(
  route: string,
  response: ServerResponse,
  { supervisor, reservation }: OllamaOptions,
): Promise<Asked> {
  const body = parseBody(await readBody(response, supervisor.config.leasehold.maxBodyBytes, reservation))
  const model = supervisor.model(findRef(supervisor, body.model ?? body.name))
  if (route === 'show') {
    await internalsOf(supervisor).lookAtFiles()
    return { kind: 'show', model: supervisor.model(model.id) }
  }
  const name = body.model
  const isEmbedding = route === 'embed' || route === 'embeddings'
  if (!isEmbedding && isLoadRequest(route, body))
    return { kind: 'load', id: model.id, name, keepAliveMs: toKeepAliveMs(body.keep_alive) }
  const { path, body: sent } = translate(route, { ...body, model: model.id })
  let bytes = Buffer.from(JSON.stringify(sent))
  return {
    kind: 'question',
    id: model.id,
    name,
    path,
    isStream: sent.stream === true,
    takeBody: () => {
      const taken = bytes
      bytes = NO_BODY
      return taken
    },
  }
}

const NO_BODY = Buffer.alloc(0)

function translate(route: string, body: Body): OpenAiRequest {
  if (route === 'embed' || route === 'embeddings') return toEmbeddingRequest(body)
  return route === 'chat' ? toChatRequest(body) : toGenerateRequest(body)
}

async function send(
  route: string,
  response: ServerResponse,
  { path, takeBody }: Question,
  { supervisor, reservation }: OllamaOptions,
): Promise<Response> {
  const leaving = new AbortController()
  response.once('close', () => leaving.abort())
  const headers = {
    ...pickOwnHeaders(response.req.headers),
    'content-type': 'application/json',
    // Its answer is translated, so it must be plain.
    'accept-encoding': 'identity',
  }
  const request = { method: 'POST', path, route: `/api/${route}`, headers, body: takeBody() }
  const answer = await internalsOf(supervisor).ask(
    { ...request, ...toPreferences(headers) },
    { signal: leaving.signal },
  )
  reservation.release()
  for (const [name, value] of answer.headers) if (name.startsWith(OWN)) response.setHeader(name, value)
  return answer
}

async function answerWhole(
  route: string,
  response: ServerResponse,
  question: Question,
  options: OllamaOptions,
): Promise<void> {
  const { clock, supervisor } = options
  const startedAtMs = clock.now()
  const answer = await send(route, response, question, options)
  const text = await readText(question.id, answer, supervisor.config.leasehold.maxBodyBytes)
  if (!answer.ok) return sendRefusal(response, answer, text)
  const value = parseAnswer(question.id, text)
  const body = isObject(value) ? value : {}
  const times = { startedAtMs, nowMs: clock.now() }
  const isEmbedding = route === 'embed' || route === 'embeddings'
  sendJson(
    response,
    200,
    isEmbedding
      ? toEmbeddings(question.name, body, route === 'embeddings', times)
      : createAnswerWriter(question.name, route === 'chat').whole(body, times),
  )
}

async function stream(
  route: string,
  response: ServerResponse,
  question: Question,
  options: OllamaOptions,
): Promise<void> {
  const { clock, supervisor } = options
  const { maxBodyBytes, writeStallMs } = supervisor.config.leasehold
  const times: { startedAtMs: number; firstByteAtMs?: number } = { startedAtMs: clock.now() }
  const writer = createAnswerWriter(question.name, route === 'chat')
  const answer = await send(route, response, question, options)
  if (!answer.ok) return sendRefusal(response, answer, await readText(question.id, answer, maxBodyBytes))
  response.writeHead(200, { 'content-type': 'application/x-ndjson', ...UNBUFFERED })
  let failure: unknown
  const write = (document: unknown) => response.write(`${JSON.stringify(document)}\n`)
  const watchStall = createStallWatch(response, clock, writeStallMs)
  const parser = createEventParser({
    onEvent: ({ event, data }) => {
      if (data === '[DONE]') return
      const chunk: unknown = JSON.parse(data)
      if (!isObject(chunk)) return
      if (event === 'error' || chunk.error !== undefined) failure ??= chunk.error ?? chunk
      for (const document of writer.push(chunk)) write(document)
    },
  })
  try {
    for await (const bytes of answer.body ?? []) {
      times.firstByteAtMs ??= clock.now()
      parser.push(bytes)
      if (!response.writableNeedDrain) continue
      watchStall()
      await drained(response)
    }
    parser.end()
  } catch (error) {
    failure ??= error
  }
  if (response.destroyed) return
  // A stream of Ollama's that fails ends in a document with nothing but the error.
  write(failure === undefined ? writer.finish({ ...times, nowMs: clock.now() }) : toErrorDocument(failure))
  response.end()
}

/** Brings the service up, or ends it, without a question to the model. */
async function load(
  route: string,
  response: ServerResponse,
  { id, name, keepAliveMs }: Load,
  { supervisor, reservation, guardControl }: OllamaOptions,
): Promise<void> {
  reservation.release()
  const isUnload = keepAliveMs === 0
  if (isUnload) {
    guardControl()
    await supervisor.stop(id)
  } else {
    const leaving = new AbortController()
    response.once('close', () => leaving.abort())
    // Not `start`, which closes an open breaker: that is for the control surface.
    const lease = await supervisor.acquire(id, { signal: leaving.signal, keepAliveMs })
    lease.release()
  }
  sendJson(response, 200, {
    model: name,
    created_at: new Date().toISOString(),
    ...(route === 'chat' ? { message: { role: 'assistant', content: '' } } : { response: '' }),
    done: true,
    done_reason: isUnload ? 'unload' : 'load',
  })
}

/**
 * Reads a whole answer, which has to be translated as one.
 * @throws {@link UpstreamError} when it is longer than a request may be; what reading it throws
 */
async function readText(ref: string, answer: Response, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of answer.body ?? []) {
    size += chunk.length
    if (size > maxBytes) throw new UpstreamError(ref, `its answer is larger than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, size).toString('utf8')
}

const OWN = 'x-leasehold-'

/** Priority and failover, the way of the request so far, and the name of the client. */
function pickOwnHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const own = Object.entries(headers).filter(([name]) => name.startsWith(OWN) || name === 'user-agent')
  return Object.fromEntries(own.map(([name, value]) => [name, String(value)]))
}

/** Waits until the client takes more, or has left. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const finish = () => {
      response.off('drain', finish).off('close', finish)
      resolve()
    }
    response.once('drain', finish).once('close', finish)
    if (response.destroyed) finish()
  })
}

/** An error of the model server or of ours, in Ollama's shape. */
function sendRefusal(response: ServerResponse, { status, headers }: Response, text: string): void {
  const retryAfter = headers.get('retry-after')
  let value: unknown = text
  try {
    value = JSON.parse(text)
  } catch {
    // Not JSON: the text is the message.
  }
  const error = isObject(value) && value.error !== undefined ? value.error : value
  sendJson(response, status, toErrorDocument(error), retryAfter === null ? {} : { 'retry-after': retryAfter })
}

function toErrorDocument(error: unknown): Body {
  if (isObject(error) && typeof error.message === 'string')
    return { error: error.message, ...(typeof error.code === 'string' ? { code: error.code } : {}) }
  return { error: error instanceof Error ? error.message : String(error) }
}

function parseAnswer(ref: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new UpstreamError(ref, 'its answer is not JSON', { cause })
  }
}

function parseBody(bytes: Buffer): Body {
  checkJson(bytes)
  const value: unknown = JSON.parse(bytes.toString('utf8'))
  if (isObject(value)) return value
  throw new BadRequestError('The request body must be a JSON object.')
}

/** Ollama's clients may add the tag `latest` to a name that has none. */
function findRef(supervisor: Supervisor, name: unknown): string {
  if (name !== undefined && typeof name !== 'string')
    throw new BadRequestError('"model" must be a string.', { param: 'model' })
  const ref = name ?? ''
  const [, plain] = /^(.+):latest$/.exec(ref) ?? []
  if (plain === undefined) return ref
  const isListed = supervisor.models().some(({ id, aliases }) => id === ref || aliases.includes(ref))
  return isListed ? ref : plain
}

const DETAILS = {
  parent_model: '',
  format: 'gguf',
  family: '',
  families: [],
  parameter_size: '',
  quantization_level: '',
}

/** A model as `GET /api/tags` lists it, under its first alias where it has one. */
function toTag({ id, aliases }: ModelListing): Body {
  const name = aliases[0] ?? id
  return { name, model: name, modified_at: new Date(0).toISOString(), size: 0, digest: '', details: DETAILS }
}

/** A model as `POST /api/show` describes it. Sizes that are not known are left out. */
function toDetails({ id, context_length: context, capabilities }: ModelListing): Body {
  return {
    modelfile: `# ${id}`,
    parameters: '',
    template: '',
    details: DETAILS,
    model_info: {
      'general.architecture': 'llama',
      ...(context === undefined ? {} : { 'llama.context_length': context }),
    },
    // Where nothing says it, a client may try.
    capabilities: capabilities ?? ['completion', 'tools'],
  }
}

/** Models whose service is up, with the time at which it is stopped when no request comes. */
function listLoaded(supervisor: Supervisor): Body[] {
  const { services } = supervisor.snapshot()
  const running = services.filter(({ state }) => hasTag(state, 'up'))
  const byProvider = new Map(running.flatMap((one) => one.providers.map((id) => [id, one] as const)))
  return supervisor.models().flatMap((model) => {
    const service = byProvider.get(model.owned_by)
    if (service === undefined) return []
    const { memory } = service
    return [
      {
        ...toTag(model),
        size: memory?.bytes ?? 0,
        size_vram: memory?.gpuBytes ?? 0,
        expires_at: new Date(Date.now() + toExpiry(service)).toISOString(),
        ...(model.context_length === undefined ? {} : { context_length: model.context_length }),
      },
    ]
  })
}

/** The rest of the idle time; while a lease is held, all of it. */
function toExpiry(service: ServiceSnapshot): number {
  const idleMs = hasTag(service.state, 'idle')
    ? service.timers.find(({ name }) => name === 'idleStop')?.remainingMs
    : toIdleStopMs(service)
  return idleMs === undefined || idleMs >= NEVER_MS ? FOR_EVER_MS : idleMs
}
