import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { resolve } from 'node:path'
import { findInstalledProgram } from '../config/engine-service.ts'
import { type Engine, engines, findEngine } from '../config/engines.ts'
import { parseConfig } from '../config/load.ts'
import type { Environment } from '../config/secrets.ts'
import { loadConfiguration } from './configuration.ts'
import { exitCodes, formatProblem, UsageError } from './exit-codes.ts'
import { type Draft, draftConfig, formatSize } from './init/draft.ts'
import { type FoundModels, findKeptModels, findNamedModels } from './init/find-models.ts'
import { listModelPlaces } from './init/model-places.ts'
import { escapeText, formatTable, type Terminal } from './terminal.ts'

export interface InitOptions {
  readonly engine?: string
  readonly context?: number
  readonly idleStop?: string
  readonly output: string
  readonly dryRun?: boolean
  readonly yes?: boolean
  readonly json?: boolean
}

/** The engines that load GGUF files, the best first. */
const GGUF_ENGINES = ['llama.cpp', 'koboldcpp']
const DEFAULT_CONTEXT_TOKENS = 16_384
const DEFAULT_IDLE_STOP = '10m'
/** How much of the memory of a host models may take. */
const MEMORY_SHARE = 0.75

/**
 * `leasehold init [PATH...]`: writes a configuration for the models of this host. It never writes over a file.
 */
export async function init(
  paths: readonly string[],
  options: InitOptions,
  terminal: Terminal,
  input: NodeJS.ReadStream = process.stdin,
): Promise<number> {
  const file = resolve(options.output)
  if (!options.dryRun && existsSync(file)) throw toTakenError(options.output)
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

/**
 * Checks a new configuration and writes it, or prints it with `dryRun`. Only its owner can read it: keys may be added.
 * @throws {UsageError} when the file is there.
 */
export async function writeConfig(
  text: string,
  { file, output, dryRun, json }: Pick<InitOptions, 'output' | 'dryRun' | 'json'> & { readonly file: string },
  terminal: Terminal,
): Promise<void> {
  parseConfig(text, { file, env: terminal.env })
  if (dryRun) {
    if (!json) terminal.out(escapeText(text))
    return
  }
  try {
    await writeFile(file, text, { mode: 0o600, flag: 'wx' })
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') throw toTakenError(output)
    throw error
  }
  const { problems } = await loadConfiguration(file, terminal.env)
  for (const problem of problems) terminal.note(formatProblem(output, problem))
}

/** Prints what to do with a new file. */
export function tellNext(model: string | undefined, output: string, terminal: Terminal): void {
  const config = output === 'leasehold.json5' ? '' : ` --config ${output}`
  terminal.line(`\nWrote ${escapeText(output)}. Next:`)
  terminal.line(`  leasehold serve${config}`)
  if (model !== undefined) terminal.line(`  leasehold chat ${model}${config}`)
}

function toTakenError(output: string): UsageError {
  return new UsageError(
    `${output} exists already, and is never written over. Name another file with --output, or look with --dry-run.`,
  )
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
