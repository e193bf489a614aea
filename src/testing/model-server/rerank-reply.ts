import type { Call } from './call.ts'
import { findServedModel } from './call.ts'
import type { JsonObject } from './json.ts'
import { isObject } from './json.ts'
import { countTokens } from './prompt.ts'
import type { Reply } from './reply.ts'
import { buildErrorReply, buildJsonReply } from './reply.ts'

/** `POST /v1/rerank`: a document's score is the share of the query's words that it has, best first. */
export function buildRerankReply(body: JsonObject, call: Call): Reply {
  if (typeof body.query !== 'string') return buildErrorReply(400, '"query" must be a string')
  if (!Array.isArray(body.documents)) return buildErrorReply(400, '"documents" must be an array')
  const words = listWords(body.query)
  const documents = body.documents.map((document) => String(isObject(document) ? document.text : document))
  const results = documents
    .map((document, index) => {
      const found = listWords(document)
      const hits = [...words].filter((word) => found.has(word)).length
      return { index, relevance_score: words.size === 0 ? 0 : hits / words.size }
    })
    .sort((a, b) => b.relevance_score - a.relevance_score)
    .slice(0, typeof body.top_n === 'number' ? Math.max(0, body.top_n) : documents.length)
  const tokens = countTokens([body.query, ...documents])
  const usage = { prompt_tokens: tokens, total_tokens: tokens }
  return buildJsonReply({ object: 'list', model: findServedModel(call, body.model), results, usage })
}

function listWords(text: string): ReadonlySet<string> {
  return new Set(text.toLowerCase().match(/[\p{L}\p{N}]+/gu))
}
