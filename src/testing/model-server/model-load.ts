import type { ModelServerSettings } from './options.ts'
import { pause } from './pace.ts'

/** A line of log text, 100 bytes with its line feed. */
const floodLine = 'load_tensors: '.padEnd(99, '.')

/**
 * Plays the load of a model: `loadMs` long, with log lines about its progress and `logFloodBytes` more.
 * Rejects with an `AbortError` when the server is closed meanwhile.
 */
export async function load(
  { loadMs, logFloodBytes }: ModelServerSettings,
  log: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  log('loading model')
  for (let bytes = 0; bytes < logFloodBytes; bytes += floodLine.length + 1) log(floodLine)
  const steps = Math.min(10, Math.ceil(loadMs / 100))
  for (let step = 1; step <= steps; step += 1) {
    await pause(loadMs / steps, signal)
    log(`load progress ${Math.round((100 * step) / steps)} %`)
  }
}

/** Prints how a load ended, in llama.cpp's words. */
export function printLoadEnd(failLoad: ModelServerSettings['failLoad'], log: (line: string) => void): void {
  if (failLoad === null) {
    log('model loaded')
    return
  }
  log("error loading model: tensor 'blk.1.ffn_up.weight' data is not within the file bounds")
  log('failed to load model')
  if (failLoad === 'exit') log('exiting due to model loading error')
}

/** Prints a line at a steady pace until the server is closed. `everyMs: 0` prints none. */
export async function printLines(
  everyMs: number,
  log: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  for (let line = 1; everyMs > 0 && !signal.aborted; line += 1) {
    await pause(everyMs, signal).then(
      () => log(`line ${line}`),
      () => undefined,
    )
  }
}
