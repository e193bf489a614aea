import { removeMembers } from '../json/edit.ts'
import type { CompatFlags } from './flags.ts'
import { KEEP_ALIVE } from './keep-alive.ts'
import type { Rule } from './rule.ts'

/** Members that mean something to OpenAI's own service only, or to leasehold. A flag lets one through. */
export const neverSend: Rule = {
  name: 'neverSend',
  isForEveryRoute: true,
  apply: (body, { compat }) =>
    removeMembers(body, ({ key }) => flagOf.has(key) && !isLetThrough(key, compat)),
}

const flagOf: ReadonlyMap<string, keyof CompatFlags | undefined> = new Map([
  ['service_tier', undefined],
  ['store', 'supportsStore'],
  ['prompt_cache_key', 'supportsPromptCacheKey'],
  ['prompt_cache_retention', 'supportsLongCacheRetention'],
  [KEEP_ALIVE, 'supportsKeepAlive'],
])

function isLetThrough(key: string, compat: CompatFlags): boolean {
  const flag = flagOf.get(key)
  return flag !== undefined && compat[flag] === true
}
