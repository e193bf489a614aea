import type { CompatFlags, ThinkingFormat } from '../compat/flags.ts'
import type { JsonObject } from '../config/sections.ts'
import type { Answer } from './probe-answer.ts'
import type { Settings } from './probes.ts'
import type { ProbeResult, Send } from './probing.ts'

export interface ThinkingOptions {
  readonly settings: Settings
  readonly send: Send
  /** Whether the file says that the model thinks. */
  readonly isReasoning: boolean
  /** Whether it thought when it was asked a plain question. */
  readonly hasThought: boolean
}

/** In the order of OpenAI's scale. */
const EFFORTS = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max']

/** The formats beside OpenAI's, in the order of how many local servers know them. */
const FORMATS: readonly ThinkingFormat[] = [
  'qwen-chat-template',
  'qwen',
  'deepseek',
  'zai',
  'together',
  'openrouter',
]

/**
 * Finds how a server is told to think: by asking it to think and not to think, in one form after the other, until the
 * answers differ. A server that refuses some efforts and takes others reads `reasoning_effort`, too.
 */
export async function findThinking({
  settings,
  send,
  isReasoning,
  hasThought,
}: ThinkingOptions): Promise<{ readonly compat: CompatFlags; readonly result: ProbeResult }> {
  const head = { probe: 'thinking', asks: 'thinking on and off ("reasoning_effort")' } as const
  if (!isReasoning && !hasThought)
    return {
      compat: {},
      result: {
        ...head,
        outcome: 'skipped',
        detail: 'the file does not say `reasoning: true` for this model, and it did not think by itself',
        isWarning: false,
      },
    }
  const ask = (effort: string, compat: CompatFlags) =>
    send({ messages: [question], max_tokens: 32, reasoning_effort: effort } satisfies JsonObject, {
      ...settings,
      compat: { ...settings.compat, ...compat },
    })

  const compat = (await findEfforts(ask)) ?? (await findFormat(ask))
  if (compat !== undefined) return { compat, result: { ...head, outcome: 'cured', compat, isWarning: false } }
  return {
    compat: {},
    result: {
      ...head,
      outcome: 'unclear',
      detail: 'the answers are the same in every form, so no form was found',
      isWarning: false,
    },
  }
}

type Ask = (effort: string, compat: CompatFlags) => Promise<Answer>

const question = { role: 'user', content: 'Is 91 a prime number?' }

async function findEfforts(ask: Ask): Promise<CompatFlags | undefined> {
  const taken: string[] = []
  const thought = new Map<string, boolean>()
  for (const effort of EFFORTS) {
    const answer = await ask(effort, { supportsReasoningEffort: true })
    if (answer.failure !== undefined) continue
    taken.push(effort)
    thought.set(effort, hasReasoning(answer))
  }
  if (taken.length === 0) return undefined
  if (taken.length < EFFORTS.length)
    return { supportsReasoningEffort: true, supportedReasoningEfforts: taken }
  return thought.get('high') === true && thought.get('none') === false
    ? { supportsReasoningEffort: true }
    : undefined
}

async function findFormat(ask: Ask): Promise<CompatFlags | undefined> {
  for (const thinkingFormat of FORMATS) {
    const on = await ask('high', { thinkingFormat })
    if (on.failure !== undefined || !hasReasoning(on)) continue
    const off = await ask('none', { thinkingFormat })
    if (off.failure === undefined && !hasReasoning(off)) return { thinkingFormat }
  }
  return undefined
}

function hasReasoning({ reasoning, text }: Answer): boolean {
  return reasoning !== '' || /<think>/.test(text)
}
