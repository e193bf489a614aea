import { once } from 'node:events'
import type { Writable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import type { ModelServerSettings } from './options.ts'
import { pause, pauseForEver } from './pace.ts'
import type { StreamEvent } from './reply.ts'

/** Where a stream goes, and how it may end before its time. */
export interface StreamTarget {
  readonly sink: Writable
  readonly settings: ModelServerSettings
  /** Aborted when the client has left. */
  readonly signal: AbortSignal
  /** Ends the process, or the connection. */
  crash(): void
}

/**
 * Writes events at the configured pace, each as a write of its own, and ends the sink. A mid-stream fault
 * strikes when its number of tokens has been written. Rejects as soon as the client leaves.
 */
export async function writeEvents(events: Iterable<StreamEvent>, target: StreamTarget): Promise<void> {
  const { sink, settings, signal } = target
  let tokens = 0
  for (const event of events) {
    if (event.kind === 'done' && settings.omitDone) continue
    // The first frame carries only the role: a fault "after 0 tokens" lets it pass.
    if (event.kind === 'token' || tokens > 0) {
      if (tokens === settings.crashMidStreamAfter) {
        target.crash()
        await pauseForEver(signal)
      }
      if (tokens === settings.stallMidStreamAfter) await pauseForEver(signal)
      if (tokens === settings.truncateAfter) break
    }
    if (event.kind === 'token') {
      await pause(tokens === 0 ? settings.firstTokenMs : settings.tokenDelayMs, signal)
      tokens += 1
    }
    if (!sink.write(formatEvent(event))) await once(sink, 'drain', { signal })
    // Without this turn of the loop Node would join writes, and the client's leaving would not be seen.
    await setImmediate(undefined, { signal })
  }
  sink.end()
}

function formatEvent({ event, data }: StreamEvent): string {
  return `${event === undefined ? '' : `event: ${event}\n`}data: ${data}\n\n`
}
