import { useEffect, useState } from 'preact/hooks'
import type { Hardware } from '../../../observe/hardware.ts'
import type { App } from '../app.ts'
import { ask } from '../stream.ts'

/** Samples that are kept: one hour. */
const MAX_SAMPLES = 720
/** The second look comes earlier: the load of the processor is the difference of two samples. */
const SECOND_MS = 1_500
/** Whether the page can be seen is looked at again after this time. */
const HIDDEN_MS = 1_000

/** Looks at the hardware while its view is shown; `null`: a recording has none, or the gateway does not tell it. */
export function useHardware({ state }: App): Hardware | null {
  const [hardware, show] = useState<Hardware | null>(null)
  const isWanted = state.recording === null && state.connection === 'open'
  const instance = state.status?.instance
  useEffect(() => show(null), [instance, state.recording])
  useEffect(() => {
    if (!isWanted) return
    const leaving = new AbortController()
    void watch(leaving.signal, (told) => show((before) => addSamples(before, told)))
    return () => leaving.abort()
  }, [isWanted, instance])
  return hardware
}

async function watch(signal: AbortSignal, tell: (told: Hardware) => void): Promise<void> {
  let after = ''
  let looks = 0
  while (!signal.aborted) {
    let pauseMs = HIDDEN_MS
    // Each look keeps the programs running that are asked about the GPUs.
    if (!document.hidden) {
      try {
        const told = (await (await ask(`/api/hardware${after}`, { signal })).json()) as Hardware
        if (signal.aborted) return
        tell(told)
        const last = told.samples.at(-1)
        if (last !== undefined) after = `?after=${last.atMs}`
        pauseMs = looks === 0 ? SECOND_MS : told.everyMs
        looks += 1
      } catch {
        pauseMs = 5_000
      }
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
}

function addSamples(before: Hardware | null, told: Hardware): Hardware {
  const last = before?.samples.at(-1)?.atMs ?? Number.NEGATIVE_INFINITY
  const added = told.samples.filter(({ atMs }) => atMs > last)
  return { ...told, samples: [...(before?.samples ?? []), ...added].slice(-MAX_SAMPLES) }
}
