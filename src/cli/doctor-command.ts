import type { Config } from '../config/config.ts'
import { readDocument } from '../config/document.ts'
import { formatJson5 } from '../config/document-edit.ts'
import { isSameName, resolveModel } from '../config/model-ref.ts'
import type {
  DoctorFinding,
  DoctorReport,
  HostFacts,
  ModelReport,
  ServiceReport,
} from '../doctor/doctor-report.ts'
import type { Outcome, ProbeResult } from '../doctor/probing.ts'
import { ConfigError } from '../errors.ts'
import type { SupervisorSnapshot } from '../service/snapshot.ts'
import { toDurationText } from '../text/duration.ts'
import { findConfigurationFile, loadConfiguration, tellDemo } from './configuration.ts'
import { DEMO_NAME } from './demo-config.ts'
import { AnswerError, exitCodes, formatProblem } from './exit-codes.ts'
import { findGateway } from './gateway-client.ts'
import { createProgress, type Progress } from './progress.ts'
import { escapeText, formatTable, type Terminal } from './terminal.ts'

export interface DoctorCommandOptions {
  readonly config?: string
  /** `false`: only what can be known without a start. */
  readonly start: boolean
  readonly write?: boolean
  readonly json?: boolean
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * `leasehold doctor [ID…]`: checks host, programs and ports, then starts each service once, measures and probes it.
 * The exit code is 1 when there is an error or a warning.
 */
export async function examineConfiguration(
  ids: readonly string[],
  options: DoctorCommandOptions,
  terminal: Terminal,
): Promise<number> {
  tellDemo(options.config, terminal)
  const leaving = new AbortController()
  let received: NodeJS.Signals | undefined
  const leave = (name: NodeJS.Signals) => {
    received ??= name
    leaving.abort(new Error(name))
  }
  for (const name of SIGNALS) process.on(name, leave)
  try {
    const report = await look(ids, options, terminal, leaving.signal)
    if (received === undefined) {
      if (options.json) terminal.json(report)
      else print(report, terminal)
      return report.problems.some(({ severity }) => severity === 'error')
        ? exitCodes.usage
        : report.ok
          ? exitCodes.ok
          : exitCodes.failed
    }
  } catch (error) {
    if (received === undefined) throw error
  } finally {
    for (const name of SIGNALS) process.off(name, leave)
  }
  // All that was started is stopped: the signal ends this process as it would have done at once.
  process.kill(process.pid, received)
  return exitCodes.failed
}

async function look(
  ids: readonly string[],
  options: DoctorCommandOptions,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<DoctorReport> {
  const { env } = terminal
  const { examine, examineInvalid } = await import('../doctor/doctor.ts')
  const file = findConfigurationFile(options.config, env)
  let text: string | undefined
  let config: Config
  try {
    // Before it is loaded: a change in between is noticed when it is written.
    text = file === undefined || file === DEMO_NAME ? undefined : await readDocument(file)
    config = await loadConfiguration(options.config, env)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return examineInvalid(error, env)
  }
  const providers = ids.length === 0 ? undefined : ids.map((id) => findProviderId(config, id))
  let progress: Progress | undefined
  const say = terminal.isErrInteractive && options.json !== true
  try {
    return await examine({
      config,
      env,
      ...(providers === undefined ? {} : { providers }),
      isStatic: !options.start,
      gateway: await askGateway(config, terminal),
      text,
      writes: options.write === true,
      fileOptions: { env },
      signal,
      onSupervisor: (events$) => {
        progress = createProgress(events$, terminal)
      },
      onProbe: (ref, name, index, total) => {
        if (say)
          progress?.aside(() =>
            terminal.err(`\r\x1b[2K${escapeText(ref)}: ${name} (${index + 1} of ${total})`),
          )
      },
    })
  } finally {
    progress?.close()
    if (say) terminal.err('\r\x1b[2K')
  }
}

function findProviderId(config: Config, id: string): string {
  const provider = config.providers.find((one) => isSameName(one.id, id))
  return (provider ?? resolveModel(config, id).provider).id
}

/** The gateway of the configuration, if it runs. One that refuses to tell its services still runs. */
async function askGateway(config: Config, { env }: Terminal) {
  const client = await findGateway(config, env)
  if (client === undefined) return undefined
  try {
    const { services } = (await client.ask({ path: '/api/services' })) as SupervisorSnapshot
    return { url: client.url, services: Array.isArray(services) ? services : null }
  } catch (error) {
    if (error instanceof AnswerError) return { url: client.url, services: null }
    throw error
  } finally {
    client.close()
  }
}

function print(report: DoctorReport, terminal: Terminal): void {
  const line = (text = '') => terminal.line(escapeText(text))
  const title = (text: string) => terminal.line(terminal.paint('bold', escapeText(text)))
  for (const problem of report.problems) line(formatProblem(report.file, problem))
  title('Host')
  for (const row of formatTable(listHostRows(report.host))) line(`  ${row}`)
  if (report.programs.length > 0) title('Programs')
  for (const row of formatTable(
    report.programs.map(({ command, version }) => [command, version ?? 'version unknown']),
  ))
    line(`  ${row}`)
  for (const service of report.services) {
    title(`Service ${service.service}`)
    for (const text of listServiceLines(service)) line(`  ${text}`)
    for (const model of service.models) {
      const first = service.models.find((other) => other.probes === model.probes) ?? model
      for (const text of listModelLines(model, first.ref)) line(`  ${text}`)
    }
  }
  if (report.services.some(({ models }) => models.some(({ probes }) => probes.length > 0))) {
    title('Not probed')
    for (const text of listUnprobedLines(report)) line(`  ${text}`)
  }
  if (report.written !== null) {
    title('Written')
    for (const path of report.written) line(`  ${path}`)
    if (report.written.length === 0) line('  nothing: the file lacks nothing')
  }
  title('Findings')
  for (const finding of report.findings) terminal.line(formatFinding(finding, terminal))
  if (report.findings.length === 0) line(`  ${describeNoFinding(report)}`)
}

/** The problems of the file come first: a bare `none` after them would deny them. */
function describeNoFinding({ problems }: DoctorReport): string {
  if (problems.length === 0) return 'none'
  return problems.some(({ severity }) => severity === 'error')
    ? 'the configuration cannot be used, see above; no service was examined'
    : 'none besides the problems of the file, see above'
}

function formatFinding({ level, about, text }: DoctorFinding, terminal: Terminal): string {
  const style = { error: 'red', warning: 'yellow', note: 'dim' } as const
  const [first = '', ...rest] = escapeText(text).split('\n')
  const head = `  ${terminal.paint(style[level], level.padEnd(7))}  ${escapeText(about)}: ${first}`
  return [head, ...rest.map((line) => `           ${line}`)].join('\n')
}

function listHostRows({ memory, gpus, stateDirectory, openFiles, gateway }: HostFacts): string[][] {
  const available = memory.availableMiB === null ? '' : `, ${formatMiB(memory.availableMiB)} available`
  const free = stateDirectory.freeMiB === null ? '' : `, ${formatMiB(stateDirectory.freeMiB)} free`
  return [
    ['memory', `${formatMiB(memory.totalMiB)}${available}`],
    ...(gpus === null
      ? [['GPU', 'none: nvidia-smi, rocm-smi and, on macOS, ioreg tell of none']]
      : gpus.list.map(({ name, totalMiB, usedMiB }) => [
          'GPU',
          [
            name,
            ...(totalMiB === null ? [] : [formatMiB(totalMiB)]),
            ...(usedMiB === null ? [] : [`${formatMiB(usedMiB)} used`]),
            ...(gpus.driver === undefined ? [] : [`driver ${gpus.driver}`]),
          ].join(', '),
        ])),
    ['state', `${stateDirectory.path}${free}`],
    ['open files', openFiles === null ? 'unknown' : String(openFiles)],
    ['gateway', gateway ?? 'not running'],
  ]
}

function listServiceLines({
  outcome,
  reason,
  baseUrl,
  portHolder,
  ownership,
  readyMs,
  peakRamMiB,
  peakVramMiB,
  needs,
}: ServiceReport): string[] {
  const holder = portHolder === null ? '' : `, its port is held by ${portHolder}`
  const first = `${baseUrl}${holder}`
  if (outcome !== 'examined') return [first, outcome === 'skipped' ? `skipped: ${reason}` : 'not ready']
  const ready =
    readyMs === null
      ? `was ready already (${ownership === 'adopted' ? 'started by another program' : 'run by another leasehold'}), and runs on`
      : `ready after ${toDurationText(readyMs)}`
  const vram = peakVramMiB === null ? '' : `, ${formatMiB(peakVramMiB)} of GPU memory`
  const memory =
    peakRamMiB === null ? 'memory not measured' : `at most ${formatMiB(peakRamMiB)} of memory${vram}`
  return [first, `${ready}; ${memory}`, ...(needs === null ? [] : [`needs: ${formatJson5(needs)}`])]
}

const OUTCOMES: readonly (readonly [Outcome, string])[] = [
  ['cured', 'works with a setting'],
  ['refused', 'refused'],
  ['missing', 'no effect'],
  ['unclear', 'unclear'],
]

/** @param sameAs the first entry with the same model */
function listModelLines(
  { ref, contextTokens, probes, unprobed, block, lacking }: ModelReport,
  sameAs: string,
): string[] {
  const context = contextTokens === null ? 'context unknown' : `context of ${contextTokens} tokens`
  const passed = probes.filter(({ outcome }) => outcome === 'works').length
  const count = probes.length === 0 ? '' : `, ${passed} of ${probes.length} probes work as they are`
  const isComplete = Object.keys(lacking.compat).length + lacking.dropParams.length === 0
  const settings =
    block === null ? [] : [`  settings${isComplete ? ' (in the file)' : ' for its entry'}: ${block}`]
  if (sameAs !== ref) return [`${ref}: the same model as ${sameAs}`, ...settings]
  return [
    `${ref}: ${context}${count}`,
    ...(unprobed === null ? [] : [`  not probed: ${unprobed}`]),
    ...OUTCOMES.flatMap(([outcome, words]) =>
      probes.filter((probe) => probe.outcome === outcome).flatMap((probe) => listProbeLines(probe, words)),
    ),
    ...listSkippedLines(probes),
    ...settings,
  ]
}

function listProbeLines({ asks, detail, compat, dropParams }: ProbeResult, words: string): string[] {
  const settings = [
    ...Object.entries(compat ?? {}).map(([flag, value]) => `${flag}: ${formatJson5(value)}`),
    ...(dropParams === undefined ? [] : [`dropParams: ${formatJson5(dropParams)}`]),
  ]
  const cure = settings.length === 0 ? '' : ` (${settings.join(', ')})`
  return [
    `  ${words}: ${asks}${cure}`,
    ...(detail === undefined ? [] : detail.split('\n').map((line) => `    ${line}`)),
  ]
}

function listSkippedLines(probes: readonly ProbeResult[]): string[] {
  const byReason = new Map<string, string[]>()
  for (const { outcome, detail = '', asks } of probes)
    if (outcome === 'skipped') byReason.set(detail, [...(byReason.get(detail) ?? []), asks])
  return [...byReason].flatMap(([reason, asks]) => [
    `  not sent, because ${reason}:`,
    `    ${asks.join('; ')}`,
  ])
}

function listUnprobedLines({ unprobedFlags }: DoctorReport): string[] {
  const byReason = new Map<string, string[]>()
  for (const [flag, reason] of Object.entries(unprobedFlags))
    byReason.set(reason, [...(byReason.get(reason) ?? []), flag])
  return [...byReason].map(([reason, flags]) => `${flags.join(', ')}: ${reason}`)
}

function formatMiB(amount: number): string {
  return amount < 1_024 ? `${amount} MiB` : `${(amount / 1_024).toFixed(1)} GiB`
}
