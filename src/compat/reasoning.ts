import {
  getMember,
  getText,
  isObject,
  removeMembers,
  setMember,
  setValue,
  toNode,
  toValue,
} from '../json/edit.ts'
import type { JsonNode } from '../json/node.ts'
import type { CompatFlags, ThinkingFormat } from './flags.ts'
import type { Rule } from './rule.ts'

/**
 * Translates the client's thinking options to the backend's format and removes all others. Adds nothing if the client
 * sent none; forwards nothing without a flag for it.
 */
export const reasoning: Rule = {
  name: 'reasoning',
  apply: (body, { compat, reasoning: canReason }) => {
    const format = canReason === false ? undefined : findFormat(compat)
    const wish = readWish(body, format)
    const members: Members =
      format === undefined || wish === undefined ? {} : buildMembers(format, wish, compat)
    const hadOthers = removeMembers(body, ({ key }) => payloadFields.has(key) && members[key] === undefined)
    const setOwn = Object.entries(members).filter(([key, value]) => setValue(body, key, value)).length > 0
    const setTemplate =
      format === 'qwen-chat-template' && wish !== undefined && setTemplateArguments(body, wish)
    return hadOthers || setOwn || setTemplate
  },
}

/** Outside chat the option has OpenAI's form; it is forwarded if a flag asks for it. */
export const reasoningElsewhere: Rule = {
  name: 'reasoning',
  isForEveryRoute: true,
  apply: (body, { route, compat, reasoning: canReason }) =>
    route !== 'chat' &&
    (canReason === false || findFormat(compat) === undefined || compat.supportsReasoningEffort === false) &&
    removeMembers(body, ({ key }) => key === 'reasoning_effort' || key === 'reasoning'),
}

/** Whether a member is a thinking option and the flags say how to forward it. */
export function isTranslated(key: string, compat: CompatFlags): boolean {
  return (
    payloadFields.has(key) && findFormat(compat) !== undefined && compat.supportsReasoningEffort !== false
  )
}

type Members = Readonly<Record<string, unknown>>

/** The client's wish: thinking on or off, and the effort if given. */
interface Wish {
  readonly enabled: boolean
  readonly effort: string | undefined
}

/** All members that clients use for thinking options. */
const payloadFields = new Set(['reasoning_effort', 'reasoning', 'thinking', 'enable_thinking'])

/**
 * Arguments of a chat template may hold more than thinking options: they stay, and are read only for the format that
 * writes them.
 */
const templateField = 'chat_template_kwargs'

function findFormat(compat: CompatFlags): ThinkingFormat | undefined {
  return compat.thinkingFormat ?? (compat.supportsReasoningEffort === true ? 'openai' : undefined)
}

function readWish(body: JsonNode, format: ThinkingFormat | undefined): Wish | undefined {
  const effort = getText(body, 'reasoning_effort') ?? getText(getMember(body, 'reasoning'), 'effort')
  if (effort !== undefined) return { enabled: effort !== 'none', effort }

  const thinking = getText(getMember(body, 'thinking'), 'type')
  if (thinking !== undefined) return { enabled: thinking !== 'disabled', effort: undefined }

  const switches = [
    getMember(getMember(body, 'reasoning'), 'enabled'),
    getMember(body, 'enable_thinking'),
    format === 'qwen-chat-template'
      ? getMember(getMember(body, templateField), 'enable_thinking')
      : undefined,
  ]
  const enabled = switches.map(toValue).find((value) => typeof value === 'boolean')
  return typeof enabled === 'boolean' ? { enabled, effort: undefined } : undefined
}

function buildMembers(format: ThinkingFormat, { enabled, effort }: Wish, compat: CompatFlags): Members {
  const hasEffort = compat.supportsReasoningEffort !== false
  switch (format) {
    case 'openai':
      return hasEffort ? withEffort(findEffort(effort ?? (enabled ? 'medium' : 'none'), compat)) : {}
    case 'deepseek': {
      const spoken = enabled && effort !== undefined && hasEffort ? findEffort(effort, compat) : undefined
      return { thinking: { type: formatEnabled(enabled) }, ...withEffort(spoken) }
    }
    case 'zai':
      return { thinking: { type: formatEnabled(enabled), clear_thinking: false } }
    case 'together':
      return { reasoning: { enabled } }
    case 'qwen':
      return { enable_thinking: enabled }
    case 'qwen-chat-template':
      return {}
    case 'openrouter': {
      const spoken = findEffort(effort ?? (enabled ? 'medium' : 'none'), compat)
      return spoken === undefined ? {} : { reasoning: { effort: spoken } }
    }
  }
}

function withEffort(effort: string | undefined): Members {
  return effort === undefined ? {} : { reasoning_effort: effort }
}

function formatEnabled(enabled: boolean): 'enabled' | 'disabled' {
  return enabled ? 'enabled' : 'disabled'
}

/** Efforts in rising order; other labels have no neighbours. */
const efforts = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max']

/** The backend's label for an effort: translated, then the nearest supported one, the lower of two. */
function findEffort(
  effort: string,
  { reasoningEffortMap = {}, supportedReasoningEfforts }: CompatFlags,
): string | undefined {
  const mapped = Object.hasOwn(reasoningEffortMap, effort) ? reasoningEffortMap[effort] : effort
  if (mapped === undefined || supportedReasoningEfforts === undefined) return mapped
  if (supportedReasoningEfforts.includes(mapped)) return mapped

  const rank = efforts.indexOf(mapped)
  if (rank === -1) return supportedReasoningEfforts[0]
  const byNearness = supportedReasoningEfforts.toSorted(
    (a, b) => measureDistance(a, rank) - measureDistance(b, rank),
  )
  const thinking = mapped === 'none' ? undefined : byNearness.find((label) => label !== 'none')
  return thinking ?? byNearness[0]
}

/** A lower neighbour counts half a step nearer than a higher one; an unknown label is infinitely far. */
function measureDistance(label: string, rank: number): number {
  const other = efforts.indexOf(label)
  if (other === -1) return efforts.length
  return other < rank ? rank - other - 0.5 : other - rank
}

function setTemplateArguments(body: JsonNode, { enabled }: Wish): boolean {
  if (!isObject(getMember(body, templateField))) setMember(body, templateField, toNode({}))
  const template = getMember(body, templateField)
  if (template === undefined) return false
  const isSet = setValue(template, 'enable_thinking', enabled)
  const isKept =
    getMember(template, 'preserve_thinking') === undefined && setValue(template, 'preserve_thinking', true)
  return isSet || isKept
}
