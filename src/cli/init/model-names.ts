import { basename } from 'node:path'
import { toPlainName } from '../../config/gguf.ts'
import type { FoundModel } from './find-models.ts'

/** What a model is called in a file. */
export interface ModelNames {
  /** The provider, and the model where there is no `alias`. */
  readonly id: string
  /** The exact name: with the quantisation. */
  readonly model: string
  /** Short names. No other model has them. */
  readonly aliases: readonly string[]
}

/**
 * Names for models, all different without regard to case. The short name of a model is that of its file without the
 * quantisation, `qwen3-8b`; of several quantisations of one model only the exact names are used.
 */
export function nameModels(models: readonly FoundModel[]): readonly ModelNames[] {
  const shorts = models.map(toShortName)
  const exacts = models.map((model, index) => toExactName(model, shorts[index] ?? ''))
  const taken = new Set<string>()
  const take = (name: string) => toFree(name, taken)
  // Exact names first: none of them may become the short name of another model.
  const names = exacts.map(take)
  const ids = new Set<string>()
  return models.map(({ label }, index) => {
    const model = names[index] ?? ''
    const short = shorts[index] ?? ''
    const isOnlyOne = shorts.filter((other) => other === short).length === 1
    const wanted = [isOnlyOne ? short : undefined, label?.toLowerCase()].filter((name) => name !== undefined)
    const aliases = wanted.filter((name) => !taken.has(name)).map(take)
    const id = toFree(toId(aliases.includes(short) ? short : model), ids)
    return { id, model, aliases }
  })
}

/** The name, with a number where it is taken; from then on it is taken. */
export function toFree(name: string, taken: Set<string>): string {
  let free = name
  for (let count = 2; taken.has(free.toLowerCase()); count += 1) free = `${name}-${count}`
  taken.add(free.toLowerCase())
  return free
}

function toShortName({ file, label }: FoundModel): string {
  // `hf.co/unsloth/Qwen3-8B-GGUF:Q4_K_M` and `qwen3:8b`.
  const name =
    label === undefined ? toPlainName(file) : label.slice(label.lastIndexOf('/') + 1).replace(/:latest$/, '')
  return toSlug(withoutRepository(name)) || 'model'
}

function toExactName({ file, label, quantization }: FoundModel, short: string): string {
  const part = quantization === undefined ? '' : `-${toSlug(quantization)}`
  if (label !== undefined) return short.endsWith(part) ? short : `${short}${part}`
  const stem = toSlug(withoutRepository(basename(file).replace(/(-\d{5}-of-\d{5})?\.gguf$/i, ''))) || short
  return stem === short ? `${short}${part}` : stem
}

/** llama.cpp's cache has the repository before the name of the file: `org_Name-GGUF_name-Q4_K_M.gguf`. */
function withoutRepository(name: string): string {
  return name.replace(/^.*_.*-GGUF_(?=.)/i, '')
}

function toSlug(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[^a-z0-9._]+/g, '-')
    .replaceAll(/^[-._]+|[-._]+$/g, '')
}

/** `default` is a reference of its own. */
function toId(name: string): string {
  const id = toSlug(name) || 'model'
  return id === 'default' ? 'default-model' : id
}
