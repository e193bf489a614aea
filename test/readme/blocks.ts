import { providerMachine } from '../../machines/provider/chart.ts'
import { createProgram } from '../../src/cli/program.ts'
import { errorRows } from '../../src/compat/openai-error.ts'
import { toJsonSchema } from '../../src/config/schema.ts'
import { eventMeanings } from '../../src/events/events.ts'
import { routes } from '../../src/gateway/routes.ts'
import { formatMermaid } from '../../src/inspector/diagram.ts'

/** The parts of the README that the code says itself, by name. */
export function toBlocks(): Readonly<Record<string, string>> {
  return {
    statechart: `\`\`\`mermaid\n${formatMermaid(providerMachine, { depth: 1 }).trim()}\n\`\`\``,
    'service-options': toOptionTable('models', 'providers', '*', 'localService'),
    'provider-options': toOptionTable('models', 'providers', '*'),
    'model-options': toOptionTable('models', 'providers', '*', 'models', '[]'),
    'leasehold-options': toOptionTable('leasehold'),
    events: toTable(['About', 'Events'], listEvents()),
    errors: toTable(['Status', 'Type', 'Codes'], listErrors()),
    endpoints: toTable(
      ['Endpoint', 'What'],
      routes.map(({ method, path, meaning }) => [code(`${method} ${path}`), meaning]),
    ),
    commands: toTable(['Command', 'What'], listCommands()),
  }
}

/** One row for all events of one subject: the table would be the longest part of the README. */
function listEvents(): string[][] {
  const groups = new Map<string, string[]>()
  for (const [type, meaning] of Object.entries(eventMeanings)) {
    const [subject = type] = type.split('.')
    groups.set(subject, [...(groups.get(subject) ?? []), `${code(type)} ${meaning}`])
  }
  return [...groups].map(([subject, lines]) => [subject, lines.join('<br>')])
}

function listErrors(): string[][] {
  const groups = new Map<string, string[]>()
  for (const [name, { status, type }] of Object.entries(errorRows)) {
    const group = `${status} ${type}`
    groups.set(group, [...(groups.get(group) ?? []), code(name)])
  }
  return [...groups]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([group, names]) => [...group.split(' ').map(code), names.join(', ')])
}

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>
  readonly additionalProperties?: Schema
  readonly items?: Schema
  readonly required?: readonly string[]
  readonly default?: unknown
  readonly description?: string
}

function toOptionTable(...path: readonly string[]): string {
  const section = path.reduce<Schema | undefined>(
    (schema, key) =>
      key === '*' ? schema?.additionalProperties : key === '[]' ? schema?.items : schema?.properties?.[key],
    toJsonSchema() as Schema,
  )
  const rows = Object.entries(section?.properties ?? {}).map(([name, option]) => [
    code(name),
    option.default === undefined ? '' : code(JSON.stringify(option.default)),
    option.description ?? '',
  ])
  return toTable(['Option', 'Default', 'Meaning'], rows)
}

function listCommands(): string[][] {
  const program = createProgram('0.0.0', { out: () => {}, err: () => {} } as never, () => {})
  const list = (command: (typeof program.commands)[number], before: string): string[][] => {
    const name = `${before} ${command.name()}`
    if (command.commands.length > 0) return command.commands.flatMap((inner) => list(inner, name))
    const args = command.registeredArguments
      .map((one) => (one.required ? one.name() : `[${one.name()}]`))
      .map((argument) => ` ${argument.toUpperCase()}`)
      .join('')
    return [[code(`${name}${args}`.trim()), command.description()]]
  }
  return program.commands.flatMap((command) => list(command, 'leasehold'))
}

function code(text: string): string {
  return `\`${text}\``
}

function toTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}
