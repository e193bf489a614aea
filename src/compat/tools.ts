import { changeEach, getMember, itemsOf, removeMember, removeMembers } from '../json/edit.ts'
import type { Rule } from './rule.ts'
import { toolTurnsToText } from './tool-turns.ts'

/** A backend without tools gets none, and reads the tool turns of the history as text. */
export const noTools: Rule = {
  name: 'supportsTools',
  apply: (body, { compat }) => {
    if (compat.supportsTools !== false) return false
    const hadTools = removeMembers(body, ({ key }) => toolFields.has(key))
    const hadToolTurns = toolTurnsToText(body)
    return hadTools || hadToolTurns
  },
}

/** The last two are the names of the first two before 2023-11. */
const toolFields = new Set(['tools', 'tool_choice', 'parallel_tool_calls', 'functions', 'function_call'])

/** Tools without `function.strict`. */
export const noStrictTools: Rule = {
  name: 'supportsStrictMode',
  apply: (body, { compat }) =>
    compat.supportsStrictMode === false &&
    changeEach(itemsOf(getMember(body, 'tools')), ({ value }) =>
      removeMember(getMember(value, 'function'), 'strict'),
    ),
}
