import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { findConfigurationFile, loadConfiguration } from '../configuration.ts'
import { DEMO_NAME } from '../demo-config.ts'
import { exitCodes, UsageError } from '../exit-codes.ts'
import { describeFileFault } from '../file-fault.ts'
import { escapeText, type Terminal } from '../terminal.ts'
import { formatLaunchdPlist } from './launchd-plist.ts'
import { buildServiceSetup, findServiceFile, type ServiceManager } from './service-setup.ts'
import { formatSystemdUnit } from './systemd-unit.ts'

export interface ServiceOptions {
  readonly config?: string
  readonly manager?: ServiceManager
  readonly json?: boolean
}

export interface InstallOptions extends ServiceOptions {
  /** Writes without asking. */
  readonly yes?: boolean
  /** Writes over a file with another content. */
  readonly force?: boolean
}

/** A service file, and where it belongs. */
interface ServiceFile {
  readonly manager: ServiceManager
  readonly file: string
  readonly text: string
  /** Commands that make it work. */
  readonly next: readonly string[]
}

/** `leasehold service print`: shows the file that starts leasehold when the user logs in. */
export async function printService(options: ServiceOptions, terminal: Terminal): Promise<number> {
  const service = await buildServiceFile(options, terminal)
  if (options.json) terminal.json({ ok: true, ...service })
  else terminal.out(escapeText(service.text))
  return exitCodes.ok
}

/** `leasehold service install`: shows the file, asks, and writes it. */
export async function installService(
  options: InstallOptions,
  terminal: Terminal,
  input: NodeJS.ReadStream = process.stdin,
): Promise<number> {
  const service = await buildServiceFile(options, terminal)
  const { file, text } = service
  const before = await readExisting(file)
  if (!options.json) {
    terminal.line(terminal.paint('bold', escapeText(file)))
    terminal.out(`${escapeText(text)}\n`)
  }
  if (before !== undefined && before !== text && !options.force)
    throw new UsageError(
      `${file} exists already and is different. Nothing was written; --force writes over it.`,
    )
  if (before !== text) {
    if (!options.yes && !(await confirm(service, options, terminal, input))) {
      terminal.note('Nothing was written.')
      return exitCodes.failed
    }
    try {
      await makeFolder(dirname(file))
      await writeWhole(file, text)
    } catch (error) {
      throw toUnusableError(file, `cannot be written: ${describeFileFault(error)}`)
    }
  }
  if (options.json) terminal.json({ ok: true, isChanged: before !== text, ...service })
  else {
    terminal.line(before === text ? 'It is there already. To start it:' : 'Written. To start it:')
    for (const command of service.next) terminal.line(`  ${escapeText(command)}`)
  }
  return exitCodes.ok
}

async function buildServiceFile(options: ServiceOptions, { env }: Terminal): Promise<ServiceFile> {
  const found = findConfigurationFile(options.config, env)
  if (found === undefined || found === DEMO_NAME)
    throw new UsageError('There is no configuration file to run with. Write one with: leasehold init')
  if (/\p{Cc}/u.test(resolve(found)))
    throw new UsageError(
      'The path of the configuration has a control character, which a service file cannot name.',
    )
  const { manager = process.platform === 'darwin' ? 'launchd' : 'systemd' } = options
  const config = await loadConfiguration(found, env)
  const setup = buildServiceSetup(config, found, { argv: process.argv, execPath: process.execPath, env })
  const file = findServiceFile(manager, env)
  return manager === 'launchd'
    ? { manager, file, text: formatLaunchdPlist(setup), next: [`launchctl bootstrap gui/$(id -u) ${file}`] }
    : {
        manager,
        file,
        text: formatSystemdUnit(setup),
        next: [
          'systemctl --user daemon-reload',
          'systemctl --user enable --now leasehold',
          'loginctl enable-linger  # it also runs while you are not logged in',
        ],
      }
}

/** @throws {UsageError} where there is no terminal to ask on */
async function confirm(
  { file }: ServiceFile,
  { json }: InstallOptions,
  terminal: Terminal,
  input: NodeJS.ReadStream,
): Promise<boolean> {
  if (json || input.isTTY !== true || !terminal.isOutInteractive)
    throw new UsageError('Nothing was written: say --yes to write it without being asked.')
  const prompts = await import('@clack/prompts')
  const answer = await prompts.confirm({ message: `Write ${file}?`, input, output: process.stdout })
  return answer === true
}

async function readExisting(file: string): Promise<string | undefined> {
  try {
    // A pipe without a writer is read for ever.
    if (!(await stat(file)).isFile()) throw toUnusableError(file, 'is there, and is not a regular file')
    return await readFile(file, 'utf8')
  } catch (error) {
    if (error instanceof UsageError) throw error
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw toUnusableError(file, `cannot be read: ${describeFileFault(error)}`)
  }
}

function toUnusableError(file: string, problem: string): UsageError {
  return new UsageError(
    `The service file ${file} ${problem}. Nothing was written. Set XDG_CONFIG_HOME (systemd) or HOME to a folder that this user may write, or write the file yourself with: leasehold service print`,
  )
}

/** `recursive` of Node never ends where a folder exists and takes none, such as /proc. */
async function makeFolder(folder: string, canGoUp = true): Promise<void> {
  try {
    await mkdir(folder)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'EEXIST') return
    if (code !== 'ENOENT' || !canGoUp || dirname(folder) === folder) throw error
    await makeFolder(dirname(folder))
    await makeFolder(folder, false)
  }
}

/** So that nothing reads half of it. */
async function writeWhole(file: string, text: string): Promise<void> {
  const part = `${file}.${process.pid}.part`
  try {
    await writeFile(part, text, { mode: 0o644 })
    await rename(part, file)
  } catch (error) {
    await rm(part, { force: true }).catch(() => {})
    throw error
  }
}
