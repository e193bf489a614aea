import type { Place } from '../lease/desk.ts'

/** How a request had to wait for its lease. */
export interface Wait extends Place {
  readonly waitedMs: number
}

/** What a client is told of its place when it began to wait. */
export function toPlaceHeaders({ position, estimatedMs }: Place): Record<string, string> {
  return {
    'x-leasehold-queue-position': String(position),
    ...(estimatedMs === null ? {} : { 'x-leasehold-wait-estimated-ms': String(estimatedMs) }),
  }
}

/** A header holds bytes: a model may be named in any language, and is then named as a URL would. */
function toHeaderText(text: string): string {
  // Through bytes, because half a character cannot be written in a URL.
  return /^[\x20-\x7e]*$/.test(text) ? text : encodeURI(Buffer.from(text).toString())
}

/** What an answer says of its way here. `hops`: how many candidates were tried in vain before; `dropped`: members of its body that were not sent on. */
export function toOwnHeaders(
  id: string,
  ref: string,
  hops: number,
  wait: Wait | undefined,
  dropped: readonly string[] = [],
): Record<string, string> {
  return {
    'x-leasehold-request-id': id,
    'x-leasehold-model': toHeaderText(ref),
    ...(hops === 0 ? {} : { 'x-leasehold-failover': String(hops) }),
    ...(dropped.length === 0 ? {} : { 'x-leasehold-dropped': dropped.join(', ') }),
    ...(wait === undefined ? {} : { ...toPlaceHeaders(wait), 'x-leasehold-wait-ms': String(wait.waitedMs) }),
  }
}
