import { systemClock } from '../clock.ts'
import type { Config } from '../config/config.ts'
import { isLoopback } from '../net/loopback.ts'
import { measureMemory, measurePeakMemory, readGpuMemory } from '../process/memory.ts'
import { toAddress } from '../process/tcp-ports.ts'
import { readProcess, snapshotTree } from '../process/tree.ts'
import type { Service } from '../service/services.ts'
import type { ServiceSnapshot } from '../service/snapshot.ts'
import type { Supervisor } from '../supervisor/interface.ts'
import type { DoctorFinding, ModelReport, ServiceReport } from './doctor-report.ts'
import { findPortHolderOf } from './host-checks.ts'
import { type ExaminationOptions, examineProvider } from './model-examination.ts'

const BYTES_PER_MIB = 1_048_576
/** What is added to a peak that was measured. */
const NEEDS_MARGIN = 1.05
/** A start that takes more than this part of its deadline may miss it the next time. */
const SLOW_PART = 0.5

/** A service and what is wrong with it. */
export interface Examined {
  readonly report: ServiceReport
  readonly findings: readonly DoctorFinding[]
}

/** What is seen of a service that is not started, and why it is not. */
export async function lookAtService(service: Service, reason: string | null): Promise<Examined> {
  const { holder, findings } = await findPortHolderOf(service)
  const { name, providers } = service
  return {
    report: {
      service: name,
      providers: providers.map(({ id }) => id),
      outcome: 'skipped',
      reason,
      baseUrl: providers[0]?.baseUrl ?? '',
      portHolder: holder,
      ownership: 'none',
      readyMs: null,
      peakRamMiB: null,
      peakVramMiB: null,
      needs: null,
      models: [],
    },
    findings,
  }
}

/** Starts a service once, measures it, asks it for its models, probes them, and stops it if it did not run before. */
export async function examineService(service: Service, options: ExaminationOptions): Promise<Examined> {
  const { supervisor, signal, busy } = options
  const { key, name, providers } = service
  const { report: base, findings: seen } = await lookAtService(service, null)
  const findings: DoctorFinding[] = [...seen]
  const use = busy(key, base.portHolder)
  const reason =
    use ??
    (service.localService === undefined && !isLoopback(toAddress(base.baseUrl).host)
      ? 'its server is not on this host, so that it is not asked'
      : undefined)
  if (reason !== undefined) {
    findings.push({
      level: 'note',
      code: use === undefined ? 'not-started' : 'in-use',
      about: name,
      text: reason,
    })
    return { report: { ...base, reason }, findings }
  }

  const startedAtMs = systemClock.now()
  let snapshot: ServiceSnapshot
  try {
    snapshot = await supervisor.start(key, { signal })
  } catch (error) {
    if (signal.aborted) throw error
    const text = error instanceof Error ? error.message : String(error)
    // A server that others run may be down for good reasons.
    const level = service.localService === undefined ? 'note' : 'error'
    findings.push({ level, code: 'not-started', about: name, text })
    return { report: { ...base, outcome: 'failed', reason: text }, findings }
  }
  const isOwned = snapshot.ownership === 'owned'
  const readyMs = isOwned ? Math.round(systemClock.now() - startedAtMs) : null
  const deadlineMs = service.localService?.readyTimeoutMs ?? Number.POSITIVE_INFINITY
  if (readyMs !== null && readyMs > deadlineMs * SLOW_PART)
    findings.push({
      level: 'warning',
      code: 'slow-start',
      about: name,
      text: `it took ${readyMs} ms to become ready, of the ${deadlineMs} ms that readyTimeoutMs allows: raise readyTimeoutMs`,
    })

  const models: ModelReport[] = []
  let memory: Measured | undefined
  const onExamined = async () => {
    if (isOwned) memory = findLarger(memory, await measure(supervisor, key, options))
  }
  await onExamined()
  for (const provider of providers) {
    if (signal.aborted) break
    if (provider.replicaOf !== undefined) continue
    const { reports, findings: more } = await examineProvider(provider, { ...options, onExamined })
    models.push(...reports)
    findings.push(...more)
  }
  const needs = memory === undefined ? null : toNeeds(memory)
  findings.push(...judgeNeeds(service, needs, options.config))
  if (isOwned && !signal.aborted) {
    const { receipt } = await supervisor.stop(key)
    if (receipt !== null && receipt.survivors.length > 0)
      findings.push({
        level: 'error',
        code: 'survivors',
        about: name,
        text: `processes survived its stop: ${receipt.survivors.join(', ')}`,
      })
  }
  return {
    report: {
      ...base,
      outcome: 'examined',
      ownership: snapshot.ownership,
      readyMs,
      peakRamMiB: memory?.ramMiB ?? null,
      peakVramMiB: memory?.vramMiB ?? null,
      needs,
      models,
    },
    findings,
  }
}

interface Measured {
  readonly ramMiB: number
  readonly vramMiB: number | null
}

/** The most that a service occupied in this run. */
async function measure(
  supervisor: Supervisor,
  key: string,
  { config, hasGpus }: ExaminationOptions,
): Promise<Measured | undefined> {
  const { pid, generation, memory } = supervisor.service(key)
  if (pid === null || generation === null) return undefined
  const root = {
    pid,
    startTicks: readProcess(pid)?.startTicks,
    markers: { LEASEHOLD_GENERATION: generation },
  }
  const pids = snapshotTree(root).map((member) => member.pid)
  const [now, peak, gpu] = await Promise.all([
    measureMemory(pids),
    // Of several processes the shared part would count several times.
    pids.length === 1 ? measurePeakMemory(pids) : 0,
    hasGpus ? readGpuMemory(config.leasehold.nvidiaSmi) : null,
  ])
  const bytes = Math.max(now, peak, memory?.peakBytes ?? 0)
  if (bytes === 0) return undefined
  const gpuBytes =
    gpu === null
      ? null
      : Math.max(
          pids.reduce((sum, one) => sum + (gpu.get(one) ?? 0), 0),
          memory?.gpuPeakBytes ?? 0,
        )
  return { ramMiB: toMiB(bytes), vramMiB: gpuBytes === null ? null : toMiB(gpuBytes) }
}

/** The larger amounts of two looks. */
function findLarger(one: Measured | undefined, other: Measured | undefined): Measured | undefined {
  if (one === undefined || other === undefined) return one ?? other
  const vram = [one.vramMiB, other.vramMiB].filter((amount) => amount !== null)
  return {
    ramMiB: Math.max(one.ramMiB, other.ramMiB),
    vramMiB: vram.length === 0 ? null : Math.max(...vram),
  }
}

function toMiB(bytes: number): number {
  return Math.ceil(bytes / BYTES_PER_MIB)
}

function toNeeds({ ramMiB, vramMiB }: Measured): Readonly<Record<string, number>> {
  const withMargin = (amount: number) => Math.ceil(amount * NEEDS_MARGIN)
  return { ramMiB: withMargin(ramMiB), ...(vramMiB === null ? {} : { vramMiB: withMargin(vramMiB) }) }
}

function judgeNeeds(
  { name, localService }: Service,
  needs: Readonly<Record<string, number>> | null,
  { leasehold: { budgets } }: Config,
): DoctorFinding[] {
  return Object.entries(needs ?? {}).flatMap(([budget, amount]): DoctorFinding[] => {
    const declared = localService?.needs?.[budget]
    const total = budgets[budget]
    if (declared !== undefined && declared < amount / NEEDS_MARGIN - 1)
      return [
        {
          level: 'warning',
          code: 'needs',
          about: name,
          text: `it declares ${declared} ${budget}, and used ${Math.floor(amount / NEEDS_MARGIN)}`,
        },
      ]
    if (total !== undefined && amount > total)
      return [
        {
          level: 'warning',
          code: 'needs',
          about: name,
          text: `it needs ${amount} ${budget}, more than leasehold.budgets has (${total})`,
        },
      ]
    return []
  })
}
