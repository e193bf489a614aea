import { access, readFile } from 'node:fs/promises'
import { arch, cpus, loadavg, release, type as systemName, totalmem } from 'node:os'
import { availableMemory, constrainedMemory, platform } from 'node:process'

/** What does not change while the host is up. */
export interface HostFacts {
  /** `Ubuntu 24.04.2 LTS`; where no file says it, the same as `kernel`. */
  readonly os: string
  /** `Linux 6.8.0`. */
  readonly kernel: string
  /** As Node names it: `x64`, `arm64`. */
  readonly architecture: string
  /** `docker`, `podman`, `kubernetes`, `wsl`; `null`: none of these. */
  readonly environment: string | null
  /** Model of the processor; empty: unknown. */
  readonly cpu: string
  readonly threads: number
  /** `null`: unknown, as on ARM. */
  readonly physicalCores: number | null
  readonly sockets: number | null
  /** In a container with a limit: that limit. */
  readonly memoryMiB: number
  /** `null`: unknown. */
  readonly swapMiB: number | null
}

/** Time of a thread since the host started: any unit, the same for both. */
export interface ThreadTime {
  readonly busy: number
  readonly total: number
}

/** Bytes of a network interface since it came up. */
export interface Traffic {
  readonly name: string
  readonly receivedBytes: number
  readonly sentBytes: number
}

/** The host at one moment. What is used per second is the difference of two readings. */
export interface HostReading {
  readonly threads: readonly ThreadTime[]
  /** Averages of the last 1, 5 and 15 minutes; `null` on Windows. */
  readonly load: readonly [number, number, number] | null
  readonly memoryUsedMiB: number
  readonly swapUsedMiB: number | null
  /** `null`: unknown. */
  readonly traffic: readonly Traffic[] | null
}

const BYTES_PER_MIB = 1_048_576
const KIB_PER_MIB = 1_024
/** Interfaces that are listed. */
const MAX_INTERFACES = 8
/** The loopback, and what container engines make for each container: the traffic passes a real one, too. */
const INNER_INTERFACE = /^(lo|veth|docker|br-|virbr|cni|cali|flannel|ifb)/

/** Reads what does not change. Never rejects. */
export async function readHostFacts(): Promise<HostFacts> {
  const [release_, cpuInfo, memInfo, environment] = await Promise.all([
    readText('/etc/os-release'),
    readText('/proc/cpuinfo'),
    readText('/proc/meminfo'),
    findEnvironment(),
  ])
  const kernel = `${systemName()} ${release()}`
  const list = cpus()
  const { physicalCores, sockets } = countCores(cpuInfo)
  const swapKiB = findKiB(memInfo, 'SwapTotal')
  return {
    os: /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(release_)?.[1] ?? kernel,
    kernel,
    architecture: arch(),
    environment,
    cpu: list[0]?.model.trim() ?? '',
    threads: list.length,
    physicalCores,
    sockets,
    memoryMiB: Math.round(findMemoryBytes() / BYTES_PER_MIB),
    swapMiB: swapKiB === undefined ? null : Math.round(swapKiB / KIB_PER_MIB),
  }
}

/** Reads the host as it is now. Never rejects. */
export async function readHost(): Promise<HostReading> {
  const [stat, memInfo, netDev] = await Promise.all([
    readText('/proc/stat'),
    readText('/proc/meminfo'),
    readText('/proc/net/dev'),
  ])
  const threads = parseThreadTimes(stat)
  const [m1 = 0, m5 = 0, m15 = 0] = loadavg()
  return {
    // Node reads several files of each processor for this, one after the other.
    threads: threads.length > 0 ? threads : cpus().map(({ times }) => toThreadTime(times)),
    load: platform === 'win32' ? null : [m1, m5, m15],
    ...parseMemory(memInfo),
    traffic: netDev === '' ? null : parseTraffic(netDev),
  }
}

/** Lines `cpu0 USER NICE SYSTEM IDLE IOWAIT IRQ SOFTIRQ STEAL …` of `/proc/stat`. */
export function parseThreadTimes(stat: string): ThreadTime[] {
  return [...stat.matchAll(/^cpu\d+ (.*)$/gm)].map(([, text = '']) => {
    // Time of guests is part of that of users.
    const times = text.trim().split(/\s+/).slice(0, 8).map(Number)
    const [, , , idle = 0, waiting = 0] = times
    const total = times.reduce((sum, time) => sum + time, 0)
    return { busy: total - idle - waiting, total }
  })
}

function toThreadTime({ user, nice, sys, idle, irq }: ReturnType<typeof cpus>[number]['times']): ThreadTime {
  const busy = user + nice + sys + irq
  return { busy, total: busy + idle }
}

/** Lines `NAME: RECEIVED … (8 numbers) SENT …` of `/proc/net/dev`. */
export function parseTraffic(netDev: string): Traffic[] {
  return [...netDev.matchAll(/^\s*([^\s:]+):\s*(.*)$/gm)]
    .flatMap(([, name = '', text = '']) => {
      const numbers = text.trim().split(/\s+/).map(Number)
      const [receivedBytes = 0, , , , , , , , sentBytes = 0] = numbers
      const isUsed = receivedBytes + sentBytes > 0
      return isUsed && !INNER_INTERFACE.test(name) ? [{ name, receivedBytes, sentBytes }] : []
    })
    .slice(0, MAX_INTERFACES)
}

/** Pairs of `physical id` and `core id` of `/proc/cpuinfo`. */
export function countCores(cpuInfo: string): Pick<HostFacts, 'physicalCores' | 'sockets'> {
  const sockets = new Set<string>()
  const cores = new Set<string>()
  for (const block of cpuInfo.split('\n\n')) {
    const [socket, core] = [/^physical id\s*: (\d+)$/m, /^core id\s*: (\d+)$/m].map(
      (pattern) => pattern.exec(block)?.[1],
    )
    if (socket === undefined || core === undefined) continue
    sockets.add(socket)
    cores.add(`${socket} ${core}`)
  }
  return { physicalCores: cores.size || null, sockets: sockets.size || null }
}

function parseMemory(memInfo: string): Pick<HostReading, 'memoryUsedMiB' | 'swapUsedMiB'> {
  const availableKiB = findKiB(memInfo, 'MemAvailable')
  const [swapKiB, swapFreeKiB] = [findKiB(memInfo, 'SwapTotal'), findKiB(memInfo, 'SwapFree')]
  const isLimited = findMemoryBytes() < totalmem()
  const freeBytes = isLimited || availableKiB === undefined ? availableMemory() : availableKiB * 1_024
  return {
    memoryUsedMiB: Math.max(0, Math.round((findMemoryBytes() - freeBytes) / BYTES_PER_MIB)),
    swapUsedMiB:
      swapKiB === undefined || swapFreeKiB === undefined
        ? null
        : Math.round((swapKiB - swapFreeKiB) / KIB_PER_MIB),
  }
}

/** A container may have less than its host. */
function findMemoryBytes(): number {
  const limit = constrainedMemory()
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem()
}

function findKiB(memInfo: string, name: string): number | undefined {
  const text = new RegExp(`^${name}:\\s*(\\d+) kB`, 'm').exec(memInfo)?.[1]
  return text === undefined ? undefined : Number(text)
}

async function findEnvironment(): Promise<string | null> {
  const exists = (path: string) =>
    access(path).then(
      () => true,
      () => false,
    )
  if (await exists('/var/run/secrets/kubernetes.io')) return 'kubernetes'
  if (await exists('/.dockerenv')) return 'docker'
  if (await exists('/run/.containerenv')) return 'podman'
  return /microsoft/i.test(release()) ? 'wsl' : null
}

function readText(path: string): Promise<string> {
  return readFile(path, 'latin1').catch(() => '')
}
