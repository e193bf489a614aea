import { basename, dirname } from 'node:path'
import { estimateMemory, toPlainName } from '../../config/gguf.ts'
import { toPlainText } from '../../text/plain-text.ts'
import type { FoundModel } from './find-models.ts'
import { type Comments, escapeVariables, formatJson5, type Json5Value, pathKey } from './json5-text.ts'
import { type ModelNames, nameModels } from './model-names.ts'

/** What a new file is made from. */
export interface DraftOptions {
  readonly models: readonly FoundModel[]
  /** The name of the engine that loads them. */
  readonly engine: string
  /** Longest context to load a model with, in tokens; a model that was trained with less gets that. */
  readonly contextTokens: number
  /** `10m`. `0`: the servers stay up. */
  readonly idleStop: string
  /** Memory that models may take together. Absent: not known, for instance that of a GPU. */
  readonly memoryBytes?: number | undefined
}

/** A new file, and the names in it. */
export interface Draft {
  readonly text: string
  readonly entries: readonly DraftEntry[]
}

/** One model of a new file. */
export interface DraftEntry extends ModelNames {
  readonly model: string
  readonly file: string
  readonly kind: FoundModel['kind']
  /** Absent: neither the engine nor the header says. */
  readonly contextTokens?: number
  readonly weightBytes: number
  readonly cacheBytes: number
}

/** Embeddings are computed in one batch, so the batch must hold the longest text; its buffers grow with it. */
const MAX_EMBEDDING_TOKENS = 8192

/** Writes the text of a configuration for models of this host. */
export function draftConfig(options: DraftOptions): Draft {
  const { models, engine, idleStop, memoryBytes } = options
  const names = nameModels(models)
  const entries = models.map((model, index) => toEntry(model, names[index], options))
  const comments = new Map<string, readonly string[]>([[pathKey(), HEAD]])
  const providers = models.map((model, index) => {
    const entry = entries[index] ?? toEntry(model, undefined, options)
    comments.set(pathKey('models', 'providers', entry.id), describeModel(model, entry))
    return [entry.id, toProvider(model, entry, options)] as const
  })
  const talkers = entries.filter(({ kind }) => kind === 'chat' || kind === 'base')
  const first = findFirst(talkers)
  const together = entries.reduce((sum, { weightBytes, cacheBytes }) => sum + weightBytes + cacheBytes, 0)
  const isTight = memoryBytes === undefined || together > memoryBytes
  const group = talkers.length > 1 && isTight ? talkers.map(({ id }) => id) : undefined
  if (group !== undefined)
    comments.set(pathKey('leasehold', 'groups'), [
      'Only one model of a group is loaded at a time. Leave out a name to let that model run beside the others.',
      'With `budgets` instead, for instance { vramMiB: 24000 }, leasehold measures which fit together.',
    ])
  if (first !== undefined) comments.set(pathKey('agents'), ['The model of a request that names none.'])
  comments.set(pathKey('leasehold', 'defaults'), [
    `What every localService takes over. ${idleStop === '0' ? 'A server that was started stays up.' : `A server stops ${idleStop} after its last request.`}`,
  ])
  const file: Json5Value = {
    leasehold: {
      defaults: { engine, idleStopMs: idleStop === '0' ? 0 : idleStop },
      ...(group === undefined ? {} : { groups: { chat: group } }),
    },
    ...(first === undefined ? {} : { agents: { defaults: { model: `${first.id}/${first.model}` } } }),
    models: { providers: Object.fromEntries(providers) },
  }
  return { text: formatJson5(file, comments satisfies Comments), entries }
}

const HEAD = [
  'Configuration of leasehold. `leasehold config validate` checks it, `leasehold serve` runs it.',
  'A request names a model by its id or its alias. The first request for a model starts its server.',
  '',
  'The memory of a model is about: its weights (the size of its files) + its cache (the sum over its layers of',
  'min(context, window) × (keys + values) × 2 bytes) + buffers of 0.1 to 1 GiB.',
]

function toEntry(
  model: FoundModel,
  names: ModelNames | undefined,
  { contextTokens: wanted }: DraftOptions,
): DraftEntry {
  const most = model.kind === 'embedding' || model.kind === 'reranker' ? MAX_EMBEDDING_TOKENS : wanted
  const contextTokens = Math.min(wanted, most, model.contextTokens ?? wanted)
  return {
    id: names?.id ?? 'model',
    model: names?.model ?? 'model',
    aliases: names?.aliases ?? [],
    file: model.file,
    kind: model.kind,
    contextTokens,
    ...estimateMemory(model, contextTokens),
  }
}

function toProvider(
  model: FoundModel,
  { model: id, aliases, contextTokens = 0 }: DraftEntry,
  { engine, models }: DraftOptions,
): Json5Value {
  const projector = engine === 'llama.cpp' ? pickProjector(model, models) : undefined
  const args = engine === 'llama.cpp' ? listArgs(model, contextTokens, projector) : []
  const [alias, ...more] = aliases
  return {
    localService: {
      model: escapeVariables(model.file),
      context: contextTokens,
      ...(args.length === 0 ? {} : { args }),
    },
    models: [
      {
        id,
        ...(alias === undefined ? {} : { alias: more.length === 0 ? alias : aliases }),
        ...(model.template?.thinking ? { reasoning: true } : {}),
        ...(projector === undefined ? {} : { input: ['text', 'image'] }),
      },
    ],
  }
}

function listArgs({ kind }: FoundModel, contextTokens: number, projector: string | undefined): string[] {
  const batch = ['--batch-size', String(contextTokens), '--ubatch-size', String(contextTokens)]
  if (kind === 'embedding') return ['--embeddings', ...batch]
  if (kind === 'reranker') return ['--reranking', ...batch]
  return projector === undefined ? [] : ['--mmproj', escapeVariables(projector)]
}

/**
 * The projector of a model. A folder may hold several models and their projectors: one that names a model goes with that
 * model, and one that names none goes with the only model of its folder.
 */
function pickProjector({ file, projectors }: FoundModel, models: readonly FoundModel[]): string | undefined {
  const nameOf = (path: string) =>
    toLetters(basename(path).replace(/mmproj|model|(bf?16|f16|f32|q8_0)?(\.gguf)?$/gi, ''))
  const stem = toLetters(basename(file))
  const named = projectors.filter((path) => nameOf(path) !== '' && stem.startsWith(nameOf(path)))
  const inFolder = models.filter((other) => dirname(other.file) === dirname(file))
  const isOnlyOne = new Set(inFolder.map((other) => toPlainName(other.file))).size === 1
  const nameless = isOnlyOne ? projectors.filter((path) => nameOf(path) === '') : []
  // Ollama's have digests for names, and its manifest says whose they are.
  const stated = projectors.filter((path) => !/\.gguf$/i.test(path))
  const fit = [named, nameless, stated].find((paths) => paths.length > 0) ?? []
  return fit.find((path) => /[-_.]f16\.gguf$/i.test(path)) ?? fit[0]
}

function toLetters(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]/g, '')
}

/** The largest chat model: probably the best. */
function findFirst(entries: readonly DraftEntry[]): DraftEntry | undefined {
  const chats = entries.filter(({ kind }) => kind === 'chat')
  return (chats.length > 0 ? chats : entries).toSorted((a, b) => b.weightBytes - a.weightBytes)[0]
}

function describeModel(
  { name, quantization, kind, template, contextTokens: trained }: FoundModel,
  { weightBytes, cacheBytes, contextTokens = 0 }: DraftEntry,
): string[] {
  const facts = [
    toPlainText(name).slice(0, 80),
    quantization,
    describeKind(kind, template),
    trained === undefined ? undefined : `trained with ${trained} tokens`,
  ].filter((fact) => fact !== undefined)
  return [
    facts.join(', '),
    `About ${formatSize(weightBytes + cacheBytes)}: weights ${formatSize(weightBytes)} + cache ${formatSize(cacheBytes)} at ${contextTokens} tokens.`,
  ]
}

function describeKind(kind: FoundModel['kind'], template: FoundModel['template']): string {
  if (kind === 'embedding') return 'embeddings'
  if (kind === 'reranker') return 'reranking'
  if (kind !== 'chat') return 'no chat template, so for completions'
  return ['chat', template?.tools ? 'tools' : '', template?.thinking ? 'thinking' : '']
    .filter((word) => word !== '')
    .join(' + ')
}

/** `4.7 GiB`, `34 MiB`. */
export function formatSize(bytes: number): string {
  const mib = bytes / 1024 ** 2
  return mib >= 1024
    ? `${(mib / 1024).toFixed(1)} GiB`
    : `${mib >= 10 ? Math.round(mib) : mib.toFixed(1)} MiB`
}
