import { readdir, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { type GgufHeader, type GgufValue, readGgufHeader } from './gguf-header.ts'

/** A model in a GGUF file, or in the parts of one. */
export interface GgufModel {
  /** The file to load: of several parts the first. */
  readonly file: string
  readonly name: string
  readonly architecture: string
  /**
   * What it is for. `projector` and `adapter` belong to another model, and are none by themselves; `base` has no chat
   * template.
   */
  readonly kind: 'chat' | 'base' | 'embedding' | 'reranker' | 'projector' | 'adapter'
  /** `Q4_K_M`. Absent: neither the header nor the name of the file says. */
  readonly quantization?: string
  /** Context that it was trained with, in tokens: a server may serve less. */
  readonly contextTokens?: number
  /** What its chat template mentions. Absent: it has none. */
  readonly template?: { readonly tools: boolean; readonly thinking: boolean }
  /** Size of all parts that are there. */
  readonly bytes: number
  /** Parts that the file names and that are not there: it cannot be loaded. */
  readonly missing: readonly string[]
  /** Parts that end before their last tensor begins, for instance downloads that were cut: the model cannot be loaded. */
  readonly cut: readonly string[]
  /** What a language model must have. Image models have no vocabulary, and llama.cpp's test files no weights. */
  readonly hasVocabulary: boolean
  readonly hasWeights: boolean
  /** `mmproj` files in its folder, for models that see images. */
  readonly projectors: readonly string[]
  readonly layers: readonly GgufLayer[]
}

/** What one layer keeps of each token. */
export interface GgufLayer {
  readonly keyValues: number
  readonly valueValues: number
  /** Tokens that it looks back at. Absent: all of them. */
  readonly windowTokens?: number
}

/** Reads what a GGUF file says about its model. @throws {RangeError} as {@link readGgufHeader} */
export async function readGguf(file: string): Promise<GgufModel> {
  const header = await readGgufHeader(file)
  const get = (key: string) => header.values.get(key)
  const architecture = toText(get('general.architecture')) ?? 'unknown'
  const of = (key: string) => get(`${architecture}.${key}`)
  const { bytes, missing, cut } = await findParts(file, header, toNumber(get('split.count')))
  const template = toText(get('tokenizer.chat_template'))
  const quantization = FILE_TYPES[toNumber(get('general.file_type')) ?? -1] ?? findQuantization(file)
  const contextTokens = toNumber(of('context_length'))
  const kind = findKind(header, architecture, basename(file))
  return {
    file,
    name: findName(header, file),
    architecture,
    kind,
    ...(quantization === undefined ? {} : { quantization }),
    ...(contextTokens === undefined ? {} : { contextTokens }),
    ...(template === undefined
      ? {}
      : {
          template: {
            tools: /\btools\b/.test(template),
            thinking: /<think>|enable_thinking|reasoning_content/.test(template),
          },
        }),
    bytes,
    missing,
    cut,
    hasVocabulary: header.values.has('tokenizer.ggml.model'),
    hasWeights: header.tensors.length > 0,
    projectors: kind === 'projector' ? [] : await findProjectors(file),
    layers: listLayers(of),
  }
}

/** Bytes of one value of the cache, by the type that `--cache-type-k` and `-v` name. */
const CACHE_BYTES = {
  f32: 4,
  f16: 2,
  bf16: 2,
  q8_0: 1.0625,
  q5_1: 0.75,
  q5_0: 0.6875,
  q4_1: 0.625,
  q4_0: 0.5625,
}

/**
 * The memory that a model takes at a context size, in bytes: `weights + cache`, where `weights` is the size of its
 * files and `cache` is the sum over its layers of `min(context, window) × (keys + values) × bytes of a value`. The
 * buffers for computing come on top, and 300 to 600 MiB on each GPU.
 */
export function estimateMemory(
  { bytes, layers }: GgufModel,
  contextTokens: number,
  cacheType: keyof typeof CACHE_BYTES = 'f16',
): { readonly weightBytes: number; readonly cacheBytes: number } {
  const perToken = CACHE_BYTES[cacheType]
  const cacheBytes = layers.reduce(
    (sum, { keyValues, valueValues, windowTokens }) =>
      sum + Math.min(contextTokens, windowTokens ?? contextTokens) * (keyValues + valueValues) * perToken,
    0,
  )
  return { weightBytes: bytes, cacheBytes }
}

function listLayers(of: (key: string) => GgufValue | undefined): GgufLayer[] {
  const layers = Math.min(toNumber(of('block_count')) ?? 0, MAX_LAYERS)
  const embedding = toNumber(of('embedding_length')) ?? 0
  const heads = (layer: number) => at(of('attention.head_count'), layer) ?? 0
  const width = (layer: number) => (heads(layer) > 0 ? embedding / heads(layer) : 0)
  const window = toNumber(of('attention.sliding_window'))
  const pattern = of('attention.sliding_window_pattern')
  return Array.from({ length: layers }, (_, layer) => {
    const cached = at(of('attention.head_count_kv'), layer) ?? heads(layer)
    const hasWindow = window !== undefined && window > 0 && isWindowed(pattern, layer)
    return {
      keyValues: cached * (toNumber(of('attention.key_length')) ?? width(layer)),
      valueValues: cached * (toNumber(of('attention.value_length')) ?? width(layer)),
      ...(hasWindow ? { windowTokens: window + BATCH_TOKENS } : {}),
    }
  })
}

const MAX_LAYERS = 4096
/** A window is kept for a whole batch. */
const BATCH_TOKENS = 512

/** Without a pattern every layer counts as one that looks back at everything: the estimate is rather too high. */
function isWindowed(pattern: GgufValue | undefined, layer: number): boolean {
  if (Array.isArray(pattern)) return pattern[layer] === true || pattern[layer] === 1
  return typeof pattern === 'number' && pattern > 1 && (layer + 1) % pattern !== 0
}

/** A number for every layer, or one for all. */
function at(value: GgufValue | undefined, layer: number): number | undefined {
  return toNumber(Array.isArray(value) ? value[layer] : value)
}

function findKind(
  { values, tensors }: GgufHeader,
  architecture: string,
  fileName: string,
): GgufModel['kind'] {
  const type = values.get('general.type')
  if (architecture === 'clip' || type === 'mmproj') return 'projector'
  if (type === 'adapter') return 'adapter'
  const pooling = toNumber(values.get(`${architecture}.pooling_type`))
  const hasTemplate = values.has('tokenizer.chat_template')
  if (pooling === RANK || /rerank/i.test(fileName) || tensors.some((name) => name.startsWith('cls.')))
    return 'reranker'
  const isEncoder =
    /bert|gemma-embedding|t5encoder/.test(architecture) ||
    values.get(`${architecture}.attention.causal`) === false
  // Chat models may state a pooling, too.
  if (isEncoder || (!hasTemplate && pooling !== undefined && pooling > 0)) return 'embedding'
  return hasTemplate ? 'chat' : 'base'
}

const RANK = 4

function findName({ values }: GgufHeader, file: string): string {
  const [name, base, finetune, size] = ['name', 'basename', 'finetune', 'size_label'].map((key) =>
    toText(values.get(`general.${key}`)),
  )
  const parts = [base, finetune, size].filter((part) => part !== undefined)
  return name ?? (base === undefined ? toPlainName(file) : parts.join(' '))
}

/** The name of a file without what says its part and its quantisation. */
export function toPlainName(file: string): string {
  const name = basename(file)
    .replace(/\.gguf$/i, '')
    .replace(PART, '')
  return name.replace(new RegExp(`[-._]${QUANTIZATION.source}$`, 'i'), '')
}

const PART = /-(\d{5})-of-(\d{5})$/
const QUANTIZATION = /((?:UD-)?(?:I?Q\d(?:_[A-Z0-9]+)*|MXFP4(?:_MOE)?|BF16|F16|F32|TQ\d_0))/

function findQuantization(file: string): string | undefined {
  const name = basename(file)
    .replace(/\.gguf$/i, '')
    .replace(PART, '')
  return new RegExp(`[-._]${QUANTIZATION.source}$`, 'i').exec(name)?.[1]?.toUpperCase()
}

/** The sizes of all parts, and which are not there or not whole. The first part is the one to load. */
async function findParts(
  file: string,
  { bytes, isCut }: GgufHeader,
  count: number | undefined,
): Promise<{ bytes: number; missing: string[]; cut: string[] }> {
  const stem = file.replace(/\.gguf$/i, '')
  const [, , total] = PART.exec(stem) ?? []
  const parts = Math.min(count ?? Number(total ?? 1), MAX_PARTS)
  if (total === undefined || parts <= 1) return { bytes, missing: [], cut: isCut ? [file] : [] }
  const sizes = await Promise.all(
    Array.from({ length: parts }, async (_, index) => {
      const part = `${stem.replace(PART, '')}-${String(index + 1).padStart(5, '0')}-of-${total}.gguf`
      const entry = await stat(part).catch(() => undefined)
      const isWhole = entry !== undefined && (await isWholePart(part))
      return { part, size: entry?.size, isWhole }
    }),
  )
  return {
    bytes: sizes.reduce((sum, { size = 0 }) => sum + size, 0),
    missing: sizes.flatMap(({ part, size }) => (size === undefined ? [part] : [])),
    cut: sizes.flatMap(({ part, size, isWhole }) => (size !== undefined && !isWhole ? [part] : [])),
  }
}

async function isWholePart(part: string): Promise<boolean> {
  try {
    return !(await readGgufHeader(part)).isCut
  } catch {
    return false
  }
}

const MAX_PARTS = 1000

async function findProjectors(file: string): Promise<string[]> {
  const folder = dirname(file)
  const names = await readdir(folder).catch(() => [])
  return names
    .filter((name) => /mmproj.*\.gguf$/i.test(name) && name !== basename(file))
    .sort()
    .map((name) => join(folder, name))
}

function toText(value: GgufValue | undefined): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

function toNumber(value: GgufValue | undefined): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}

/** llama.cpp's numbers of `general.file_type`. */
const FILE_TYPES: Readonly<Record<number, string>> = {
  0: 'F32',
  1: 'F16',
  2: 'Q4_0',
  3: 'Q4_1',
  7: 'Q8_0',
  8: 'Q5_0',
  9: 'Q5_1',
  10: 'Q2_K',
  11: 'Q3_K_S',
  12: 'Q3_K_M',
  13: 'Q3_K_L',
  14: 'Q4_K_S',
  15: 'Q4_K_M',
  16: 'Q5_K_S',
  17: 'Q5_K_M',
  18: 'Q6_K',
  19: 'IQ2_XXS',
  20: 'IQ2_XS',
  21: 'Q2_K_S',
  22: 'IQ3_XS',
  23: 'IQ3_XXS',
  24: 'IQ1_S',
  25: 'IQ4_NL',
  26: 'IQ3_S',
  27: 'IQ3_M',
  28: 'IQ2_S',
  29: 'IQ2_M',
  30: 'IQ4_XS',
  31: 'IQ1_M',
  32: 'BF16',
  36: 'TQ1_0',
  37: 'TQ2_0',
  38: 'MXFP4_MOE',
}
