import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { NEVER } from 'rxjs'
import type { AnyStateMachine } from 'xstate'
import { providerMachine } from '../../machines/provider/chart.ts'
import { providerDelays } from '../../machines/provider/delays.ts'
import { exitCodeHelp } from '../../src/cli/exit-codes.ts'
import { createProgram } from '../../src/cli/program.ts'
import { errorRows } from '../../src/compat/openai-error.ts'
import { toJsonSchema } from '../../src/config/schema.ts'
import { badRequestStatuses } from '../../src/errors.ts'
import { eventMeanings } from '../../src/events/events.ts'
import { routes } from '../../src/gateway/routes.ts'
import { buildDiagram, formatMermaid } from '../../src/inspector/diagram.ts'
import { createMetrics } from '../../src/observe/metrics.ts'
import { buildScriptSchema } from '../../src/testing/script.ts'
import { defaultPolicy } from '../../src/testing/stage.ts'
import { defaultWorld } from '../../src/testing/world.ts'
import { errorMeanings } from './error-meanings.ts'

/** Options that the page describes once for all commands. */
const COMMON_OPTIONS = ['--json', '--config <file>', '--gateway <url>']

/** The parts that the code says itself, by page and name: a page has them between `<!-- NAME -->` and `<!-- /NAME -->`. */
export async function buildPages(): Promise<Readonly<Record<string, Readonly<Record<string, string>>>>> {
  return {
    'README.md': {},
    'machines/README.md': {
      provider: `\`\`\`mermaid\n${formatMermaid(providerMachine, { depth: 1 }).trim()}\n\`\`\``,
      states: toTable(['State', 'Tags', 'Meaning'], listStates(providerMachine.root)),
      timers: toTable(['Timer', 'Runs in'], listTimers()),
    },
    'src/cli/README.md': {
      commands: toTable(
        ['Command', 'What'],
        listCommands().map(({ usage, command }) => [code(usage), command.description()]),
      ),
      options: listCommands().flatMap(describeOptions).join('\n\n'),
      'exit-codes': `\`\`\`text\n${exitCodeHelp.trim()}\n\`\`\``,
    },
    'src/config/README.md': {
      'leasehold-options': toOptionTable('leasehold'),
      'cluster-options': toOptionTable('leasehold', 'cluster'),
      'provider-options': toOptionTable('models', 'providers', '*'),
      'service-options': toOptionTable('models', 'providers', '*', 'localService'),
      'model-options': toOptionTable('models', 'providers', '*', 'models', '[]'),
      'compat-options': toOptionTable('models', 'providers', '*', 'models', '[]', 'compat'),
    },
    'src/events/README.md': { events: toTable(['About', 'Events'], listEvents()) },
    'src/testing/README.md': {
      script: toFieldTable(scriptSchema, {}, (name) => name !== 'service' && name !== 'world'),
      step: toFieldTable(readProperty(scriptSchema, 'steps').items ?? {}),
      send: toTable(['Type', 'Fields'], listSends()),
      service: toFieldTable(readProperty(scriptSchema, 'service'), defaultPolicy),
      world: toFieldTable(readProperty(scriptSchema, 'world'), defaultWorld),
    },
    'src/observe/README.md': {
      metrics: toTable(['Metric', 'Type', 'Labels', 'Meaning'], await listMetrics()),
    },
    'src/gateway/README.md': {
      endpoints: toTable(
        ['Endpoint', 'What'],
        routes.map(({ method, path, meaning }) => [code(`${method} ${path}`), meaning]),
      ),
      errors: toTable(['Code', 'Status', 'Type', 'Meaning'], listErrors()),
    },
  }
}

/** Every header of ours that the code reads or writes. */
export function listHeaders(): readonly string[] {
  const src = fileURLToPath(new URL('../../src', import.meta.url))
  const names = readdirSync(src, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) => readFileSync(join(src, file), 'utf8').match(/['`]x-leasehold-[a-z-]*[a-z]['`]/g) ?? [])
  return [...new Set(names.map((name) => name.slice(1, -1)))].toSorted()
}

/** One row for all events of one subject. */
function listEvents(): string[][] {
  const groups = new Map<string, string[]>()
  for (const [type, meaning] of Object.entries(eventMeanings)) {
    const [subject = type] = type.split('.')
    groups.set(subject, [...(groups.get(subject) ?? []), `${code(type)} ${meaning}`])
  }
  return [...groups].map(([subject, lines]) => [subject, lines.join('<br>')])
}

function listErrors(): string[][] {
  return Object.entries(errorRows).map(([name, { status, type }]) => [
    code(name),
    name === 'LEASEHOLD_BAD_REQUEST' ? badRequestStatuses.join(', ') : String(status),
    code(type),
    errorMeanings[name as keyof typeof errorRows],
  ])
}

const scriptSchema = buildScriptSchema() as Schema

function readProperty(schema: Schema, name: string): Schema {
  return schema.properties?.[name] ?? {}
}

/** A table of the fields of an event script. `defaults` apply where the parser fills in none. */
function toFieldTable(schema: Schema, defaults: object = {}, isShown = (_name: string) => true): string {
  const rows = Object.entries(schema.properties ?? {})
    .filter(([name]) => isShown(name))
    .map(([name, field]) => {
      const value = Reflect.get(defaults, name) ?? field.default
      const isKnown = name in defaults || value !== undefined
      const choices = field.enum ?? field.anyOf?.find((one) => one.enum !== undefined)?.enum
      const meaning = field.description ?? ''
      return [
        code(name),
        isKnown ? code(JSON.stringify(value ?? null)) : '',
        choices === undefined ? meaning : `${meaning} ${choices.map(code).join(', ')}.`,
      ]
    })
  return toTable(['Field', 'Default', 'Meaning'], rows)
}

/** The events that a script may send, with their fields. */
function listSends(): string[][] {
  const [event] = readProperty(readProperty(scriptSchema, 'steps').items ?? {}, 'send').anyOf ?? []
  return (event?.oneOf ?? []).map(({ properties = {}, required = [] }) => [
    code(String(properties.type?.const)),
    Object.keys(properties)
      .filter((name) => name !== 'type')
      .map((name) => code(required.includes(name) ? name : `${name}?`))
      .join(', '),
  ])
}

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>
  readonly additionalProperties?: Schema
  readonly items?: Schema
  readonly required?: readonly string[]
  readonly default?: unknown
  readonly const?: unknown
  readonly enum?: readonly string[]
  readonly anyOf?: readonly Schema[]
  readonly oneOf?: readonly Schema[]
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

interface ListedCommand {
  readonly usage: string
  readonly command: Command
}

function listCommands(): readonly ListedCommand[] {
  const program = createProgram('0.0.0', { out: () => {}, err: () => {} } as never, () => {})
  const list = (command: Command, before: string): ListedCommand[] => {
    const name = `${before} ${command.name()}`
    if (command.commands.length > 0) return command.commands.flatMap((inner) => list(inner, name))
    const args = command.registeredArguments
      .map((one) => (one.required ? one.name() : `[${one.name()}]`))
      .map((argument) => ` ${argument.toUpperCase()}`)
      .join('')
    return [{ usage: `${name}${args}`, command }]
  }
  return program.commands.flatMap((command) => list(command, 'leasehold'))
}

/** The options of one command that are not the same for all. */
function describeOptions({ usage, command }: ListedCommand): string[] {
  const rows = command.options
    .filter(({ flags }) => !COMMON_OPTIONS.includes(flags))
    .map(({ flags, description, defaultValue, argChoices = [] }) => [
      code(flags),
      [
        description,
        ...(argChoices.length > 0 ? [argChoices.map(code).join(', ')] : []),
        ...(['string', 'number'].includes(typeof defaultValue)
          ? [`default: ${code(String(defaultValue))}`]
          : []),
      ].join('; '),
    ])
  return rows.length === 0 ? [] : [`### ${code(usage)}\n\n${toTable(['Option', 'Meaning'], rows)}`]
}

async function listMetrics(): Promise<string[][]> {
  const { registry, close } = createMetrics({ pastEvents: () => [], events$: NEVER } as never)
  close()
  const found = registry.getMetricsAsArray() as unknown as readonly {
    readonly name: string
    readonly help: string
    readonly type?: string
    readonly labelNames: readonly string[]
    readonly constructor: { readonly name: string }
  }[]
  return found.map((metric) => [
    code(metric.name),
    metric.constructor.name.toLowerCase(),
    metric.labelNames
      .filter((label) => label !== 'le')
      .map(code)
      .join(', '),
    metric.help,
  ])
}

function listStates(node: AnyStateMachine['root'], depth = 0): string[][] {
  return Object.values(node.states).flatMap((state) => [
    [
      `${'&nbsp;&nbsp;'.repeat(depth)}${code(state.key)}`,
      state.tags.map(code).join(' '),
      state.description ?? '',
    ],
    ...listStates(state, depth + 1),
  ])
}

function listTimers(): string[][] {
  const { states } = buildDiagram(providerMachine)
  return Object.keys(providerDelays).map((name) => {
    const timed = states.filter(({ transitions }) =>
      transitions.some(({ event }) => event === `after ${name}`),
    )
    const places = timed.map(({ path }) => code(path)).join(', ')
    return [code(name), places || 'several states: raised by an action']
  })
}

function code(text: string): string {
  return `\`${text}\``
}

function toTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}
