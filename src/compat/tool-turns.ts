import {
  changeEach,
  getMember,
  getText,
  isNothing,
  isObject,
  itemsOf,
  joinTexts,
  removeMember,
  setValue,
} from '../json/edit.ts'
import type { JsonNode, JsonText } from '../json/node.ts'
import { addText, messagesOf } from './message-list.ts'

/**
 * Turns the tool turns of a conversation into plain text, for backends without tools, so that nothing is lost:
 * calls are added to what the assistant said, results become user messages. The older `function_call` and the
 * role `function` are treated the same.
 * @returns whether there were any.
 */
export function toolTurnsToText(body: JsonNode): boolean {
  const nameOfCall = new Map<string, JsonNode>()
  return changeEach(messagesOf(body), ({ value: message }) => {
    const role = getText(message, 'role')
    if (role === 'tool' || role === 'function') {
      resultToText(message, nameOfCall)
      return true
    }
    return callsToText(message, nameOfCall)
  })
}

function callsToText(message: JsonNode, nameOfCall: Map<string, JsonNode>): boolean {
  const calls = itemsOf(getMember(message, 'tool_calls')).map(({ value }) => value)
  const older = getMember(message, 'function_call')
  const texts = calls.map((call) => {
    const called = getMember(call, 'function') ?? getMember(call, 'custom')
    const id = getMember(call, 'id')
    const name = getMember(called, 'name')
    const idText = getText(call, 'id')
    if (idText !== undefined && name !== undefined) nameOfCall.set(idText, name)
    const input = getMember(called, 'arguments') ?? getMember(called, 'input') ?? called ?? call
    return joinTexts([formatTitle('Tool call', name, id), ': ', input])
  })
  if (isObject(older)) {
    const title = formatTitle('Tool call', getMember(older, 'name'), undefined)
    texts.push(joinTexts([title, ': ', getMember(older, 'arguments') ?? older]))
  }

  const hadCalls = removeMember(message, 'tool_calls')
  const hadOlder = removeMember(message, 'function_call')
  if (texts.length > 0) addText(message, joinTexts(texts, '\n'), 'after', '\n\n')
  return hadCalls || hadOlder
}

function resultToText(message: JsonNode, nameOfCall: ReadonlyMap<string, JsonNode>): void {
  const id = getMember(message, 'tool_call_id')
  const ownName = getMember(message, 'name')
  const name = isNothing(ownName) ? nameOfCall.get(getText(message, 'tool_call_id') ?? '') : ownName
  setValue(message, 'role', 'user')
  removeMember(message, 'tool_call_id')
  removeMember(message, 'name')
  addText(message, joinTexts([formatTitle('Tool result', name, id), ':']), 'before', '\n')
}

/** `Tool call get_weather (call_1)`, with what is known of it. */
function formatTitle(kind: string, name: JsonNode | undefined, id: JsonNode | undefined): JsonText {
  const nameTexts = name === undefined || isNothing(name) ? [] : [' ', name]
  const idTexts = id === undefined || isNothing(id) ? [] : [' (', id, ')']
  return joinTexts([kind, ...nameTexts, ...idTexts])
}
