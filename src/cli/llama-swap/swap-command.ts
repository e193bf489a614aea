import { homedir } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'
import type { Environment } from '../../config/secrets.ts'
import { findOption, toCommandWords, withoutOption } from './command-words.ts'
import { hasPort, toConfigText, toPlainValue } from './macros.ts'

/** The part of `localService` that says what runs. */
export interface SwapCommand {
  readonly service: {
    readonly engine?: string
    readonly command?: string
    readonly model?: string
    readonly args?: readonly string[]
  }
  /** The words after the program, as they were. */
  readonly words: readonly string[]
  /** Where the server listens: a number, `${PORT}`, or nothing that can be told. */
  readonly port: string | undefined
  /** The program that runs containers, where it is one. */
  readonly container: string | undefined
}

export interface CommandContext {
  readonly env: Environment
  /** The folder of llama-swap's file: where a relative path begins, as far as can be told. */
  readonly folder: string
  /** Where a program is that is named without a path. */
  findProgram(name: string): string | undefined
  /** The command stays as it is, so that another model can have the same. */
  readonly isVerbatim?: boolean
  /** A command stops what this one starts, so it may end before. */
  readonly isExternal?: boolean
  note(message: string): void
}

/** llama-swap's macro for the process of `cmd`. */
export const PID = `\${PID}`
const MODEL_FILE = ['-m', '--model']
const MODEL_REPOSITORY = ['-hf', '-hfr', '--hf-repo']
const CONTAINERS = /^(docker|podman|nerdctl)$/

/** Translates the text of `cmd`. `undefined`: nothing can run, and why is noted. */
export function translateCommand(text: string, context: CommandContext): SwapCommand | undefined {
  let words: readonly string[]
  try {
    words = toCommandWords(text)
  } catch {
    context.note('a quote does not end, so the model is left out')
    return undefined
  }
  const [program, ...rest] = words
  if (program === undefined) {
    context.note('is empty, so the model is left out')
    return undefined
  }
  const name = toName(program)
  const isContainer = CONTAINERS.test(name)
  if (isContainer && !context.isExternal) noteContainer(name, rest, context)
  const engine = name === 'llama-server' && !context.isVerbatim ? toEngine(program, rest, context) : undefined
  if (engine !== undefined) return engine
  const port = findPort(rest, isContainer)
  return {
    service: { command: findCommand(program, context), args: rest.map(toConfigText) },
    words: rest,
    port,
    container: isContainer ? name : undefined,
  }
}

/** How a server is stopped. */
export interface SwapStop {
  readonly stopCommand: readonly string[]
  /** The server is in a container, and so is not below the command that starts it. */
  readonly external?: true
  /** Asks whether the container is there, where `cmd` names it. */
  readonly statusCommand?: readonly string[]
}

/** Translates the text of `cmdStop`. `undefined`: leasehold needs none, or it cannot be read; both are noted. */
export function translateStop(
  text: string,
  { container, words: started, service: { command } }: SwapCommand,
  context: CommandContext,
): SwapStop | undefined {
  if (text.includes(PID)) {
    context.note('left out: leasehold ends the process of cmd and its children, by SIGTERM and then SIGKILL')
    return undefined
  }
  let words: readonly string[]
  try {
    words = toCommandWords(text)
  } catch {
    context.note('a quote does not end, so it is left out')
    return undefined
  }
  const [program, ...rest] = words
  if (program === undefined) return undefined
  const isContainer = container !== undefined || CONTAINERS.test(toName(program))
  const name = container === undefined ? undefined : findOption(started, ['--name'])?.value
  return {
    ...(isContainer ? { external: true } : {}),
    stopCommand: [findCommand(program, context), ...rest.map(toConfigText)],
    ...(command === undefined || name === undefined
      ? {}
      : {
          statusCommand: [command, 'ps', '-q', '--no-trunc', '--filter', `name=^/?${toConfigText(name)}$`],
        }),
  }
}

/**
 * llama-server as an engine: leasehold knows its health check, its limits and what its requests need. `undefined`: it
 * loads models by itself.
 */
function toEngine(
  program: string,
  words: readonly string[],
  context: CommandContext,
): SwapCommand | undefined {
  const port = findPort(words, false)
  const host = findOption(words, ['--host'])
  const file = findOption(words, MODEL_FILE)
  const model = file ?? findOption(words, MODEL_REPOSITORY)
  if (model === undefined) return undefined
  let args = words
  const drop = (names: readonly string[], isDropped: (value: string) => boolean) => {
    const option = findOption(args, names)
    if (option !== undefined && isDropped(option.value)) args = withoutOption(args, option)
  }
  drop(['--port'], hasPort)
  if (host?.value === '127.0.0.1' || host?.value === 'localhost') drop(['--host'], () => true)
  drop(file === undefined ? MODEL_REPOSITORY : MODEL_FILE, () => true)
  const isNamedInPath = !/[\\/]/.test(program)
  return {
    service: {
      engine: 'llama.cpp',
      ...(isNamedInPath ? {} : { command: findCommand(program, context) }),
      model: toModel(model.value, file !== undefined, context),
      ...(args.length === 0 ? {} : { args: args.map(toConfigText) }),
    },
    words,
    port,
    container: undefined,
  }
}

/** A path of a file begins at the folder of llama-swap's file; `engine` would take `dir/x` for a repository. */
function toModel(value: string, isFile: boolean, { folder }: CommandContext): string {
  const text = toConfigText(value)
  return !isFile || isAbsolute(value) || /^(~\/|\$\{)/.test(text)
    ? text
    : toConfigText(resolve(folder, value))
}

/** The name of a program without its folder. */
function toName(program: string): string {
  return (program.split(/[\\/]/).at(-1) ?? '').replace(/\.exe$/i, '')
}

function findCommand(program: string, { env, folder, findProgram, note }: CommandContext): string {
  const path = String(toPlainValue(program, env, (name) => note(`\${env.${name}} is not set here`)))
  if (isAbsolute(path)) return path
  if (path.startsWith('~/')) return join(env.HOME || homedir(), path.slice(1))
  if (path.includes('/')) return resolve(folder, path)
  const found = findProgram(path)
  if (found === undefined) note(`${path} is not in PATH here: set the absolute path of command`)
  return found ?? join('/usr/local/bin', path)
}

/** `--port 8080` and its like; of a container the port that it publishes: `-p 8080:80`. */
function findPort(words: readonly string[], isContainer: boolean): string | undefined {
  if (words.some(hasPort)) return `\${PORT}`
  const published = findOption(words, ['-p', '--publish'])?.value.split(':').at(-2)
  if (isContainer && published !== undefined && /^\d+$/.test(published)) return published
  const option = words.findIndex((word) => /^--?([\w-]*-)?port(=|$)/.test(word))
  const value = /=(.*)$/.exec(words[option] ?? '')?.[1] ?? words[option + 1]
  return option >= 0 && value !== undefined && /^\d+$/.test(value) ? value : undefined
}

function noteContainer(name: string, words: readonly string[], { note }: CommandContext): void {
  if (words[0] !== 'run') return
  if (words.some((word) => /^(-[a-z]*d[a-z]*|--detach)$/.test(word)))
    note(
      `\`${name} run\` with -d ends at once, which leasehold takes for a failed start: leave -d out of the args`,
    )
  const network = findOption(words, ['--network', '--net'])?.value
  if (network === 'host')
    note(
      `the server of a container in the network of the host is not known as ours: add -e LEASEHOLD_OWNER -e LEASEHOLD_GENERATION to the args, or publish a port with -p`,
    )
}
