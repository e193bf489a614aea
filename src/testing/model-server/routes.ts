import type { Call } from './call.ts'
import { toCreated } from './call.ts'
import { toChatReply } from './chat.ts'
import { toCompletionReply } from './completions.ts'
import { toEmbeddingsReply } from './embeddings.ts'
import { findFieldRefusal } from './faults.ts'
import type { JsonObject } from './json.ts'
import { isObject } from './json.ts'
import { toImagesReply, toSpeechReply, toTranscriptionReply } from './media.ts'
import { toMessagesReply } from './messages.ts'
import type { Reply } from './reply.ts'
import { toErrorReply, toJsonReply, toNotFoundReply } from './reply.ts'
import { toRerankReply } from './rerank.ts'
import { toResponsesReply } from './responses.ts'

type Route = (call: Call) => Reply | Promise<Reply>

const routes: ReadonlyMap<string, Route> = new Map<string, Route>([
  ['GET /v1/models', toModelsReply],
  ['POST /v1/chat/completions', withJson(toChatReply)],
  ['POST /v1/completions', withJson(toCompletionReply)],
  ['POST /v1/responses', withJson(toResponsesReply)],
  ['POST /v1/messages', withJson(toMessagesReply)],
  ['POST /v1/embeddings', withJson(toEmbeddingsReply)],
  ['POST /v1/rerank', withJson(toRerankReply)],
  ['POST /v1/audio/speech', withJson(toSpeechReply)],
  ['POST /v1/audio/transcriptions', toTranscriptionReply],
  ['POST /v1/images/generations', withJson(toImagesReply)],
])

/** The answer of the route that a request names; llama.cpp's 404 when there is none. HEAD is answered as GET. */
export function findReply(call: Call): Reply | Promise<Reply> {
  const method = call.method === 'HEAD' ? 'GET' : call.method
  const route = routes.get(`${method} ${call.path}`)
  if (route !== undefined) return route(call)
  return method === 'GET' && call.path.startsWith('/v1/models/') ? toModelReply(call) : toNotFoundReply()
}

function toModelsReply(call: Call): Reply {
  return toJsonReply({ object: 'list', data: call.settings.models.map((id) => toModel(id, call)) })
}

/** Ids hold slashes, and clients differ in escaping them. */
function toModelReply(call: Call): Reply {
  const asked = call.path.slice('/v1/models/'.length)
  const id = call.settings.models.find((model) => model === asked || encodeURIComponent(model) === asked)
  return id === undefined
    ? toErrorReply(404, `model '${asked}' not found`, 'not_found_error')
    : toJsonReply(toModel(id, call))
}

function toModel(id: string, call: Call): JsonObject {
  return { id, object: 'model', created: toCreated(call), owned_by: 'leasehold-demo' }
}

/** Parses the body for a route, and refuses one that is no JSON object or has a refused field. */
function withJson(route: (body: JsonObject, call: Call) => Reply): Route {
  return (call) => {
    let body: unknown
    try {
      body = JSON.parse(call.body.toString())
    } catch (error) {
      return toErrorReply(
        400,
        `[json.exception.parse_error.101] ${error instanceof Error ? error.message : error}`,
      )
    }
    if (!isObject(body)) return toErrorReply(400, 'The body must be a JSON object')
    return findFieldRefusal(body, call.settings) ?? route(body, call)
  }
}
