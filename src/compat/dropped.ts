import type { JsonChild } from '../json/node.ts'
import { type Advice, toModelBlock } from './advice.ts'
import type { CompatFlags } from './flags.ts'
import { isTranslated } from './reasoning.ts'

/** Members of a client's body that no rule sends on in any form, by name. */
export function listDropped(
  before: readonly JsonChild[],
  after: readonly JsonChild[],
  compat: CompatFlags,
): readonly string[] {
  const kept = new Set(after.map(({ key }) => key))
  const gone = before.map(({ key }) => key).filter((key) => !kept.has(key) && !RENAMED.has(key))
  return [...new Set(gone.filter((key) => !isTranslated(key, compat)))]
}

/** Two names of one limit: of both, one is sent. */
const RENAMED: ReadonlySet<string> = new Set(['max_tokens', 'max_completion_tokens'])

/** What an operator is told of a member that is not sent, once per model. `ref`: the model, as `provider/model`. */
export function adviseDropped(member: string, ref: string): Advice {
  const id = `drops-${member.replaceAll('_', '-')}`
  const flags = flagsOf.get(member)
  if (flags === undefined) return { id, text: `"${member}" is not sent on to the server of this model.` }
  const text = `"${member}" is not sent on to the server of this model; set compat as below if it takes it.`
  return { id, text, block: toModelBlock(ref, flags) }
}

const flagsOf: ReadonlyMap<string, CompatFlags> = new Map([
  ['store', { supportsStore: true }],
  ['prompt_cache_key', { supportsPromptCacheKey: true }],
  ['prompt_cache_retention', { supportsLongCacheRetention: true }],
  ['reasoning_effort', { supportsReasoningEffort: true }],
  ['reasoning', { supportsReasoningEffort: true }],
])
