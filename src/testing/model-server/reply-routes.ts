import type { Call } from './call.ts'
import { findCreated } from './call.ts'
import { buildChatReply } from './chat-reply.ts'
import { buildCompletionReply } from './completion-reply.ts'
import { buildEmbeddingsReply } from './embeddings-reply.ts'
import { findFieldRefusal } from './faults.ts'
import type { JsonObject } from './json.ts'
import { isObject } from './json.ts'
import { buildImagesReply, buildSpeechReply, buildTranscriptionReply } from './media-replies.ts'
import { buildMessagesReply } from './messages-reply.ts'
import type { Reply } from './reply.ts'
import { buildErrorReply, buildJsonReply, buildNotFoundReply } from './reply.ts'
import { buildRerankReply } from './rerank-reply.ts'
import { buildResponsesReply } from './responses-reply.ts'

type Route = (call: Call) => Reply | Promise<Reply>

const routes: ReadonlyMap<string, Route> = new Map<string, Route>([
  ['GET /v1/models', buildModelsReply],
  ['POST /v1/chat/completions', withJson(buildChatReply)],
  ['POST /v1/completions', withJson(buildCompletionReply)],
  ['POST /v1/responses', withJson(buildResponsesReply)],
  ['POST /v1/messages', withJson(buildMessagesReply)],
  ['POST /v1/embeddings', withJson(buildEmbeddingsReply)],
  ['POST /v1/rerank', withJson(buildRerankReply)],
  ['POST /v1/audio/speech', withJson(buildSpeechReply)],
  ['POST /v1/audio/transcriptions', buildTranscriptionReply],
  ['POST /v1/images/generations', withJson(buildImagesReply)],
])

/** The answer of the route that a request names; llama.cpp's 404 when there is none. HEAD is answered as GET. */
export function findReply(call: Call): Reply | Promise<Reply> {
  const method = call.method === 'HEAD' ? 'GET' : call.method
  const route = routes.get(`${method} ${call.path}`)
  if (route !== undefined) return route(call)
  return method === 'GET' && call.path.startsWith('/v1/models/')
    ? buildModelReply(call)
    : buildNotFoundReply()
}

function buildModelsReply(call: Call): Reply {
  return buildJsonReply({ object: 'list', data: call.settings.models.map((id) => buildModel(id, call)) })
}

/** Ids hold slashes, and clients differ in escaping them. */
function buildModelReply(call: Call): Reply {
  const asked = call.path.slice('/v1/models/'.length)
  const id = call.settings.models.find((model) => model === asked || encodeURIComponent(model) === asked)
  return id === undefined
    ? buildErrorReply(404, `model '${asked}' not found`, 'not_found_error')
    : buildJsonReply(buildModel(id, call))
}

function buildModel(id: string, call: Call): JsonObject {
  return { id, object: 'model', created: findCreated(call), owned_by: 'leasehold-demo' }
}

/** Parses the body for a route, and refuses one that is no JSON object or has a refused field. */
function withJson(route: (body: JsonObject, call: Call) => Reply): Route {
  return (call) => {
    let body: unknown
    try {
      body = JSON.parse(call.body.toString())
    } catch (error) {
      return buildErrorReply(
        400,
        `[json.exception.parse_error.101] ${error instanceof Error ? error.message : error}`,
      )
    }
    if (!isObject(body)) return buildErrorReply(400, 'The body must be a JSON object')
    return (
      findFieldRefusal(body, call.settings) ?? route(withoutFields(body, call.settings.ignoreFields), call)
    )
  }
}

function withoutFields(body: JsonObject, names: readonly string[]): JsonObject {
  return names.length === 0
    ? body
    : Object.fromEntries(Object.entries(body).filter(([name]) => !names.includes(name)))
}
