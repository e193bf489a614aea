import type { Answer } from './fake-answer.ts'
import type { ModelServerSettings } from './options.ts'

/** Token counts in the shape of the OpenAI chat API. */
export function buildUsage({ promptTokens, completionTokens }: Answer) {
  return {
    completion_tokens: completionTokens,
    prompt_tokens: promptTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: 0 },
  }
}

/**
 * llama.cpp's `timings`. They state the configured pace and not a measurement, so that the same request
 * has the same answer; a pace of zero counts as 10 µs for a token.
 */
export function buildTimings(answer: Answer, { firstTokenMs, tokenDelayMs }: ModelServerSettings) {
  const promptMs = Math.max(firstTokenMs, 0.01)
  const perTokenMs = Math.max(tokenDelayMs, 0.01)
  return {
    cache_n: 0,
    prompt_n: answer.promptTokens,
    prompt_ms: promptMs,
    prompt_per_token_ms: promptMs / Math.max(answer.promptTokens, 1),
    prompt_per_second: (answer.promptTokens * 1000) / promptMs,
    predicted_n: answer.completionTokens,
    predicted_ms: perTokenMs * answer.completionTokens,
    predicted_per_token_ms: perTokenMs,
    predicted_per_second: 1000 / perTokenMs,
  }
}
