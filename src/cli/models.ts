import { describeState } from '../explanation/naming.ts'
import { createFileAbilities } from '../service/file-abilities.ts'
import { type ModelListing, toModelList } from '../service/model-list.ts'
import { loadConfiguration, tellDemo } from './configuration.ts'
import { exitCodes } from './exit-codes.ts'
import { findGateway, readAnswer } from './gateway-client.ts'
import { escapeText, formatTable, type Terminal } from './terminal.ts'

export interface ModelsOptions {
  readonly config?: string
  readonly json?: boolean
}

/** `leasehold models list`: the models of the running gateway, or of the configuration if none runs. Starts nothing. */
export async function listModels(options: ModelsOptions, terminal: Terminal): Promise<number> {
  const config = await loadConfiguration(options.config, terminal.env)
  const gateway = await findGateway(config, terminal.env)
  if (gateway === undefined) tellDemo(options.config, terminal)
  const files = createFileAbilities()
  if (gateway === undefined) await files.look(config)
  const listed =
    gateway === undefined
      ? {
          object: 'list',
          data: toModelList(config, {
            stateOf: () => undefined,
            contextOf: () => undefined,
            abilitiesOf: (key) => files.of(key) ?? {},
          }),
        }
      : ((await gateway.ask({ path: '/v1/models' })) as ModelList)
  gateway?.close()
  if (options.json) {
    terminal.json(listed)
    return exitCodes.ok
  }
  const rows = readAnswer('/v1/models', () =>
    listed.data.map((model) => [
      escapeText(model.id),
      escapeText(model.aliases.join(', ')),
      model.default ? 'yes' : '',
      String(model.context_length ?? ''),
      escapeText(
        model.unavailable === undefined ? describeState(model.state) : `unavailable: ${model.unavailable}`,
      ),
    ]),
  )
  const [head = '', ...lines] = formatTable([['MODEL', 'ALIAS', 'DEFAULT', 'CONTEXT', 'STATE'], ...rows])
  terminal.line(terminal.paint('bold', head))
  for (const line of lines) terminal.line(line)
  return exitCodes.ok
}

interface ModelList {
  readonly object: string
  readonly data: readonly ModelListing[]
}
