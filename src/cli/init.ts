import { existsSync } from 'node:fs'
import { totalmem } from 'node:os'
import { resolve } from 'node:path'
import { findInstalledProgram } from '../config/engine-service.ts'
import { type Engine, engines, findEngine } from '../config/engines.ts'
import type { Environment } from '../config/secrets.ts'
import { exitCodes, UsageError } from './exit-codes.ts'
import { type Draft, draftConfig, formatSize } from './init/draft.ts'
import { type FoundModels, findKeptModels, findNamedModels } from './init/find-models.ts'
import { listModelPlaces } from './init/model-places.ts'
import { tellNext, toTakenError, type WriteOptions, writeConfig } from './init/write-config.ts'
import { escapeText, formatTable, type Terminal } from './terminal.ts'

export interface InitOptions extends WriteOptions {
  readonly from?: 'llama-swap'
  readonly engine?: string
  readonly context?: number
  readonly idleStop?: string
  readonly yes?: boolean
}

/** The engines that load GGUF files, the best first. */
const GGUF_ENGINES = ['llama.cpp', 'koboldcpp']
const DEFAULT_CONTEXT_TOKENS = 16_384
const DEFAULT_IDLE_STOP = '10m'
/** How much of the memory of a host models may take. */
const MEMORY_SHARE = 0.75

/**
 * `leasehold init [PATH...]`: writes a configuration for the models of this host, or with `--from` for those of another
 * program's. It never writes over a file.
 */
export async function init(
  paths: readonly string[],
  options: InitOptions,
  terminal: Terminal,
  input: NodeJS.ReadStream = process.stdin,
): Promise<number> {
  const file = resolve(options.output)
  if (!options.dryRun && existsSync(file)) throw toTakenError(options.output)
  if (options.from !== undefined) {
    const { importLlamaSwap } = await import('./llama-swap/import-llama-swap.ts')
    return importLlamaSwap(paths, { ...options, file }, terminal)
  }
  const found = await findModels(paths, terminal.env)
  const candidates = listEngines(options.engine, terminal.env)
  for (const { file: broken, reason } of found.broken) terminal.note(`left out: ${broken}: ${reason}`)
  if (found.models.length === 0) throw new UsageError(describeNoModel(paths, terminal.env))

  const given = { contextTokens: options.context, idleStop: options.idleStop }
  const defaults = { contextTokens: DEFAULT_CONTEXT_TOKENS, idleStop: DEFAULT_IDLE_STOP }
  const isAsking =
    input.isTTY === true && terminal.isOutInteractive && !options.yes && !options.dryRun && !options.json
  const choices = isAsking
    ? await (await import('./init/questions.ts')).askChoices({
        engines: candidates.map(({ name }) => name),
        models: found.models,
        defaults,
        given,
        file: options.output,
        input,
        output: process.stdout,
      })
    : {
        engine: candidates[0]?.name ?? '',
        models: found.models,
        contextTokens: given.contextTokens ?? defaults.contextTokens,
        idleStop: given.idleStop ?? defaults.idleStop,
      }
  if (choices === undefined) {
    terminal.note('Nothing was written.')
    return exitCodes.failed
  }
  const draft = draftConfig({ ...choices, memoryBytes: findMemory() })
  await writeConfig(draft.text, { ...options, file }, terminal)
  if (options.json) {
    const models = draft.entries.map(({ id, model, ...facts }) => ({ ref: `${id}/${model}`, ...facts }))
    terminal.json({ ok: true, file, text: draft.text, engine: choices.engine, models, broken: found.broken })
  } else if (!options.dryRun) {
    const program = candidates.find(({ name }) => name === choices.engine)?.program
    tellDraft(draft, `${choices.engine}${program === undefined ? '' : ` (${program})`}`, terminal)
    tellNext(draft.entries[0]?.aliases[0] ?? draft.entries[0]?.model, options.output, terminal)
  }
  return exitCodes.ok
}

async function findModels(paths: readonly string[], env: Environment): Promise<FoundModels> {
  const { models, broken } =
    paths.length > 0
      ? await findNamedModels(paths, process.cwd())
      : await findKeptModels(listModelPlaces(env))
  return { models: models.toSorted((a, b) => (a.file < b.file ? -1 : 1)), broken }
}

interface InstalledEngine {
  readonly name: string
  readonly program?: string
}

/** The engines of this host that load GGUF files, or the one that is named, installed or not. */
function listEngines(named: string | undefined, env: Environment): readonly InstalledEngine[] {
  const look = (name: string, engine: Engine): InstalledEngine => {
    const program = findInstalledProgram(engine, { env })
    return { name, ...(program === undefined ? {} : { program }) }
  }
  if (named !== undefined) {
    const engine = findEngine(named)
    if (engine === undefined)
      throw new UsageError(
        `${named} is not a known engine; the engines are ${Object.keys(engines).join(', ')}.`,
      )
    return [look(named, engine)]
  }
  const installed = Object.entries(engines)
    .map(([name, engine]) => look(name, engine))
    .filter(({ program }) => program !== undefined)
  const fit = GGUF_ENGINES.flatMap((name) => installed.find((one) => one.name === name) ?? [])
  if (fit.length > 0) return fit
  const others = installed.map(({ name, program }) => `${name} (${program})`)
  const [best = ''] = GGUF_ENGINES
  throw new UsageError(
    [
      `No engine that loads GGUF files is in PATH or in the usual places${others.length === 0 ? '' : `; there is ${others.join(', ')}`}.`,
      `Install ${best}: ${engines[best]?.install}. Or write the file for one that is still to be installed, with --engine ${best}.`,
    ].join('\n'),
  )
}

function describeNoModel(paths: readonly string[], env: Environment): string {
  if (paths.length > 0) return `No GGUF file that can be loaded is at ${paths.join(', ')}.`
  const places = listModelPlaces(env).map(({ program, folder }) => `  ${folder} (${program})`)
  return [
    'No GGUF file was found. Looked in:',
    ...places,
    'Name a folder or files: leasehold init FOLDER',
  ].join('\n')
}

/** The memory that models may take; `undefined` with a GPU of its own, whose memory is another. */
function findMemory(): number | undefined {
  const hasOwnMemory = ['/dev/nvidiactl', '/dev/kfd', '/dev/dri'].some((path) => existsSync(path))
  return hasOwnMemory ? undefined : totalmem() * MEMORY_SHARE
}

function tellDraft({ entries }: Draft, engine: string, terminal: Terminal): void {
  terminal.line(`${entries.length} model${entries.length === 1 ? '' : 's'} for ${escapeText(engine)}:`)
  const rows = entries.map(({ model, aliases, kind, contextTokens, weightBytes, cacheBytes }) => [
    `  ${aliases.join(', ') || model}`,
    kind,
    `${contextTokens} tokens`,
    `about ${formatSize(weightBytes + cacheBytes)}`,
  ])
  for (const line of formatTable(rows)) terminal.line(escapeText(line))
}
