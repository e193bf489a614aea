import { type Command as CompletedCommand, RootCommand, ShellCompDirective } from '@bomb.sh/tab'
import type { Argument, Command, Option } from 'commander'
import type { Config } from '../../config/config.ts'
import { loadConfiguration } from '../configuration.ts'
import { exitCodes } from '../exit-codes.ts'
import { escapeText, type Terminal } from '../terminal.ts'
import { bashScript } from './bash-script.ts'

export const SHELLS = ['bash', 'zsh', 'fish'] as const

/** `leasehold completion SHELL`: prints the script that the shell reads when it starts. */
export function printCompletionScript(shell: (typeof SHELLS)[number], terminal: Terminal): number {
  // The library prints its own scripts.
  if (shell === 'bash') terminal.out(bashScript)
  else new RootCommand().setup('leasehold', 'leasehold', shell)
  return exitCodes.ok
}

/**
 * `leasehold complete -- WORD…`: prints what the last word may become, one per line with its description after a tab, and
 * then what the shell is to do besides. The scripts of the shells call it. It never fails: the line is not finished yet.
 */
export async function completeWords(
  program: Command,
  words: readonly string[],
  terminal: Terminal,
): Promise<number> {
  const names = await listNames(findConfig(words), terminal)
  const root = buildTree(program, names)
  root.parse(words.flatMap((word, index) => (index < words.length - 1 ? splitOption(word) : [word])))
  const last = words.at(-1) ?? ''
  const prefix = last.startsWith('-') && last.includes('=') ? last.slice(last.indexOf('=') + 1) : last
  const fitting = new Map(root.completions.map(({ value, description }) => [value, description]))
  for (const [value, description] of fitting)
    if (value.startsWith(prefix)) terminal.line(toLine(value, description))
  // Where nothing is known to fit, a file may.
  const directive =
    fitting.size === 0
      ? ShellCompDirective.ShellCompDirectiveDefault
      : ShellCompDirective.ShellCompDirectiveNoFileComp
  terminal.line(`:${directive}`)
  return exitCodes.ok
}

/** A name of the configuration, with what it is. */
interface Name {
  readonly value: string
  readonly description: string
}

/** Names of services and models; none where the configuration cannot be read. */
async function listNames(file: string | undefined, { env }: Terminal): Promise<readonly Name[]> {
  try {
    return listConfigNames(await loadConfiguration(file, env))
  } catch {
    return []
  }
}

/** Every name that a command takes for a service or a model: providers, models by their whole name, aliases. */
export function listConfigNames({ providers, aliases }: Config): readonly Name[] {
  return [
    ...providers.map(({ id }) => ({ value: id, description: 'service' })),
    ...aliases.map(({ alias, ref }) => ({ value: alias, description: `alias of ${ref}` })),
    ...providers.flatMap(({ id, models }) =>
      models.map((model) => ({ value: `${id}/${model.id}`, description: 'model' })),
    ),
  ]
}

/** The configuration that the line names already. */
function findConfig(words: readonly string[]): string | undefined {
  const joined = words.find((word) => word.startsWith('--config='))?.slice('--config='.length)
  const at = words.slice(0, -1).lastIndexOf('--config')
  return joined ?? (at === -1 || at === words.length - 2 ? undefined : words[at + 1])
}

/** `--option=value` as two words: the library knows no other form before the last word. */
function splitOption(word: string): readonly string[] {
  const [, name, value] = /^(--[\w-]+)=(.*)$/s.exec(word) ?? []
  return name === undefined || value === undefined ? [word] : [name, value]
}

/** The grammar in the words of the library. */
function buildTree(program: Command, names: readonly Name[]): RootCommand {
  const root = new RootCommand()
  // It would print what fits, and that no file does.
  Object.defineProperty(root, 'complete', { value: () => {} })
  addParts(root, program, names)
  const add = (command: Command, path: readonly string[]) => {
    for (const inner of command.createHelp().visibleCommands(command)) {
      // Each group of commands has one of its own.
      if (inner.name() === 'help' && path.length > 0) continue
      const name = [...path, inner.name()]
      addParts(root.command(name.join(' '), inner.description()), inner, names)
      add(inner, name)
    }
  }
  add(program, [])
  return root
}

function addParts(completed: CompletedCommand, command: Command, names: readonly Name[]): void {
  for (const option of command.createHelp().visibleOptions(command)) {
    const name = option.long?.slice(2)
    if (name === undefined) continue
    const alias = option.short?.slice(1)
    const takesValue = option.required || option.optional
    if (takesValue) completed.option(name, option.description, toHandler(listValues(option, names)), alias)
    else if (alias === undefined) completed.option(name, option.description)
    else completed.option(name, option.description, alias)
  }
  for (const argument of command.registeredArguments)
    completed.argument(argument.name(), toHandler(listValues(argument, names)), argument.variadic)
}

/** Options and arguments that take a reference to a service or a model. */
const REFERENCES: ReadonlySet<string> = new Set(['ref', 'model', 'service'])

function listValues(part: Option | Argument, names: readonly Name[]): readonly Name[] {
  const choices = part.argChoices?.map((value) => ({ value, description: '' }))
  const name = 'long' in part ? (part.long?.slice(2) ?? '') : part.name()
  return choices ?? (REFERENCES.has(name) ? names : [])
}

function toHandler(values: readonly Name[]) {
  return (complete: (value: string, description: string) => void) => {
    for (const { value, description } of values) complete(value, description)
  }
}

/** Names come from a file: what would end a line, or start another column, is escaped. */
function toLine(value: string, description: string | undefined): string {
  const [name, text] = [value, description ?? ''].map((one) => escapeText(one).replace(/[\t\n]/g, ' '))
  return text === '' ? `${name}` : `${name}\t${text}`
}
