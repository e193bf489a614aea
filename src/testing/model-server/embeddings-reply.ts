import { createHash } from 'node:crypto'
import type { Call } from './call.ts'
import { findServedModel } from './call.ts'
import type { JsonObject } from './json.ts'
import { countTokens } from './prompt.ts'
import type { Reply } from './reply.ts'
import { buildErrorReply, buildJsonReply } from './reply.ts'

const defaultDimensions = 16
const maxDimensions = 4096

/**
 * `POST /v1/embeddings`, as numbers or as base64. A vector is made from a hash of its text: the same text
 * gives the same vector of length 1, and nothing can be learned from the distance of two.
 */
export function buildEmbeddingsReply(body: JsonObject, call: Call): Reply {
  const inputs = listInputs(body.input)
  if (inputs === undefined) return buildErrorReply(400, '"input" must be a string or an array')
  const dimensions = typeof body.dimensions === 'number' ? body.dimensions : defaultDimensions
  if (!Number.isInteger(dimensions) || dimensions < 1 || dimensions > maxDimensions) {
    return buildErrorReply(400, `"dimensions" must be a whole number from 1 to ${maxDimensions}`)
  }
  const data = inputs.map((input, index) => {
    const vector = buildVector(input, dimensions)
    const embedding =
      body.encoding_format === 'base64' ? Buffer.from(vector.buffer).toString('base64') : [...vector]
    return { object: 'embedding', index, embedding }
  })
  const tokens = countTokens(inputs)
  const usage = { prompt_tokens: tokens, total_tokens: tokens }
  return buildJsonReply({ object: 'list', model: findServedModel(call, body.model), data, usage })
}

/** One text per vector: of a string, a list of strings, one list of token numbers, or a list of such lists. */
function listInputs(input: unknown): readonly string[] | undefined {
  if (typeof input === 'string') return [input]
  if (!Array.isArray(input) || input.length === 0) return undefined
  if (input.every((item) => typeof item === 'number')) return [input.join(' ')]
  return input.map((item) => (Array.isArray(item) ? item.join(' ') : String(item)))
}

function buildVector(text: string, dimensions: number): Float32Array {
  const seed = createHash('sha256').update(text).digest()
  const blocks = Array.from({ length: Math.ceil(dimensions / 8) }, (_, block) =>
    createHash('sha256').update(seed).update(String(block)).digest(),
  )
  const bytes = Buffer.concat(blocks)
  const raw = Array.from({ length: dimensions }, (_, index) => bytes.readInt32LE(index * 4) / 2 ** 31)
  const length = Math.hypot(...raw) || 1
  return Float32Array.from(raw, (value) => value / length)
}
