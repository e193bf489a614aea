import { execFile } from 'node:child_process'
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

/** Asks `nvidia-smi`, then `rocm-smi`. */
export async function readGpus(
  nvidiaSmi: string,
  { rocmSmi = 'rocm-smi', signal }: { readonly rocmSmi?: string; readonly signal?: AbortSignal } = {},
): Promise<Gpus | null> {
  const query = [`--query-gpu=${NVIDIA_COLUMNS}`, '--format=csv,noheader,nounits']
  const csv = await readSmi(nvidiaSmi, query, signal)
  const nvidia = csv === undefined ? undefined : parseNvidiaGpus(csv)
  if (nvidia !== undefined) return { program: nvidiaSmi, ...nvidia }
  const json = await readSmi(rocmSmi, ROCM_FLAGS, signal)
  const list = json === undefined ? [] : parseRocmGpus(json)
  return list.length === 0 ? null : { program: rocmSmi, list }
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

/** `null` for `[N/A]` and its like. */
function toAmount(text: unknown): number | null {
  const value = text === '' ? Number.NaN : Number(text ?? Number.NaN)
  return Number.isFinite(value) ? value : null
}

function toMiB(bytes: unknown): number | null {
  const amount = toAmount(bytes)
  return amount === null ? null : Math.round(amount / BYTES_PER_MIB)
}

/** What `nvidia-smi` or `rocm-smi` prints; `undefined` where it is missing, fails, or takes longer than five seconds. */
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
