import type { JsonChild } from '../json/node.ts'
import { type Advice, formatModelBlock } from './error-advice.ts'
import type { CompatFlags } from './flags.ts'
import { KEEP_ALIVE } from './keep-alive.ts'
import { isTranslated } from './reasoning.ts'

/** Names of body members that no rule forwards in any form. */
export function listDropped(
  before: readonly JsonChild[],
  after: readonly JsonChild[],
  compat: CompatFlags,
): readonly string[] {
  const kept = new Set(after.map(({ key }) => key))
  const gone = before.map(({ key }) => key).filter((key) => !kept.has(key) && !HEEDED.has(key))
  return [...new Set(gone.filter((key) => !isTranslated(key, compat)))]
}

/** Two names of the same limit, of which only one is sent, and what leasehold itself does. */
const HEEDED: ReadonlySet<string> = new Set(['max_tokens', 'max_completion_tokens', KEEP_ALIVE])

/** The warning about a dropped member, given once per model. `ref`: the model, as `provider/model`. */
export function adviseDropped(member: string, ref: string): Advice {
  const id = `drops-${member.replaceAll('_', '-')}`
  const flags = flagsOf.get(member)
  if (flags === undefined) return { id, text: `"${member}" is not sent on to the server of this model.` }
  const text = `"${member}" is not sent on to the server of this model; set compat as below if it takes it.`
  return { id, text, block: formatModelBlock(ref, flags) }
}

const flagsOf: ReadonlyMap<string, CompatFlags> = new Map([
  ['store', { supportsStore: true }],
  ['prompt_cache_key', { supportsPromptCacheKey: true }],
  ['prompt_cache_retention', { supportsLongCacheRetention: true }],
  ['reasoning_effort', { supportsReasoningEffort: true }],
  ['reasoning', { supportsReasoningEffort: true }],
])
