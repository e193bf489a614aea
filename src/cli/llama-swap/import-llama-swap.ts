import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { findInstalledProgram } from '../../config/engine-service.ts'
import { engines } from '../../config/engines.ts'
import { exitCodes, UsageError } from '../exit-codes.ts'
import { describeFileFault } from '../file-fault.ts'
import { tellNext, type WriteOptions, writeConfig } from '../init/write-config.ts'
import { escapeText, type Terminal } from '../terminal.ts'
import { type SwapNote, translateSwap } from './translate.ts'
import { parseYaml } from './yaml-file.ts'

/** Largest file that is read, in bytes. */
const MAX_BYTES = 4 * 1_048_576

/** `leasehold init --from llama-swap FILE`: translates a configuration of llama-swap's. */
export async function importLlamaSwap(
  paths: readonly string[],
  options: WriteOptions & { readonly file: string },
  terminal: Terminal,
): Promise<number> {
  const [source = 'config.yaml', ...others] = paths
  if (others.length > 0) throw new UsageError('Name one file: that of llama-swap.')
  const yaml = parseYaml(await read(source), source)
  const { text, notes, models } = translateSwap(yaml, {
    env: terminal.env,
    file: source,
    folder: dirname(resolve(source)),
    findProgram: (name) => {
      const engine = Object.values(engines).find(({ programs }) => programs.includes(name))
      return findInstalledProgram({ programs: [name], places: engine?.places ?? [] }, terminal)
    },
  })
  for (const note of notes) terminal.note(formatNote(source, note))
  if (models.length === 0) throw new UsageError(`${source} has no model that can be run.`)
  await writeConfig(text, options, terminal)
  if (options.json) terminal.json({ ok: true, file: options.file, text, models, notes })
  else if (!options.dryRun) {
    const lines = notes.length === 1 ? '1 of its lines has' : `${notes.length} of its lines have`
    const differ = notes.length === 0 ? '' : `; ${lines} no equal, or one that differs: see above`
    terminal.line(
      `${models.length} model${models.length === 1 ? '' : 's'} of ${escapeText(source)}${differ}.`,
    )
    tellNext(models[0], options.output, terminal)
    terminal.line("Clients of llama-swap's usual port need: leasehold serve --port 8080")
  }
  return exitCodes.ok
}

/** `config.yaml:12: models.qwen.cmdStop: …`, as editors recognise it. */
function formatNote(source: string, { line, path, message }: SwapNote): string {
  return `${source}:${line}: ${path.join('.')}: ${message}`
}

async function read(source: string): Promise<string> {
  try {
    const entry = await stat(source)
    // A pipe without a writer is read for ever, and a device has no end.
    if (!entry.isFile()) {
      const kind = entry.isDirectory() ? 'a folder' : 'a pipe or a device'
      throw new UsageError(`${source} is ${kind}. Name the configuration file of llama-swap.`)
    }
    const chunks: Uint8Array[] = []
    let size = 0
    // The size that a file tells may be wrong: one byte beyond the limit shows that there is too much.
    for await (const chunk of createReadStream(source, { end: MAX_BYTES })) {
      chunks.push(chunk)
      size += chunk.length
    }
    if (size > MAX_BYTES)
      throw new UsageError(
        `${source} is larger than ${MAX_BYTES / 1_048_576} MiB, so it is not taken for a configuration of llama-swap.`,
      )
    return Buffer.concat(chunks).toString('utf8')
  } catch (error) {
    if (error instanceof UsageError) throw error
    const isAbsent = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    throw new UsageError(
      `${source} ${isAbsent ? 'does not exist' : `cannot be read: ${describeFileFault(error)}`}.`,
    )
  }
}
