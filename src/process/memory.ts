import { readFile } from 'node:fs/promises'
import { readSmi } from './gpus.ts'

const PAGE_BYTES = 4096
const MIB = 1_048_576

/**
 * Memory that a tree of processes occupies, in bytes: what each has for itself, and once the largest part that may be
 * shared, because the workers of one server share its model. 0 where there is no `/proc`, or nothing is left.
 */
export async function measureMemory(pids: readonly number[]): Promise<number> {
  const sizes = await Promise.all(pids.map(readStatm))
  const own = sizes.reduce((sum, { resident, shared }) => sum + resident - shared, 0)
  const shared = Math.max(0, ...sizes.map((size) => size.shared))
  return (own + shared) * PAGE_BYTES
}

/**
 * The most memory that each of these processes has occupied since it began, added up, in bytes. What several of them
 * share counts more than once. 0 where there is no `/proc`.
 */
export async function measurePeakMemory(pids: readonly number[]): Promise<number> {
  const peaks = await Promise.all(
    pids.map(async (pid) => {
      const status = await readFile(`/proc/${pid}/status`, 'latin1').catch(() => '')
      return Number(/^VmHWM:\s*(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024
    }),
  )
  return peaks.reduce((sum, bytes) => sum + bytes, 0)
}

/** Pages that are resident, and those among them that other processes may share. */
async function readStatm(pid: number): Promise<{ resident: number; shared: number }> {
  const text = await readFile(`/proc/${pid}/statm`, 'latin1').catch(() => '')
  const [, resident = 0, shared = 0] = text.trim().split(' ').map(Number)
  return { resident, shared }
}

/**
 * GPU memory by process, in bytes, as `nvidia-smi` tells it; `null` where the program is missing, fails, or takes
 * longer than five seconds: then nothing is known.
 */
export async function readGpuMemory(program: string): Promise<ReadonlyMap<number, number> | null> {
  const csv = await readSmi(program, [
    '--query-compute-apps=pid,used_memory',
    '--format=csv,noheader,nounits',
  ])
  return csv === undefined ? null : parseGpuMemory(csv)
}

/** Lines of `PID, MiB`. A process on several GPUs has several. `null`: of one it says `[N/A]`, so that it cannot tell. */
export function parseGpuMemory(csv: string): ReadonlyMap<number, number> | null {
  if (/^\s*\d+\s*,\s*\[/m.test(csv)) return null
  const bytes = new Map<number, number>()
  for (const line of csv.split('\n')) {
    const [, pid, mib] = /^\s*(\d+)\s*,\s*(\d+)\s*$/.exec(line) ?? []
    if (pid !== undefined) bytes.set(Number(pid), (bytes.get(Number(pid)) ?? 0) + Number(mib) * MIB)
  }
  return bytes
}
