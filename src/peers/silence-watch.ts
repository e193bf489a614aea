import { type Clock, GAP_MS } from '../clock.ts'
import { OWNER_SILENCE_MS } from './peer-wire.ts'

/** Between two questions whether the owner is still there, in milliseconds. */
const PING_MS = 1_000

/** Asks again and again whether the other end of a connection still answers. */
export interface SilenceWatch {
  /** Something came: whatever it was, it is an answer. */
  hear(): void
  close(): void
}

export interface SilenceWatchOptions {
  readonly clock: Clock
  readonly ping: () => void
  /** Called when a question stayed open for `OWNER_SILENCE_MS`, and every `PING_MS` from then on until something comes. */
  readonly onSilent: () => void
}

/** Watches from now on. A silent peer is known at most `PING_MS` + `OWNER_SILENCE_MS` after it fell silent. */
export function watchSilence({ clock, ping, onSilent }: SilenceWatchOptions): SilenceWatch {
  let unansweredSinceMs: number | undefined
  let timer: unknown
  const arm = () => {
    const dueMs = clock.now() + PING_MS
    timer = clock.setTimeout(() => look(dueMs), PING_MS)
  }
  const look = (dueMs: number) => {
    const nowMs = clock.now()
    arm()
    // We stood still ourselves: what was not answered meanwhile proves nothing.
    if (nowMs - dueMs >= GAP_MS) unansweredSinceMs = undefined
    if (unansweredSinceMs === undefined) {
      unansweredSinceMs = nowMs
      ping()
    } else if (nowMs - unansweredSinceMs >= OWNER_SILENCE_MS) onSilent()
  }
  arm()
  return {
    hear: () => {
      unansweredSinceMs = undefined
    },
    close: () => clock.clearTimeout(timer),
  }
}
