import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Config, LocalServiceConfig } from '../config/config.ts'
import { readGguf } from '../config/gguf.ts'
import { readGgufHeader } from '../config/gguf-header.ts'
import type { ModelAbilities } from './model-abilities.ts'

/** What the GGUF files that services are to load say about their models. */
export interface FileAbilities {
  /** Reads the headers of files that are new or have changed. Nothing is started for it. */
  look(config: Config): Promise<void>
  /** `undefined`: the service loads no file that was read. */
  of(key: string): ModelAbilities | undefined
}

/** Files that are read at the same time. */
const MAX_READING = 4

/** Creates the reader. What it has read it keeps until the file changes. */
export function createFileAbilities(): FileAbilities {
  const known = new Map<
    string,
    { readonly version: string; readonly abilities: ModelAbilities | undefined }
  >()

  const read = async ({ key, args, cwd }: LocalServiceConfig) => {
    const files = findFiles(args, cwd)
    const version = await describeVersion(files)
    if (known.get(key)?.version === version) return
    known.set(key, { version, abilities: await readAbilities(files, args).catch(() => undefined) })
  }
  return {
    look: async ({ providers }) => {
      const services = new Map(providers.flatMap(({ localService: one }) => (one ? [[one.key, one]] : [])))
      for (const key of known.keys()) if (!services.has(key)) known.delete(key)
      const waiting = [...services.values()].filter(({ args, cwd }) => findFiles(args, cwd).length > 0)
      await Promise.all(
        Array.from({ length: MAX_READING }, async () => {
          for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) await read(next)
        }),
      )
    },
    of: (key) => known.get(key)?.abilities,
  }
}

/** The model's file and its projector's, as arguments name them. */
function findFiles(args: readonly string[], cwd: string | undefined): readonly string[] {
  const files = args.map((arg) => arg.replace(/^--?[\w-]+=/, '')).filter((arg) => /\.gguf$/i.test(arg))
  return files.map((file) => resolve(cwd ?? '.', file))
}

async function describeVersion(files: readonly string[]): Promise<string> {
  const versions = files.map(async (file) => {
    const entry = await stat(file).catch(() => undefined)
    return `${file} ${entry?.size} ${entry?.mtimeMs}`
  })
  return (await Promise.all(versions)).join('\n')
}

async function readAbilities(
  files: readonly string[],
  args: readonly string[],
): Promise<ModelAbilities | undefined> {
  const models = await Promise.all(files.map(async (file) => readGguf(file)))
  const model = models.find(({ kind }) => kind !== 'projector' && kind !== 'adapter')
  if (model === undefined) return undefined
  if (model.kind === 'embedding' || args.some((arg) => /^--embeddings?$/.test(arg)))
    return { input: ['text'], kind: 'embedding' }
  if (model.kind === 'reranker') return { input: ['text'], kind: 'rerank' }
  const projectors = models.filter(({ kind }) => kind === 'projector')
  const senses = await Promise.all(projectors.map(({ file }) => readSenses(file)))
  const { template } = model
  return {
    input: ['text', ...new Set(senses.flat())],
    // Without Jinja, llama-server refuses every request with tools.
    tools: template?.tools === true && !args.includes('--no-jinja'),
    thinking: template?.thinking === true,
    kind: 'completion',
  }
}

/** What a projector turns into tokens. Older ones do not say it, and are for images. */
async function readSenses(file: string): Promise<readonly string[]> {
  const { values } = await readGgufHeader(file)
  const hasAudio = values.get('clip.has_audio_encoder') === true
  const hasVision = values.get('clip.has_vision_encoder') ?? !hasAudio
  return [...(hasVision === true ? ['image'] : []), ...(hasAudio ? ['audio'] : [])]
}
