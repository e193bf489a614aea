import { changeEach, removeMembers } from '../json/edit.ts'
import { messagesOf } from './message-list.ts'
import type { Rule } from './rule.ts'
import { toolTurnsToText } from './tool-turns.ts'

/** Messages with `role` and `content` only, for servers that refuse any other key. */
export const strictKeys: Rule = {
  name: 'strictMessageKeys',
  apply: (body, { compat }) => {
    if (compat.strictMessageKeys !== true) return false
    const hadToolTurns = toolTurnsToText(body)
    const hadOtherKeys = changeEach(messagesOf(body), ({ value }) =>
      removeMembers(value, ({ key }) => key !== 'role' && key !== 'content'),
    )
    return hadToolTurns || hadOtherKeys
  },
}
