import { execFile } from 'node:child_process'
import { totalmem } from 'node:os'
import { platform } from 'node:process'
import { promisify } from 'node:util'
import { toPlainText } from '../text/plain-text.ts'

/** One GPU of this host. `null`: it does not tell, or has no such thing. */
export interface Gpu {
  readonly index: number
  readonly name: string
  /** `null`: memory that the GPU shares with the processor, for one. */
  readonly totalMiB: number | null
  readonly usedMiB: number | null
  /** Part of the time in which it worked, in percent. */
  readonly utilisationPercent: number | null
  readonly temperatureC: number | null
  readonly memoryTemperatureC: number | null
  readonly powerWatts: number | null
  readonly powerLimitWatts: number | null
  readonly fanPercent: number | null
}

/** The GPUs of this host, and the program that told of them. */
export interface Gpus {
  readonly program: string
  readonly driver?: string
  readonly list: readonly Gpu[]
}

/** The longest that one of the programs may take, in milliseconds, and say, in bytes. */
const TIMEOUT_MS = 5_000
const MAX_BYTES = 1_048_576
const BYTES_PER_MIB = 1_048_576

/** Every driver of the last ten years knows these. One that it does not know would cost the answer to all. */
const NVIDIA_COLUMNS = [
  'index',
  'name',
  'memory.total',
  'memory.used',
  'driver_version',
  'utilization.gpu',
  'temperature.gpu',
  'power.draw',
  'power.limit',
  'fan.speed',
]
const ROCM_FLAGS = [
  '--showproductname',
  '--showmeminfo',
  'vram',
  '--showuse',
  '--showtemp',
  '--showpower',
  '--showmaxpower',
  '--showfan',
  '--json',
]

const IOREG = platform === 'darwin' ? '/usr/sbin/ioreg' : undefined
const IOREG_FLAGS = ['-r', '-c', 'IOGPU', '-d', '1', '-f']

export interface GpuPrograms {
  /** @default 'rocm-smi' */
  readonly rocmSmi?: string
  /** Knows the GPU of a Mac. @default '/usr/sbin/ioreg' on macOS, none elsewhere */
  readonly ioreg?: string | undefined
  /** Ends a program that is asked. */
  readonly signal?: AbortSignal
}

/** Asks `nvidia-smi`, then `rocm-smi`, then on a Mac `ioreg`. `null`: none of them tells of a GPU. */
export async function readGpus(
  nvidiaSmi: string,
  { rocmSmi = 'rocm-smi', ioreg = IOREG, signal }: GpuPrograms = {},
): Promise<Gpus | null> {
  const query = [`--query-gpu=${NVIDIA_COLUMNS}`, '--format=csv,noheader,nounits']
  const csv = await readSmi(nvidiaSmi, query, signal)
  const nvidia = csv === undefined ? undefined : parseNvidiaGpus(csv)
  if (nvidia !== undefined) return { program: nvidiaSmi, ...nvidia }
  const json = await readSmi(rocmSmi, ROCM_FLAGS, signal)
  const amd = json === undefined ? [] : parseRocmGpus(json)
  if (amd.length > 0) return { program: rocmSmi, list: amd }
  const text = ioreg === undefined ? undefined : await readSmi(ioreg, IOREG_FLAGS, signal)
  const apple = text === undefined ? undefined : parseAppleGpu(text, totalmem())
  return ioreg === undefined || apple === undefined ? null : { program: ioreg, list: [apple] }
}

/**
 * Lines of the columns above, with MiB, percent, °C and W as plain numbers, and `[N/A]`, `[Not Supported]` or
 * `[Unknown Error]` where there is none; `undefined`: there is no such line. A name may hold commas.
 */
export function parseNvidiaGpus(csv: string): Pick<Gpus, 'driver' | 'list'> | undefined {
  const behindName = NVIDIA_COLUMNS.length - 2
  const rows = csv.split('\n').flatMap((line) => {
    const [index = '', ...rest] = line.trim().split(', ')
    if (!/^\d+$/.test(index) || rest.length <= behindName) return []
    const [total, used, driver = '', utilisation, temperature, power, powerLimit, fan] = rest.slice(
      -behindName,
    )
    const gpu: Gpu = {
      index: Number(index),
      name: toPlainText(rest.slice(0, -behindName).join(', ')),
      totalMiB: toAmount(total),
      usedMiB: toAmount(used),
      utilisationPercent: toAmount(utilisation),
      temperatureC: toAmount(temperature),
      memoryTemperatureC: null,
      powerWatts: toAmount(power),
      powerLimitWatts: toAmount(powerLimit),
      fanPercent: toAmount(fan),
    }
    return [{ gpu, driver }]
  })
  const [first] = rows
  return first && { driver: toPlainText(first.driver), list: rows.map(({ gpu }) => gpu) }
}

/** An object of cards, with amounts in bytes. Their keys differ from version to version. A warning may stand before it. */
export function parseRocmGpus(json: string): Gpu[] {
  let cards: unknown
  try {
    cards = JSON.parse(json.slice(json.indexOf('{')))
  } catch {
    return []
  }
  return Object.entries(Object(cards)).flatMap(([id, card], place) => {
    const facts: Record<string, unknown> = Object(card)
    const find = (pattern: RegExp) => Object.entries(facts).find(([key]) => pattern.test(key))?.[1]
    const total = find(/^VRAM Total Memory \(B\)/)
    if (total === undefined) return []
    const names = [find(/^Card Series/i), find(/^Device Name/i), find(/^Card Model/i)]
    const name = names.find((text) => typeof text === 'string' && text !== 'N/A')
    return {
      index: Number(/^card(\d+)$/.exec(id)?.[1] ?? place),
      name: toPlainText(typeof name === 'string' ? name : 'AMD GPU'),
      totalMiB: toMiB(total),
      usedMiB: toMiB(find(/^VRAM Total Used Memory \(B\)/)),
      utilisationPercent: toAmount(find(/^GPU use \(%\)/)),
      temperatureC: toAmount(
        find(/^Temperature \(Sensor edge\)/) ?? find(/^Temperature \(Sensor junction\)/),
      ),
      memoryTemperatureC: toAmount(find(/^Temperature \(Sensor memory\)/)),
      powerWatts: toAmount(find(/^(Average|Current Socket) Graphics Package Power/)),
      powerLimitWatts: toAmount(find(/^Max Graphics Package Power/)),
      fanPercent: toAmount(find(/^Fan speed \(%\)/i)),
    }
  })
}

/** Properties `"model" = "…"`, and statistics in a dictionary. All memory of a Mac is its GPU's, too. */
export function parseAppleGpu(text: string, memoryBytes: number): Gpu | undefined {
  const find = (pattern: RegExp) => pattern.exec(text)?.[1]
  const usedBytes = find(/"In use system memory"\s*=\s*(\d+)/)
  const utilisation = find(/"Device Utilization %"\s*=\s*(\d+)/)
  if (usedBytes === undefined && utilisation === undefined) return undefined
  const cores = find(/"gpu-core-count"\s*=\s*(\d+)/)
  return {
    index: 0,
    name: toPlainText(
      `${find(/"model"\s*=\s*"([^"]+)"/) ?? 'Apple GPU'}${cores ? `, ${cores} GPU cores` : ''}`,
    ),
    totalMiB: toMiB(memoryBytes),
    usedMiB: toMiB(usedBytes),
    utilisationPercent: toAmount(utilisation),
    temperatureC: null,
    memoryTemperatureC: null,
    powerWatts: null,
    powerLimitWatts: null,
    fanPercent: null,
  }
}

/** `null` for `[N/A]` and its like. */
function toAmount(text: unknown): number | null {
  const value = text === '' ? Number.NaN : Number(text ?? Number.NaN)
  return Number.isFinite(value) ? value : null
}

function toMiB(bytes: unknown): number | null {
  const amount = toAmount(bytes)
  return amount === null ? null : Math.round(amount / BYTES_PER_MIB)
}

/** What one of these programs prints; `undefined` where it is missing, fails, or takes longer than five seconds. */
export async function readSmi(
  program: string,
  args: readonly string[],
  signal?: AbortSignal,
): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)(program, args, {
      timeout: TIMEOUT_MS,
      maxBuffer: MAX_BYTES,
      killSignal: 'SIGKILL',
      signal,
    })
    return stdout
  } catch {
    return undefined
  }
}
