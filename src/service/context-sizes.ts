import { hasTag } from '../../machines/provider/tags.ts'
import type { Clock } from '../clock.ts'
import type { ProviderConfig } from '../config/config.ts'
import { isSameName } from '../config/model-ref.ts'
import { isJsonObject, type JsonObject } from '../config/sections.ts'
import { isServing } from '../events/events.ts'
import { getJson } from '../transport/get.ts'
import { type ModelAbilities, toStatedAbilities } from './model-abilities.ts'
import { type Service, toKeyHeaders } from './services.ts'

/** Time that one question may take, in milliseconds. */
const ASK_TIMEOUT_MS = 5_000
/** Largest answer that is read, in bytes. A longer one is no JSON any more and says nothing. */
const MAX_ANSWER_BYTES = 1_048_576

/** The context size of each model, as the running servers state it. */
export interface ContextSizes {
  /** Follows a service: its server is asked once per generation, and forgotten with it. */
  hear(key: string, change: { readonly from: string; readonly to: string }, generation: string | null): void
  /** In tokens. `undefined`: the server does not run, has not answered yet, or does not say. */
  of(key: string, providerId: string, modelId: string): number | undefined
  /** What the server says that a model can do. */
  abilitiesOf(key: string, providerId: string, modelId: string): ModelAbilities | undefined
  /** Ends the questions that are under way. */
  close(): void
}

export interface ContextSizesOptions {
  readonly clock: Clock
  readonly serviceOf: (key: string) => Service
  /** Where a service's server was found, if it was. */
  readonly addressOf: (key: string) => string | undefined
}

/** What one generation said, by provider and model. */
interface Known {
  readonly generation: string
  readonly lookup: AbortController
  /** Whether the server has told all that it is asked. */
  isWhole: boolean
  readonly sizes: Map<string, number>
  readonly abilities: Map<string, ModelAbilities>
}

export function createContextSizes({ clock, serviceOf, addressOf }: ContextSizesOptions): ContextSizes {
  const known = new Map<string, Known>()

  const forget = (key: string) => {
    known.get(key)?.lookup.abort()
    known.delete(key)
  }
  const ask = async (key: string, begun: Known) => {
    const { sizes, abilities } = begun
    const { signal } = begun.lookup
    for (const provider of serviceOf(key).providers) {
      // A member tells it on its card.
      if (provider.memberOf !== undefined) continue
      // Many servers have no such page, and what is not said is not listed.
      const look = (url: string) =>
        getJson({
          url,
          headers: toKeyHeaders(provider),
          timeoutMs: ASK_TIMEOUT_MS,
          maxBodyBytes: MAX_ANSWER_BYTES,
          clock,
          address: addressOf(key),
          signal,
        })
      const list = await look(`${provider.baseUrl}/models`)
      const props = isLlamaServer(list) ? await look(`${new URL(provider.baseUrl).origin}/props`) : undefined
      if (signal.aborted) return
      for (const { id, upstreamId } of provider.models) {
        const size = toContextSize(list, props, upstreamId)
        if (size !== undefined) sizes.set(toName(provider.id, id), size)
        abilities.set(
          toName(provider.id, id),
          toStatedAbilities(findEntry(listEntries(list), upstreamId), props),
        )
      }
    }
    begun.isWhole = true
  }

  return {
    hear: (key, { from, to }, generation) => {
      if (isServing(to)) {
        if (isServing(from) || generation === null || known.get(key)?.generation === generation) return
        forget(key)
        const begun: Known = {
          generation,
          lookup: new AbortController(),
          isWhole: false,
          sizes: new Map(),
          abilities: new Map(),
        }
        known.set(key, begun)
        void ask(key, begun)
      } else if (hasTag(to, 'sleeping')) {
        // Nothing is asked of a server that sleeps. What is not known yet is asked for again when it is awake.
        if (known.get(key)?.isWhole === false) forget(key)
      } else if (!hasTag(to, 'busy')) forget(key)
    },
    of: (key, providerId, modelId) => known.get(key)?.sizes.get(toName(providerId, modelId)),
    abilitiesOf: (key, providerId, modelId) => known.get(key)?.abilities.get(toName(providerId, modelId)),
    close: () => {
      for (const key of [...known.keys()]) forget(key)
    },
  }
}

function toName(providerId: ProviderConfig['id'], modelId: string): string {
  return `${providerId}/${modelId}`
}

/**
 * The context size that a server states for a model, in tokens: in its list of models (`meta.n_ctx` of llama-server,
 * `max_model_len` of vLLM and SGLang, `context_length`, `context_window`), else in llama-server's `/props`. A list with
 * one entry is about every model: servers with one model answer to any name.
 */
export function toContextSize(list: unknown, props: unknown, modelId: string): number | undefined {
  const entries = listEntries(list)
  const entry = findEntry(entries, modelId)
  const said = entry === undefined ? undefined : toStatedSize(entry)
  if (said !== undefined || entries.length > 1) return said
  return toTokens(toObject(toObject(props)?.default_generation_settings)?.n_ctx)
}

/** The entry of a model in a list. A list with one entry is about every model. */
function findEntry(entries: readonly JsonObject[], modelId: string): JsonObject | undefined {
  const named = entries.find(({ id }) => id === modelId) ?? entries.find((entry) => isNamed(entry, modelId))
  return named ?? (entries.length === 1 ? entries[0] : undefined)
}

/** Whether this is the list of a llama-server with one model, whose `/props` say more. */
function isLlamaServer(list: unknown): boolean {
  const [entry, ...others] = listEntries(list)
  return entry?.owned_by === 'llamacpp' && others.length === 0
}

function toStatedSize(entry: JsonObject): number | undefined {
  return (
    toTokens(toObject(entry.meta)?.n_ctx) ??
    toTokens(entry.max_model_len) ??
    toTokens(entry.context_length) ??
    toTokens(entry.context_window)
  )
}

/** Whether an entry goes by this name too: without regard to case, by an alias, or with the tag that Ollama adds. */
function isNamed({ id, aliases }: JsonObject, modelId: string): boolean {
  const names = [id, ...(Array.isArray(aliases) ? aliases : [])].filter((name) => typeof name === 'string')
  return names.some((name) => isSameName(name, modelId) || isSameName(name, `${modelId}:latest`))
}

function listEntries(list: unknown): readonly JsonObject[] {
  const data: unknown = toObject(list)?.data
  return Array.isArray(data) ? data.map(toObject).filter((entry) => entry !== undefined) : []
}

function toObject(value: unknown): JsonObject | undefined {
  return isJsonObject(value) ? value : undefined
}

function toTokens(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && Number(value) > 0 ? Number(value) : undefined
}
