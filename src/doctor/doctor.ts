import type { Observable } from 'rxjs'
import { systemClock } from '../clock.ts'
import type { Config, ModelConfig, ProviderConfig } from '../config/config.ts'
import { openDocument } from '../config/document.ts'
import type { Edit } from '../config/document-edit.ts'
import { saveDocument } from '../config/document-save.ts'
import type { FileOptions } from '../config/load.ts'
import { isNoReplica } from '../config/model-ref.ts'
import { listSecretValues } from '../config/secret-values.ts'
import { isJsonObject, type JsonObject } from '../config/sections.ts'
import { ConfigError } from '../errors.ts'
import type { SupervisorEvent } from '../events/events.ts'
import { type Service, toServices } from '../service/services.ts'
import type { ServiceSnapshot } from '../service/snapshot.ts'
import { createSupervisor } from '../supervisor/supervisor.ts'
import { createScrubber } from '../text/scrubber.ts'
import type { DoctorFinding, DoctorReport, ModelReport, ServiceReport } from './doctor-report.ts'
import { checkHost, checkPrograms } from './host-checks.ts'
import type { ExaminationOptions } from './model-examination.ts'
import { unprobed } from './probes.ts'
import { type Examined, examineService, lookAtService } from './service-examination.ts'
import { checkUnits } from './unit-checks.ts'

/** A gateway that runs, and its services. */
export interface RunningGateway {
  readonly url: string
  /** `null`: it does not tell them to this user. */
  readonly services: readonly ServiceSnapshot[] | null
}

export interface DoctorOptions {
  readonly config: Config
  readonly env: Readonly<Record<string, string | undefined>>
  /** Ids of the providers to look at. @default all */
  readonly providers?: readonly string[]
  /** Only what can be known without a start. @default false */
  readonly isStatic?: boolean
  readonly gateway: RunningGateway | undefined
  /** The text of the configuration file. Absent: it is no file. */
  readonly text?: string | undefined
  /** Writes what the file lacks into it. @default false */
  readonly writes?: boolean
  /** With what the file is read again before it is written. */
  readonly fileOptions?: FileOptions
  /** Ends the examination, and what it started. */
  readonly signal: AbortSignal
  /** The events of the supervisor that starts the services. */
  readonly onSupervisor?: (events$: Observable<SupervisorEvent>) => void
  readonly onProbe?: ExaminationOptions['onProbe']
}

/**
 * Looks at all that can be known of a configuration before a request comes: the host, the programs and ports, then each
 * service, which is started once, measured, asked and probed. A service in use is left alone, and one that ran before
 * goes on running.
 */
export async function examine(options: DoctorOptions): Promise<DoctorReport> {
  const { config, env, gateway, signal, isStatic = false } = options
  const all = [...toServices(config).values()]
  const chosen = all.filter(({ providers }) => providers.some((provider) => isChosen(provider, options)))
  const [host, programs, units] = await Promise.all([
    checkHost(config, { env, gatewayUrl: gateway?.url ?? null }),
    checkPrograms(chosen, { env, clock: systemClock, signal }),
    checkUnits(chosen, { env, clock: systemClock }),
  ])
  const findings: DoctorFinding[] = [
    ...host.findings,
    ...programs.findings,
    ...units,
    ...listUnavailable(config, options),
  ]
  const services: ServiceReport[] = []
  for (const examined of isStatic
    ? await Promise.all(chosen.map((service) => lookAtService(service, 'it was not to be started')))
    : await start(chosen, options, host.facts.gpus !== null)) {
    services.push(examined.report)
    findings.push(...examined.findings)
  }
  const written =
    options.writes === true && !signal.aborted ? await write(services, chosen, options, findings) : null
  const rest = written === null ? findings : findings.filter((finding) => !isCured(finding, written))
  const problems = config.problems
  // Servers quote what they were sent.
  return createScrubber(listSecretValues(config, env)).value({
    ok: problems.length === 0 && rest.every(({ level }) => level === 'note'),
    file: config.file,
    problems,
    host: host.facts,
    programs: programs.facts,
    services,
    findings: rest,
    written,
    unprobedFlags: unprobed,
  })
}

/** The same for a configuration that cannot be loaded: its problems, and the host. */
export async function examineInvalid(error: ConfigError, env: DoctorOptions['env']): Promise<DoctorReport> {
  const { facts, findings } = await checkHost(undefined, { env, gatewayUrl: null })
  return {
    ok: false,
    file: error.file,
    problems: error.problems,
    host: facts,
    programs: [],
    services: [],
    findings,
    written: null,
    unprobedFlags: unprobed,
  }
}

function isChosen(
  { id, replicaOf }: ProviderConfig,
  { providers }: Pick<DoctorOptions, 'providers'>,
): boolean {
  return providers === undefined || providers.includes(id) || providers.includes(replicaOf?.provider ?? id)
}

function listUnavailable(config: Config, options: DoctorOptions): DoctorFinding[] {
  return config.providers.flatMap((provider) =>
    provider.unavailable === undefined || !isChosen(provider, options)
      ? []
      : [
          {
            level: 'error',
            code: 'unavailable',
            about: provider.id,
            text: `it is unavailable: ${provider.unavailable}`,
          },
        ],
  )
}

/** Starts one service after the other. When this settles, nothing that it started runs any more. */
async function start(
  chosen: readonly Service[],
  { config, env, gateway, signal, text, onSupervisor, onProbe }: DoctorOptions,
  hasGpus: boolean,
): Promise<readonly Examined[]> {
  const supervisor = createSupervisor({
    // Only what is asked for is started.
    config: { ...config, leasehold: { ...config.leasehold, preload: [], returnToDefaultMs: 0 } },
    environment: env,
    handleSignals: true,
    name: 'doctor',
  })
  onSupervisor?.(supervisor.events$)
  const written = text === undefined ? undefined : openDocument(text, config.file).value
  const results: Examined[] = []
  try {
    for (const service of chosen) {
      if (signal.aborted) break
      results.push(
        await examineService(service, {
          supervisor,
          config,
          signal,
          busy: (key, holder) => findUse(gateway, key, holder),
          hasGpus,
          ...(written === undefined
            ? {}
            : {
                writtenFlags: (provider: ProviderConfig, model: ModelConfig) =>
                  listWrittenFlags(written, provider, model),
              }),
          onProbe,
        }),
      )
    }
  } finally {
    // The gateway may have borrowed one meanwhile: its requests end first.
    const isUsed = supervisor
      .snapshot()
      .services.some(({ guests }) => guests.some(({ leases }) => leases > 0))
    await supervisor.close({ force: !isUsed })
  }
  return results
}

/** How a service is in use now. */
function findUse(
  gateway: RunningGateway | undefined,
  key: string,
  portHolder: string | null,
): string | undefined {
  if (gateway === undefined) return undefined
  if (gateway.services === null)
    return portHolder === null
      ? undefined
      : `a gateway runs at ${gateway.url} and does not tell whether it is in use (LEASEHOLD_API_KEY), so that it was left alone`
  const found = gateway.services.find((service) => service.key === key)
  const requests = (found?.leases ?? 0) + (found?.queue.length ?? 0)
  return requests === 0
    ? undefined
    : `it is in use by ${requests} request${requests === 1 ? '' : 's'} of the gateway, so that it was left alone`
}

/** The entry of a model in the file, and its place in the list. */
function findWritten(
  written: JsonObject,
  provider: ProviderConfig,
  modelId: string,
): { readonly index: number; readonly model: JsonObject | undefined } {
  const models = inside(inside(inside(written, 'models'), 'providers'), provider.id)?.models
  const list = Array.isArray(models) ? models : []
  const index = list.findIndex((model) => isJsonObject(model) && model.id === modelId)
  return { index: index === -1 ? list.length : index, model: list[index] }
}

function inside(value: JsonObject | undefined, key: string): JsonObject | undefined {
  const inner = value?.[key]
  return isJsonObject(inner) ? inner : undefined
}

function listWrittenFlags(written: JsonObject, provider: ProviderConfig, model: ModelConfig): string[] {
  return Object.keys(inside(findWritten(written, provider, model.id).model, 'compat') ?? {})
}

/** Writes what the file lacks. A file that cannot be written is a finding. */
async function write(
  services: readonly ServiceReport[],
  chosen: readonly Service[],
  { config, text, fileOptions }: DoctorOptions,
  findings: DoctorFinding[],
): Promise<readonly string[]> {
  const refuse = (reason: string) => {
    findings.push({ level: 'error', code: 'not-written', about: config.file, text: reason })
    return []
  }
  if (text === undefined) return refuse('there is no file to write to')
  const written = openDocument(text, config.file).value
  const edits = [
    ...services.flatMap(({ models }) => models.flatMap((model) => listModelEdits(model, config, written))),
    ...chosen.flatMap((service) =>
      listNeedsEdits(
        service,
        services.find((report) => report.service === service.name),
        config,
      ),
    ),
  ]
  if (edits.length === 0) return []
  try {
    await saveDocument(config.file, edits, {
      ...fileOptions,
      expected: text,
      check: (next) => findDifference(next, services),
    })
  } catch (error) {
    if (error instanceof ConfigError) return refuse(error.problems[0]?.message ?? error.message)
    throw error
  }
  return edits.map(({ path }) => path.join('.'))
}

function listModelEdits({ ref, lacking }: ModelReport, config: Config, written: JsonObject): Edit[] {
  const at = findModel(config, ref)
  if (at === undefined) return []
  const { provider, model } = at
  const { index, model: entry } = findWritten(written, provider, model.id)
  const path = ['models', 'providers', provider.id, 'models', index]
  const flags = Object.entries(lacking.compat)
  if (flags.length === 0 && lacking.dropParams.length === 0) return []
  const present = Array.isArray(entry?.dropParams) ? entry.dropParams : []
  return [
    // An engine names its model by itself as long as the file lists none.
    ...(entry === undefined ? [{ path: [...path, 'id'], value: model.id }] : []),
    ...flags.map(([flag, value]) => ({ path: [...path, 'compat', flag], value })),
    ...(lacking.dropParams.length === 0
      ? []
      : [{ path: [...path, 'dropParams'], value: [...present, ...lacking.dropParams] }]),
  ]
}

/** Only for budgets that the file has: elsewhere leasehold learns by itself what a service takes. */
function listNeedsEdits(
  { providers, localService }: Service,
  report: ServiceReport | undefined,
  config: Config,
): Edit[] {
  const needs = Object.entries(report?.needs ?? {}).filter(
    ([budget, amount]) =>
      config.leasehold.budgets[budget] !== undefined && (localService?.needs?.[budget] ?? 0) < amount,
  )
  return providers.filter(isNoReplica).flatMap(({ id }) =>
    needs.map(([budget, value]) => ({
      path: ['models', 'providers', id, 'localService', 'needs', budget],
      value,
    })),
  )
}

function findModel(
  config: Config,
  ref: string,
): { readonly provider: ProviderConfig; readonly model: ModelConfig } | undefined {
  for (const provider of config.providers.filter(isNoReplica))
    for (const model of provider.models) if (`${provider.id}/${model.id}` === ref) return { provider, model }
  return undefined
}

/** What the edited file would not say as it was meant. */
function findDifference(next: Config, services: readonly ServiceReport[]): string | undefined {
  for (const { ref, lacking } of services.flatMap(({ models }) => models)) {
    if (Object.keys(lacking.compat).length + lacking.dropParams.length === 0) continue
    const model = findModel(next, ref)?.model
    const compat: Readonly<Record<string, unknown>> = model?.compat ?? {}
    const missing = [
      ...Object.entries(lacking.compat)
        .filter(([flag, value]) => JSON.stringify(compat[flag]) !== JSON.stringify(value))
        .map(([flag]) => flag),
      ...lacking.dropParams.filter((name) => model?.dropParams.includes(name) !== true),
    ]
    if (missing.length > 0) return `${ref} would not have ${missing.join(', ')}`
  }
  return undefined
}

/** Whether a finding was about what is in the file now. */
function isCured({ code }: DoctorFinding, written: readonly string[]): boolean {
  return written.length > 0 && code === 'lacking-settings'
}
