import { isJsonObject, type JsonObject } from '../config/sections.ts'

/** What a model takes and can do, as far as its server or its file says. Absent: neither says. */
export interface ModelAbilities {
  /** Kinds of input, `text` among them. */
  readonly input?: readonly string[]
  /** Whether it may be given tools. */
  readonly tools?: boolean
  readonly thinking?: boolean
  /** What it is for. */
  readonly kind?: 'completion' | 'embedding' | 'rerank'
}

/** The kinds of input that a list shows, in its order. */
const KINDS = ['text', 'image', 'audio', 'video'] as const

/**
 * What a running server states: llama-server in `architecture` of its list and in `/props`, Ollama and others in
 * `capabilities`. `entry`: that of the model in the server's list; `props`: of a llama-server with one model.
 */
export function toStatedAbilities(entry: JsonObject | undefined, props: unknown): ModelAbilities {
  const input = toInput(entry?.architecture) ?? toPropsInput(toObject(props)?.modalities)
  const said = toTexts(entry?.capabilities)
  const caps = toObject(toObject(props)?.chat_template_caps)
  const tools = caps?.supports_tools ?? (said === undefined ? undefined : hasOne(said, ['tools', 'tool_use']))
  const seen = said !== undefined && hasOne(said, ['vision', 'image']) ? ['text', 'image'] : undefined
  return {
    ...(input === undefined && seen === undefined ? {} : { input: input ?? seen }),
    ...(typeof tools === 'boolean' ? { tools } : {}),
    ...(said !== undefined && hasOne(said, ['thinking', 'reasoning']) ? { thinking: true } : {}),
    ...(said !== undefined && hasOne(said, ['embedding', 'embeddings'])
      ? { kind: 'embedding' as const }
      : {}),
  }
}

/** The same in the words of Ollama's `capabilities`. `undefined`: nothing is known. */
export function listCapabilities(abilities: ModelAbilities): readonly string[] | undefined {
  const { input = [], tools = false, thinking = false, kind } = abilities
  if (Object.keys(abilities).length === 0) return undefined
  if (kind === 'embedding' || kind === 'rerank') return [kind]
  return [
    'completion',
    ...(tools ? ['tools'] : []),
    ...(input.includes('image') ? ['vision'] : []),
    ...(input.includes('audio') ? ['audio'] : []),
    ...(thinking ? ['thinking'] : []),
  ]
}

function toInput(architecture: unknown): readonly string[] | undefined {
  const stated = toTexts(toObject(architecture)?.input_modalities)
  const known = stated && KINDS.filter((kind) => stated.includes(kind))
  return known !== undefined && known.length > 0 ? known : undefined
}

function toPropsInput(modalities: unknown): readonly string[] | undefined {
  const stated = toObject(modalities)
  if (stated === undefined) return undefined
  const names = { text: true, image: stated.vision, audio: stated.audio, video: stated.video }
  return KINDS.filter((kind) => names[kind] === true)
}

function hasOne(list: readonly string[], names: readonly string[]): boolean {
  return names.some((name) => list.includes(name))
}

function toTexts(value: unknown): readonly string[] | undefined {
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : undefined
}

function toObject(value: unknown): JsonObject | undefined {
  return isJsonObject(value) ? value : undefined
}
