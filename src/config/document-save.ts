import { randomUUID } from 'node:crypto'
import { open, realpath, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { ConfigError } from '../errors.ts'
import type { Config } from './config.ts'
import { openDocument, readDocument } from './document.ts'
import { type Edit, EditError, editDocument } from './document-edit.ts'
import { type FileOptions, loadConfig } from './load.ts'
import { isOpenClawFile } from './openclaw.ts'

export interface SaveOptions extends FileOptions {
  /** The text that the edits were made for: a file that holds another by now is left alone. */
  readonly expected: string
  /** What is wrong with the configuration that the edited file gives. Absent: nothing. */
  readonly check?: (config: Config) => string | undefined
}

/**
 * Writes edits into a configuration file, all or none: the edited text is written to a draft beside it, loaded as a
 * configuration, and takes the place of the file in one step. Comments, permissions and a link to the file stay.
 * @throws {@link ConfigError} when the file changed meanwhile, is OpenClaw's, cannot be written, or would be invalid: then it is as it was
 */
export async function saveDocument(
  file: string,
  edits: readonly Edit[],
  { expected, check, ...options }: SaveOptions,
): Promise<void> {
  const before = await readDocument(file)
  if (before !== expected) throw toRefusal(file, CHANGED)
  if (isOpenClawFile(openDocument(before, file).value, file))
    throw toRefusal(file, "the file is OpenClaw's, whose keys are not ours to add to; nothing was written")
  const edited = attemptToEdit(file, before, edits)
  const target = await realpath(file)
  const draft = join(dirname(target), `.${basename(target)}.${randomUUID()}`)
  try {
    await write(draft, edited, (await stat(target)).mode & 0o777)
    const fault = await findFault(draft, options, check)
    if (fault !== undefined)
      throw toRefusal(file, `the file would be invalid (${fault}); nothing was written`)
    if ((await readDocument(file)) !== expected) throw toRefusal(file, CHANGED)
    await rename(draft, target)
  } catch (error) {
    if (error instanceof ConfigError) throw error
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
    throw toRefusal(file, `the file cannot be written (${code}); it is as it was`, error)
  } finally {
    await rm(draft, { force: true })
  }
}

const CHANGED = 'the file has changed meanwhile; nothing was written'

function attemptToEdit(file: string, text: string, edits: readonly Edit[]): string {
  try {
    return editDocument(text, edits)
  } catch (error) {
    if (error instanceof EditError) throw toRefusal(file, `${error.message}; nothing was written`, error)
    throw error
  }
}

async function write(draft: string, text: string, mode: number): Promise<void> {
  const handle = await open(draft, 'wx', mode)
  try {
    // The umask may have taken some away.
    await handle.chmod(mode)
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function findFault(
  draft: string,
  options: FileOptions,
  check: SaveOptions['check'],
): Promise<string | undefined> {
  try {
    const config = await loadConfig(draft, options)
    return check?.(config)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const [problem] = error.problems.filter(({ severity }) => severity === 'error')
    return problem === undefined ? error.message : `${problem.path}: ${problem.message}`
  }
}

function toRefusal(file: string, message: string, cause?: unknown): ConfigError {
  return new ConfigError(
    file,
    [{ severity: 'error', path: '', message }],
    cause === undefined ? undefined : { cause },
  )
}
