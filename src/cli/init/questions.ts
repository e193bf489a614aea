import type { Readable, Writable } from 'node:stream'
import * as prompts from '@clack/prompts'
import { estimateMemory } from '../../config/gguf.ts'
import { escapeText } from '../terminal.ts'
import { formatSize } from './draft.ts'
import type { FoundModel } from './find-models.ts'
import { nameModels } from './model-names.ts'

/** What a person decides. */
export interface Choices {
  readonly engine: string
  readonly models: readonly FoundModel[]
  readonly contextTokens: number
  readonly idleStop: string
}

export interface Questions {
  readonly engines: readonly string[]
  readonly models: readonly FoundModel[]
  /** What is chosen unless the person chooses otherwise. */
  readonly defaults: Pick<Choices, 'contextTokens' | 'idleStop'>
  /** Options of the command line: they are not asked for again. */
  readonly given: { readonly contextTokens?: number | undefined; readonly idleStop?: string | undefined }
  readonly file: string
  readonly input: Readable
  readonly output: Writable
}

const CONTEXT_SIZES = [4096, 8192, 16_384, 32_768, 65_536, 131_072]
const IDLE_STOPS = ['5m', '10m', '30m', '2h', '0']

/** Asks on a terminal what a new file shall say. `undefined`: the person gave up. */
export async function askChoices({
  engines,
  models,
  defaults,
  given,
  file,
  input,
  output,
}: Questions): Promise<Choices | undefined> {
  const io = { input, output }
  const [first = ''] = engines
  prompts.intro('leasehold init', io)
  const engine =
    engines.length < 2
      ? first
      : await prompts.select({
          message: 'Which engine shall load the models?',
          options: engines.map((value) => ({ value })),
          ...io,
        })
  if (prompts.isCancel(engine)) return undefined

  const names = nameModels(models)
  const picked =
    models.length < 2
      ? [0]
      : await prompts.multiselect({
          message: 'Which models?',
          options: models.map((model, index) => ({
            value: index,
            label: names[index]?.model ?? '',
            hint: `${formatSize(model.bytes)}, ${escapeText(model.file)}`,
          })),
          initialValues: models.map((_, index) => index),
          required: true,
          maxItems: 15,
          ...io,
        })
  if (prompts.isCancel(picked)) return undefined
  const chosen = models.filter((_, index) => picked.includes(index))

  const contextTokens = given.contextTokens ?? (await askContext(chosen, defaults.contextTokens, io))
  if (prompts.isCancel(contextTokens)) return undefined
  const idleStop =
    given.idleStop ??
    (await prompts.select({
      message: 'When shall a server stop that is not used?',
      options: IDLE_STOPS.map((value) => ({ value, label: value === '0' ? 'never' : `after ${value}` })),
      initialValue: defaults.idleStop,
      ...io,
    }))
  if (prompts.isCancel(idleStop)) return undefined
  const isSure = await prompts.confirm({ message: `Write ${escapeText(file)}?`, ...io })
  if (prompts.isCancel(isSure) || !isSure) return undefined
  return { engine, models: chosen, contextTokens, idleStop }
}

async function askContext(
  models: readonly FoundModel[],
  initialValue: number,
  io: { readonly input: Readable; readonly output: Writable },
): Promise<number | typeof prompts.CANCEL_SYMBOL> {
  const trained = Math.max(...models.map(({ contextTokens }) => contextTokens ?? Number.POSITIVE_INFINITY))
  const sizes = CONTEXT_SIZES.filter((size) => size <= trained)
  const needs = (size: number) =>
    Math.max(
      ...models.map((model) => {
        const { weightBytes, cacheBytes } = estimateMemory(model, Math.min(size, model.contextTokens ?? size))
        return weightBytes + cacheBytes
      }),
    )
  if (sizes.length < 2) return Math.min(initialValue, trained)
  return prompts.select({
    message: 'How large shall the context be, in tokens?',
    options: sizes.map((value) => ({
      value,
      label: String(value),
      hint: `the largest model takes about ${formatSize(needs(value))}`,
    })),
    initialValue: Math.min(initialValue, sizes.at(-1) ?? initialValue),
    ...io,
  })
}
