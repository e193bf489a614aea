import {
  getMember,
  getText,
  hasText,
  isArray,
  isEmptyText,
  isNothing,
  isText,
  itemsOf,
  setMember,
  setValue,
  toNode,
} from '../json/edit.ts'
import type { JsonNode } from '../json/node.ts'
import { buildTextPart, isTextPart, messagesOf } from './message-list.ts'
import type { Rule } from './rule.ts'

/**
 * Translates a client's prompt-cache hint to Anthropic's form: a mark on the system message and one on the last user
 * message. Content becomes an array for it, so a backend that wants string content gets no marks.
 */
export const cacheControl: Rule = {
  name: 'cacheControlFormat',
  apply: (body, { compat }) => {
    if (compat.cacheControlFormat !== 'anthropic') return false
    if (compat.requiresStringContent === true || compat.strictMessageKeys === true) return false
    const retention = getText(body, 'prompt_cache_retention')
    if (retention === undefined && isNothing(getMember(body, 'prompt_cache_key'))) return false

    const isLong = retention === '24h' && compat.supportsLongCacheRetention === true
    const mark = isLong ? { type: 'ephemeral', ttl: '1h' } : { type: 'ephemeral' }
    const messages = messagesOf(body).map(({ value }) => value)
    const marked = [
      messages.find((message) => systemRoles.has(getText(message, 'role'))),
      messages.findLast((message) => hasText(message, 'role', 'user')),
    ]
    return marked.filter((message) => message !== undefined && markMessage(message, mark)).length > 0
  },
}

const systemRoles: ReadonlySet<string | undefined> = new Set(['system', 'developer'])

function markMessage(message: JsonNode, mark: object): boolean {
  const content = getMember(message, 'content')
  if (content === undefined || isEmptyText(content)) return false
  if (isText(content)) {
    const list = toNode([])
    const part = buildTextPart(content)
    setValue(part, 'cache_control', mark)
    itemsOf(list).push({ key: '', value: part })
    setMember(message, 'content', list)
    return true
  }
  const part = isArray(content)
    ? itemsOf(content).findLast(({ value }) => isTextPart(value))?.value
    : undefined
  return (
    part !== undefined &&
    getMember(part, 'cache_control') === undefined &&
    setValue(part, 'cache_control', mark)
  )
}
