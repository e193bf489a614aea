import { constants } from 'node:fs'
import { access, open, stat } from 'node:fs/promises'
import type { LocalServiceConfig } from './config.ts'
import { toAbsentProgram } from './engine-service.ts'
import { findEngine, isModelPath } from './engines.ts'
import type { Environment } from './secrets.ts'

/** How a program begins: ELF, a script's `#!`, Mach-O in both byte orders, a universal binary, Windows. */
const PROGRAM_STARTS = [
  '7f454c46',
  '2321',
  'feedfacf',
  'cffaedfe',
  'feedface',
  'cefaedfe',
  'cafebabe',
  '4d5a',
]

/** Something on this host that keeps a service from starting. `option` is the one to change. */
export interface ProgramFault {
  readonly option: 'command' | 'cwd' | 'engine' | 'model' | 'stopCommand' | 'statusCommand'
  readonly message: string
}

/**
 * Looks whether a service can be started on this host: the program is there, may run and is one; `cwd` and the file of
 * the model of an engine are there.
 */
export async function findServiceFault(
  service: LocalServiceConfig,
  env: Environment,
): Promise<ProgramFault | undefined> {
  const { command, cwd, daemon } = service
  if (daemon !== undefined) return undefined
  const message = await findCommandFault(command)
  const engine = findEngine(service.engine)
  if (message !== undefined && engine !== undefined && command === toAbsentProgram(engine, { env })) {
    const [program = ''] = engine.programs
    return {
      option: 'engine',
      message: `${program} is neither in PATH nor in the usual places: ${engine.install}; or set localService.command`,
    }
  }
  if (message !== undefined) return { option: 'command', message }
  return (await findFolderFault(cwd)) ?? (await findModelFault(service)) ?? (await findOutsideFault(service))
}

async function findOutsideFault({
  stopCommand = [],
  statusCommand,
}: LocalServiceConfig): Promise<ProgramFault | undefined> {
  for (const [program = ''] of stopCommand) {
    const message = await findCommandFault(program)
    if (message !== undefined) return { option: 'stopCommand', message }
  }
  const message = statusCommand && (await findCommandFault(statusCommand[0] ?? ''))
  return message === undefined ? undefined : { option: 'statusCommand', message }
}

async function findModelFault({
  engine,
  model,
  args,
}: LocalServiceConfig): Promise<ProgramFault | undefined> {
  if (engine === undefined || model === undefined || !args.includes(model) || !isModelPath(model))
    return undefined
  const isThere = await stat(model).then(
    () => true,
    () => false,
  )
  return isThere
    ? undefined
    : { option: 'model', message: `the model ${model} does not exist or cannot be reached` }
}

async function findFolderFault(cwd: string | undefined): Promise<ProgramFault | undefined> {
  if (cwd === undefined) return undefined
  const directory = await stat(cwd).catch(() => undefined)
  if (directory === undefined)
    return { option: 'cwd', message: `the directory ${cwd} does not exist or cannot be reached` }
  return directory.isDirectory() ? undefined : { option: 'cwd', message: `${cwd} is not a directory` }
}

async function findCommandFault(command: string): Promise<string | undefined> {
  const program = await stat(command).catch(() => undefined)
  if (program === undefined) return `the program ${command} does not exist or cannot be reached`
  if (!program.isFile()) return `${command} is not a file`
  const isExecutable = await access(command, constants.X_OK).then(
    () => true,
    () => false,
  )
  if (!isExecutable) return `${command} is not executable`
  const start = await readStart(command).catch(() => undefined)
  // A program may be allowed to run and not to be read; then its start tells nothing.
  if (start === undefined || PROGRAM_STARTS.some((known) => start.startsWith(known))) return undefined
  return `${command} is not a program: it is neither a binary nor a script that begins with #!`
}

async function readStart(file: string): Promise<string> {
  const handle = await open(file)
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(4), 0, 4, 0)
    return buffer.toString('hex', 0, bytesRead)
  } finally {
    await handle.close()
  }
}
