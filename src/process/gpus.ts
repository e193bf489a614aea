import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { toPlainText } from '../text/plain-text.ts'

/** One GPU of this host. */
export interface Gpu {
  readonly name: string
  readonly totalMiB: number
  readonly usedMiB: number
}

/** The GPUs of this host, and the program that told of them. `null`: neither `nvidia-smi` nor `rocm-smi` answered. */
export interface Gpus {
  readonly program: string
  readonly driver?: string
  readonly list: readonly Gpu[]
}

/** The longest that one of the programs may take, in milliseconds, and say, in bytes. */
const TIMEOUT_MS = 5_000
const MAX_BYTES = 1_048_576
const BYTES_PER_MIB = 1_048_576

/** Asks `nvidia-smi`, then `rocm-smi`. */
export async function readGpus(nvidiaSmi: string, rocmSmi = 'rocm-smi'): Promise<Gpus | null> {
  const csv = await readSmi(nvidiaSmi, [
    '--query-gpu=name,memory.total,memory.used,driver_version',
    '--format=csv,noheader,nounits',
  ])
  const nvidia = csv === undefined ? undefined : parseNvidiaGpus(csv)
  if (nvidia !== undefined) return { program: nvidiaSmi, ...nvidia }
  const json = await readSmi(rocmSmi, ['--showproductname', '--showmeminfo', 'vram', '--json'])
  const list = json === undefined ? [] : parseRocmGpus(json)
  return list.length === 0 ? null : { program: rocmSmi, list }
}

/** Lines of `NAME, TOTAL, USED, DRIVER` in MiB; `undefined`: there is none. A name may hold commas. */
export function parseNvidiaGpus(csv: string): Pick<Gpus, 'driver' | 'list'> | undefined {
  const rows = csv.split('\n').flatMap((line) => {
    const [, name = '', total, used, driver = ''] =
      /^(.+), (\d+|\[[^\]]*\]), (\d+|\[[^\]]*\]), (\S+)\s*$/.exec(line) ?? []
    return total === undefined
      ? []
      : [{ name: toPlainText(name), total: toNumber(total), used: toNumber(used), driver }]
  })
  const [first] = rows
  if (first === undefined) return undefined
  return {
    driver: toPlainText(first.driver),
    list: rows.map(({ name, total, used }) => ({ name, totalMiB: total, usedMiB: used })),
  }
}

/** An object of cards, with amounts in bytes. */
export function parseRocmGpus(json: string): Gpu[] {
  let cards: unknown
  try {
    cards = JSON.parse(json)
  } catch {
    return []
  }
  return Object.values(Object(cards)).flatMap((card: unknown) => {
    const {
      'VRAM Total Memory (B)': total,
      'VRAM Total Used Memory (B)': used,
      ...rest
    }: Record<string, unknown> = Object(card)
    if (total === undefined) return []
    const name = [rest['Card Series'], rest['Card series'], rest['Card Model'], rest['Card model']].find(
      (text) => typeof text === 'string',
    )
    return [
      {
        name: toPlainText(typeof name === 'string' ? name : 'AMD GPU'),
        totalMiB: toMiB(total),
        usedMiB: toMiB(used),
      },
    ]
  })
}

/** 0 for `[N/A]`, as with memory that the GPU shares with the processor. */
function toNumber(text: string | undefined): number {
  const value = Number(text)
  return Number.isFinite(value) ? value : 0
}

function toMiB(bytes: unknown): number {
  const value = Number(bytes)
  return Number.isFinite(value) ? Math.round(value / BYTES_PER_MIB) : 0
}

/** What `nvidia-smi` or `rocm-smi` prints; `undefined` where it is missing, fails, or takes longer than five seconds. */
export async function readSmi(program: string, args: readonly string[]): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)(program, args, {
      timeout: TIMEOUT_MS,
      maxBuffer: MAX_BYTES,
      killSignal: 'SIGKILL',
    })
    return stdout
  } catch {
    return undefined
  }
}
