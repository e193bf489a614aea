import type { Writable } from 'node:stream'
import type { Clock } from '../clock.ts'

/**
 * Cuts a client off that takes nothing for `stallMs`: it must not hold a lease for ever. What is returned is called each
 * time that more was written than the client takes at once. A client that takes everything at once costs nothing.
 */
export function createStallWatch(client: Writable, clock: Clock, stallMs: number): () => void {
  let timer: unknown
  let isWatched = false
  const clear = () => clock.clearTimeout(timer)
  // Another listener may have written more than is taken, again.
  const clearIfDrained = () => {
    if (!client.writableNeedDrain) clear()
  }
  return () => {
    clear()
    if (!client.writableNeedDrain) return
    if (!isWatched) client.on('drain', clearIfDrained).once('close', clear)
    isWatched = true
    timer = clock.setTimeout(() => client.destroy(), stallMs)
  }
}
