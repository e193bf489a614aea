import { getMember, membersOf, removeMember } from '../json/edit.ts'
import type { Rule } from './rule.ts'

/** Gives the token limit the name that the backend reads. A client that sent both names keeps that one's value. */
export const tokenField: Rule = {
  name: 'maxTokensField',
  apply: (body, { compat: { maxTokensField: wanted } }) => {
    if (wanted === undefined) return false
    const other = wanted === 'max_tokens' ? 'max_completion_tokens' : 'max_tokens'
    if (getMember(body, wanted) !== undefined) return removeMember(body, other)
    const renamed = membersOf(body).filter(({ key }) => key === other)
    for (const member of renamed) member.key = wanted
    return renamed.length > 0
  },
}
