import { getMember, removeMembers, setValue } from '../json/edit.ts'
import type { JsonNode } from '../json/node.ts'
import type { RewriteOptions, Rule } from './rule.ts'

/**
 * The members that the configuration drops. Applied before every other rule, so that none translates them, and again
 * before `params`, for what the rules have put in.
 */
export const dropParams: Rule = {
  name: 'dropParams',
  isForEveryRoute: true,
  apply: (body, { dropParams: names }) =>
    names !== undefined && names.length > 0 && removeMembers(body, ({ key }) => names.includes(key)),
}

/** Adds the configured defaults that the body still lacks. */
export const params: Rule = {
  name: 'params',
  isForEveryRoute: true,
  apply: (body, options) => {
    const { maxTokens, max_tokens, max_completion_tokens, extra_body: _, ...defaults } = options.params ?? {}
    const limit = maxTokens ?? max_tokens ?? max_completion_tokens ?? options.maxTokens
    const set = Object.entries(defaults).filter(([key, value]) => setDefault(body, key, value))
    const isLimited = setTokenLimit(body, limit, options)
    return set.length > 0 || isLimited
  },
}

/** Sets the configured `extra_body` members, overriding the client's. */
export const extraBody: Rule = {
  name: 'extra_body',
  isForEveryRoute: true,
  apply: (body, { params: { extra_body: extra } = {} }) => {
    if (typeof extra !== 'object' || extra === null) return false
    const set = Object.entries(extra).filter(
      ([key, value]) => value !== undefined && setValue(body, key, value),
    )
    return set.length > 0
  },
}

function setDefault(body: JsonNode, key: string, value: unknown): boolean {
  return value !== undefined && getMember(body, key) === undefined && setValue(body, key, value)
}

function setTokenLimit(body: JsonNode, limit: unknown, { route, compat }: RewriteOptions): boolean {
  switch (route) {
    case 'chat':
      return (
        tokenFields.every((field) => getMember(body, field) === undefined) &&
        setDefault(body, compat.maxTokensField ?? 'max_tokens', limit)
      )
    case 'completions':
    case 'messages':
      return setDefault(body, 'max_tokens', limit)
    case 'responses':
      return setDefault(body, 'max_output_tokens', limit)
    case 'embeddings':
    case 'other':
      return false
  }
}

const tokenFields = ['max_tokens', 'max_completion_tokens']
