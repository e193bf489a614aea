import type { Writable } from 'node:stream'
import type { Clock } from '../clock.ts'

/**
 * Cuts a client off that takes nothing for `stallMs`: it must not hold a lease for ever. What is returned is called each
 * time that more was written than the client takes at once.
 */
export function createStallWatch(client: Writable, clock: Clock, stallMs: number): () => void {
  let timer: unknown
  const clear = () => clock.clearTimeout(timer)
  client.on('drain', clear).once('close', clear)
  return () => {
    clear()
    if (client.writableNeedDrain) timer = clock.setTimeout(() => client.destroy(), stallMs)
  }
}
