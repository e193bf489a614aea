import {
  changeEach,
  getMember,
  getText,
  hasItemWithText,
  hasText,
  isArray,
  isNothing,
  itemsOf,
  joinTexts,
  removeMember,
  setMember,
  setValue,
  textOf,
  toNode,
} from '../json/edit.ts'
import type { JsonChild, JsonNode } from '../json/node.ts'
import { addText, messagesOf } from './message-list.ts'
import type { Rule } from './rule.ts'

/** `developer` is OpenAI's word of 2024; many servers and chat templates refuse it. */
export const developerRole: Rule = {
  name: 'supportsDeveloperRole',
  apply: (body, { compat }) =>
    compat.supportsDeveloperRole !== true &&
    // Nearly no body has one, and a long conversation need not be opened to see that.
    hasItemWithText(getMember(body, 'messages'), 'role', 'developer') &&
    changeEach(
      messagesOf(body),
      ({ value }) => hasText(value, 'role', 'developer') && setValue(value, 'role', 'system'),
    ),
}

/** Names the called function on each tool result, from the call with the same id. */
export const toolResultName: Rule = {
  name: 'requiresToolResultName',
  apply: (body, { compat }) => {
    if (compat.requiresToolResultName !== true) return false
    const nameOfCall = new Map<string | undefined, JsonNode>()
    return changeEach(messagesOf(body), ({ value: message }) => {
      for (const { value: call } of itemsOf(getMember(message, 'tool_calls'))) {
        const name = getMember(getMember(call, 'function'), 'name')
        if (name !== undefined) nameOfCall.set(getText(call, 'id'), name)
      }
      if (!hasText(message, 'role', 'tool') || !isNothing(getMember(message, 'name'))) return false
      const name = nameOfCall.get(getText(message, 'tool_call_id'))
      if (name === undefined) return false
      setMember(message, 'name', name)
      return true
    })
  },
}

/** Some chat templates reject a user message directly after a tool result. */
export const assistantAfterToolResult: Rule = {
  name: 'requiresAssistantAfterToolResult',
  apply: (body, { compat }) => {
    if (compat.requiresAssistantAfterToolResult !== true) return false
    const list = getMember(body, 'messages')
    if (!isArray(list)) return false
    const messages = itemsOf(list)
    const turns = messages.flatMap((message, index): JsonChild[] =>
      hasText(message.value, 'role', 'user') && hasText(messages[index - 1]?.value, 'role', 'tool')
        ? [{ key: '', value: toNode(acknowledgement) }, message]
        : [message],
    )
    if (turns.length === messages.length) return false
    list.children = turns
    return true
  },
}

const acknowledgement = { role: 'assistant', content: 'I have read the tool results.' }

/** Moves earlier reasoning of the assistant to the start of its content. */
export const thinkingAsText: Rule = {
  name: 'requiresThinkingAsText',
  apply: (body, { compat }) =>
    compat.requiresThinkingAsText === true &&
    changeEach(messagesOf(body), ({ value: message }) => {
      if (!hasText(message, 'role', 'assistant')) return false
      const thinking = thinkingFields.map((field) => getMember(message, field)).find((node) => textOf(node))
      if (thinking === undefined) return false
      for (const field of thinkingFields) removeMember(message, field)
      addText(message, joinTexts([thinking]), 'before', '\n\n')
      return true
    }),
}

/** The names that servers and clients use for earlier reasoning. */
const thinkingFields = ['reasoning_content', 'reasoning', 'reasoning_text']

/** Some reasoning models refuse a history in which an assistant turn does not mention its reasoning. */
export const reasoningContent: Rule = {
  name: 'requiresReasoningContentOnAssistantMessages',
  apply: (body, { compat }) =>
    compat.requiresReasoningContentOnAssistantMessages === true &&
    changeEach(
      messagesOf(body),
      ({ value }) =>
        hasText(value, 'role', 'assistant') &&
        isNothing(getMember(value, 'reasoning_content')) &&
        setValue(value, 'reasoning_content', ''),
    ),
}
