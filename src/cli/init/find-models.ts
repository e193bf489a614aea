import { type Dirent, readdirSync, realpathSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join, relative, resolve, sep } from 'node:path'
import { type GgufModel, readGguf } from '../../config/gguf.ts'
import { isObject } from '../../json/value.ts'
import { toPlainText } from '../../text/plain-text.ts'
import { UsageError } from '../exit-codes.ts'
import type { ModelPlace } from './model-places.ts'

/** A model of this host that a server can load. */
export interface FoundModel extends GgufModel {
  /** The name that its program gives it, where its file has none: `qwen3:8b`. */
  readonly label?: string
}

/** A file that looks like a model and cannot be loaded. */
export interface BrokenModel {
  readonly file: string
  readonly reason: string
}

/** Models, and what looks like one. */
export interface FoundModels {
  readonly models: readonly FoundModel[]
  readonly broken: readonly BrokenModel[]
}

/** How deep below a folder, and how many entries of it, are looked at: a folder may be a whole disk. */
const MAX_DEPTH = 8
const MAX_ENTRIES = 100_000
const MAX_MANIFEST_BYTES = 1024 * 1024

/**
 * Reads the GGUF files that are named, and those below the folders that are named.
 * @throws {UsageError} when one is not there.
 */
export async function findNamedModels(paths: readonly string[], folder: string): Promise<FoundModels> {
  const files = paths.flatMap((path) => {
    const place = resolve(folder, path)
    const entry = statSync(place, { throwIfNoEntry: false })
    if (entry === undefined) throw new UsageError(`${path} does not exist.`)
    return entry.isDirectory() ? listGgufFiles(place) : [place]
  })
  return readModels(files.map((file) => ({ file })))
}

/** Reads the models that programs of this host keep. Places that are not there have none. */
export async function findKeptModels(places: readonly ModelPlace[]): Promise<FoundModels> {
  const files = await Promise.all(
    places.map(async ({ folder, kind }) => {
      if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return []
      return kind === 'ollama' ? listOllamaModels(folder) : listGgufFiles(folder).map((file) => ({ file }))
    }),
  )
  return readModels(files.flat())
}

interface Candidate {
  readonly file: string
  readonly label?: string
  readonly projector?: string
}

/** Each file once, however many links and names lead to it. */
async function readModels(candidates: readonly Candidate[]): Promise<FoundModels> {
  const models: FoundModel[] = []
  const broken: BrokenModel[] = []
  const seen = new Set<string>()
  for (const { file, label, projector } of candidates) {
    const target = toTarget(file)
    if (seen.has(target)) continue
    seen.add(target)
    try {
      const model = await readGguf(file)
      if (model.kind === 'projector' || model.kind === 'adapter') continue
      const reason = findFault(model)
      if (reason !== undefined) broken.push({ file, reason })
      else
        models.push({
          ...model,
          ...(label === undefined ? {} : { label }),
          ...(projector === undefined ? {} : { projectors: [projector] }),
        })
    } catch (error) {
      broken.push({ file, reason: error instanceof Error ? error.message : String(error) })
    }
  }
  return { models, broken }
}

function findFault(model: GgufModel): string | undefined {
  const { file, missing, cut, architecture, hasVocabulary, hasWeights } = model
  const [lost] = missing
  if (lost !== undefined) {
    const more = missing.length > 1 ? ` and ${missing.length - 1} more` : ''
    return `the part ${nameOf(lost)}${more} is not there`
  }
  if (!hasWeights) return 'it holds no weights'
  if (!hasVocabulary) return `it has no vocabulary, so it is no language model (${toPlainText(architecture)})`
  const [short] = cut
  if (short === undefined) return undefined
  const which = short === file ? 'the file' : `the part ${nameOf(short)}`
  return `${which} ends within its weights: its download was cut`
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf(sep) + 1)
}

function toTarget(file: string): string {
  try {
    return realpathSync(file)
  } catch {
    return file
  }
}

/** Every GGUF file below a folder; of one in several parts the first that is there. */
function listGgufFiles(folder: string): string[] {
  let left = MAX_ENTRIES
  const walk = (place: string, depth: number): string[] => {
    const entries = list(place).sort((a, b) => (a.name < b.name ? -1 : 1))
    left -= entries.length
    if (left < 0) return []
    return entries.flatMap((entry) => {
      const path = join(place, entry.name)
      if (/\.gguf$/i.test(entry.name)) return isFile(path) ? [path] : []
      // Links to folders may lead around in circles.
      return entry.isDirectory() && !entry.name.startsWith('.') && depth < MAX_DEPTH
        ? walk(path, depth + 1)
        : []
    })
  }
  const files = walk(folder, 0)
  const first = new Map<string, string>()
  for (const file of files) {
    const stem = file.replace(/-\d{5}(-of-\d{5}\.gguf)$/i, '$1')
    if (!first.has(stem)) first.set(stem, file)
  }
  return [...first.values()]
}

function list(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
  } catch {
    return []
  }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true
}

/** Ollama's manifests are at `manifests/HOST/NAMESPACE/NAME/TAG`; each names its blobs by their digests. */
async function listOllamaModels(folder: string): Promise<Candidate[]> {
  const manifests = join(folder, 'manifests')
  const walk = (place: string, depth: number): string[] =>
    list(place).flatMap((entry) => {
      const path = join(place, entry.name)
      if (entry.isDirectory()) return depth < MAX_DEPTH ? walk(path, depth + 1) : []
      return entry.isFile() ? [path] : []
    })
  const candidates = await Promise.all(
    walk(manifests, 0).map(async (file): Promise<Candidate[]> => {
      const layers = await readLayers(file)
      const model = findLayer(layers, 'application/vnd.ollama.image.model')
      if (model === undefined) return []
      const projector = findLayer(layers, 'application/vnd.ollama.image.projector')
      const toBlob = (digest: string) => join(folder, 'blobs', digest.replace(':', '-'))
      return [
        {
          file: toBlob(model),
          label: toOllamaName(relative(manifests, file).split(sep)),
          ...(projector === undefined ? {} : { projector: toBlob(projector) }),
        },
      ]
    }),
  )
  // A blob that has several names goes by the shortest: `llava:7b`, not `jane/llava:copy`.
  return candidates.flat().toSorted((a, b) => (a.label?.length ?? 0) - (b.label?.length ?? 0))
}

async function readLayers(file: string): Promise<readonly unknown[]> {
  try {
    if (statSync(file).size > MAX_MANIFEST_BYTES) return []
    const manifest: unknown = JSON.parse(await readFile(file, 'utf8'))
    return isObject(manifest) && Array.isArray(manifest.layers) ? manifest.layers : []
  } catch {
    return []
  }
}

function findLayer(layers: readonly unknown[], type: string): string | undefined {
  const layer = layers.find((one) => isObject(one) && one.mediaType === type)
  const digest = isObject(layer) ? layer.digest : undefined
  // A digest becomes a path.
  return typeof digest === 'string' && /^sha256:[0-9a-f]{64}$/.test(digest) ? digest : undefined
}

/** As `ollama list` writes it: without the host and the namespace that are the default. */
function toOllamaName(parts: readonly string[]): string {
  const [host = '', ...rest] = parts
  const tag = rest.at(-1) ?? ''
  const names = rest.slice(0, -1)
  const isDefaultHost = host === 'registry.ollama.ai'
  const path =
    isDefaultHost && names[0] === 'library' ? names.slice(1) : isDefaultHost ? names : [host, ...names]
  return `${path.join('/')}:${tag}`
}
