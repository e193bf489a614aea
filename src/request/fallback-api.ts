import type { Advice } from '../compat/error-advice.ts'
import type { ProviderConfig } from '../config/config.ts'
import type { ModelTarget } from '../config/model-ref.ts'
import type { Candidate } from './candidates.ts'

type Api = ProviderConfig['api']

/** The API of each path whose body and answer belong to one. */
const API_OF_PATH: ReadonlyMap<string, Api> = new Map([
  ['/v1/chat/completions', 'openai-completions'],
  ['/v1/completions', 'openai-completions'],
  ['/v1/responses', 'openai-responses'],
  ['/v1/messages', 'anthropic-messages'],
  ['/v1/messages/count_tokens', 'anthropic-messages'],
])

/**
 * Leaves out the fallbacks that cannot be asked this request: their provider's `api` is neither that of the path nor
 * that of the first model's provider. Such a server would be started and then answer 404, which ends the failover.
 * The first is never left out: many servers speak more APIs than the one that `api` names.
 */
export function partByApi(
  path: string,
  candidates: readonly Candidate[],
): { readonly spoken: readonly Candidate[]; readonly others: readonly Candidate[] } {
  const first = candidates[0]?.target.provider.api
  const asked = candidates.length > 1 ? API_OF_PATH.get(path.replace(/[?#].*$/s, '')) : undefined
  if (asked === undefined) return { spoken: candidates, others: NONE }
  const isSpoken = ({ target: { provider } }: Candidate) => provider.api === asked || provider.api === first
  return { spoken: candidates.filter(isSpoken), others: candidates.filter((one) => !isSpoken(one)) }
}

const NONE: readonly Candidate[] = []

/** What an operator is told of a fallback that is left out. `path`: without its query. */
export function adviseOtherApi({ provider }: ModelTarget, path: string): Advice {
  return {
    id: 'fallback-api',
    text: `Left out as a fallback for ${path}: the api of its provider is "${provider.api}". Set "${API_OF_PATH.get(path)}" there if its server offers that path.`,
  }
}
