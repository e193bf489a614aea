import type { CompatFlags } from '../../src/compat/flags.ts'
import { type RewriteOptions, rewriteBody } from '../../src/compat/rewrite.ts'

/** Rewrites a chat body given as text or as a value; the model is `m` before and after, unless options say otherwise. */
export function rewrite(body: unknown, options: Partial<RewriteOptions> = {}) {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const result = rewriteBody(Buffer.from(text), { route: 'chat', model: 'm', compat: {}, ...options })
  const bytes = Buffer.concat(result.pieces)
  return { ...result, bytes, text: bytes.toString() }
}

/** The messages of a chat after its flags were applied, as values. */
export function rewriteMessages(messages: readonly unknown[], compat: CompatFlags): unknown {
  return JSON.parse(rewrite({ model: 'm', messages }, { compat }).text).messages
}

/** The whole body after its flags were applied, as a value without `model`. */
export function rewriteFields(
  fields: object,
  compat: CompatFlags,
  options: Partial<RewriteOptions> = {},
): unknown {
  const { model: _, ...rest } = JSON.parse(rewrite({ model: 'm', ...fields }, { compat, ...options }).text)
  return rest
}
