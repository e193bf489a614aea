import { findSum } from './arithmetic.ts'
import type { JsonObject } from './json.ts'
import { buildSample } from './sample.ts'

/** A function that the client offers, from any API. */
export interface Tool {
  readonly name: string
  /** JSON schema of the arguments. */
  readonly parameters: JsonObject
}

/** The question of a client, from any API. */
export interface Prompt {
  /** What the user says since the last answer. */
  readonly text: string
  /** Parts of it that are not text, such as images. */
  readonly attachments: number
  /** Words in the whole conversation: the prompt's size. */
  readonly promptTokens: number
  /** What the last tool said since the last answer. */
  readonly toolResult?: string
  readonly tools: readonly Tool[]
  /** Name of a tool that must be called; an empty text asks for any of them. */
  readonly forcedTool?: string
  /** Schema of the JSON to answer with. `{}` asks for any JSON object. */
  readonly schema?: JsonObject
  readonly wantsReasoning: boolean
  /** Most tokens to answer with. Absent: no limit. */
  readonly maxTokens?: number
}

/** What to say. Either `call` is present, or `tokens` is the text; both may be preceded by reasoning. */
export interface Answer {
  readonly reasoning: readonly string[]
  readonly tokens: readonly string[]
  readonly call?: { readonly name: string; readonly arguments: string }
  /** Why it ends: all was said, `maxTokens` was reached, or a tool is to be called. */
  readonly finish: 'stop' | 'length' | 'tool_calls'
  readonly promptTokens: number
  readonly completionTokens: number
}

/** An echo is cut after this many characters. */
const longestEcho = 2000

/** A count ends here at the latest. */
const highestCount = 100_000

/**
 * Decides what the demo model says, by fixed rules, the first that fits: a tool result is repeated, a tool
 * that is forced or named is called, a schema is filled in, a sum is solved, "count to N" is counted, and
 * anything else is echoed. The same prompt always gives the same answer. One word is one token.
 */
export function decideAnswer(prompt: Prompt): Answer {
  const reasoning = prompt.wantsReasoning ? splitTokens(buildReasoning(prompt)) : []
  const tool = prompt.toolResult === undefined ? chooseTool(prompt) : undefined
  if (tool !== undefined) {
    const call = {
      name: tool.name,
      arguments: JSON.stringify(buildSample({ ...tool.parameters, type: 'object' }, prompt.text)),
    }
    const completionTokens = reasoning.length + splitArguments(call.arguments).length
    return {
      reasoning,
      tokens: [],
      call,
      finish: 'tool_calls',
      promptTokens: prompt.promptTokens,
      completionTokens,
    }
  }
  const all = splitTokens(chooseText(prompt))
  const tokens = prompt.maxTokens === undefined ? all : all.slice(0, prompt.maxTokens)
  const finish = tokens.length < all.length ? 'length' : 'stop'
  const completionTokens = reasoning.length + tokens.length
  return { reasoning, tokens, finish, promptTokens: prompt.promptTokens, completionTokens }
}

/** A text as tokens: words, each with the space before it. Joined they are the text again. */
export function splitTokens(text: string): readonly string[] {
  return text.match(/\s*\S+|\s+$/g) ?? []
}

/** A call's arguments in the pieces in which they stream: llama.cpp sends the opening brace first. */
export function splitArguments(json: string): readonly string[] {
  return [json.slice(0, 1), ...(json.slice(1).match(/[^,]*,|[^,]+$/g) ?? [])]
}

function chooseTool({ tools, forcedTool, text }: Prompt): Tool | undefined {
  if (forcedTool !== undefined) return tools.find(({ name }) => name === forcedTool) ?? tools[0]
  return tools.find(({ name }) => isNamed(name, text))
}

/** Whether a text asks for a tool: it begins with its name, or has it and an order to call it, or to call the tool. */
function isNamed(tool: string, text: string): boolean {
  const name = `${tool.replace(/[^\w-]/g, '\\$&')}(?!\\w)`
  const order = '\\b(?:call|use)\\s+(?:the\\s+)?'
  const isMeant = (pattern: string) => new RegExp(pattern, 'i').test(text)
  return (
    isMeant(`^\\s*${name}|${order}(?:tool\\s+)?["'\`]?${name}`) ||
    (isMeant(`\\b${name}`) && isMeant(`${order}tool\\b`))
  )
}

function chooseText(prompt: Prompt): string {
  const { text, attachments, toolResult, schema } = prompt
  if (toolResult !== undefined) return `The tool answered: ${toolResult}`
  if (schema !== undefined) return buildJson(schema, text)
  const sum = findSum(text)
  if (sum !== undefined) return describeSum(sum)
  const last = Number(/\bcount\s+to\s+(\d+)\b/i.exec(text)?.[1] ?? 0)
  if (last >= 1 && last <= highestCount)
    return Array.from({ length: last }, (_, index) => index + 1).join(' ')
  const seen =
    attachments === 0
      ? ''
      : ` There was also ${formatCount(attachments, 'attachment')}, which a demo cannot see.`
  if (text.trim() !== '') return `You said: "${cut(text)}"${seen}`
  return `Hello, I am a demo and not a model. I solve sums ("What is 17 * 3?"), count ("count to 10"), call the tools you name and repeat the rest.${seen}`
}

function buildJson(schema: JsonObject, text: string): string {
  const isAnyObject = Object.keys(schema).length === 0
  return JSON.stringify(isAnyObject ? { answer: cut(text) } : buildSample(schema, text))
}

function describeSum({ expression, value }: { expression: string; value: string | null }): string {
  return value === null ? `${expression} has no value: it divides by zero.` : `${expression} = ${value}.`
}

function buildReasoning({ text }: Prompt): string {
  return `The user wrote ${formatCount(splitTokens(text).length, 'word')}. A demo answers by rule.`
}

function formatCount(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** Cuts a long text, never in the middle of a surrogate pair. */
function cut(text: string): string {
  return text.length <= longestEcho ? text : `${text.slice(0, longestEcho).replace(/[\uD800-\uDBFF]$/, '')}…`
}
