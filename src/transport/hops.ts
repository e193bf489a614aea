import { LoopError } from '../errors.ts'
import type { Headers } from './headers.ts'

/** The gateways that a request has passed, in order: `9f2c41d07a3b#17, 41d0…#3`. */
export const HOP_HEADER = 'x-leasehold-hop'

/** The instance of a gateway, on its list of models: by it another leasehold knows what it asks. */
export const INSTANCE_HEADER = 'x-leasehold-instance'

/** With 103, to a member: its request waits for a lease, or has got it after a wait. */
export const QUEUED_HEADER = 'x-leasehold-queued'
export const GRANTED_HEADER = 'x-leasehold-granted'
/** How long a request has waited with the member that passes it on, in milliseconds. */
export const WAITED_HEADER = 'x-leasehold-waited-ms'

/** Maximum number of gateways in a row. An intended chain has two: one near the client, one near the server. */
const MAX_HOPS = 4
/** Longest list that is read, in characters. */
const MAX_HOP_TEXT = 512

/**
 * Refuses a request that has passed this gateway before, or too many gateways. `id`: the request's own, as
 * `INSTANCE-NUMBER`.
 * @throws {@link LoopError} `LEASEHOLD_LOOP`
 */
export function checkHops(headers: Headers, id: string): void {
  const given = headers[HOP_HEADER]
  if (given === undefined) return
  const text = String(given)
  const passed = text
    .slice(0, MAX_HOP_TEXT)
    .split(',')
    .map((hop) => hop.trim().replace(/#.*$/s, ''))
  const instance = parseInstance(id)
  if (passed.includes(instance)) throw new LoopError([...passed, instance], true)
  if (passed.length >= MAX_HOPS || text.length > MAX_HOP_TEXT)
    throw new LoopError([...passed, instance], false)
}

/** The hop header of the forwarded request. */
export function toHopMark(headers: Headers, id: string): string {
  const given = headers[HOP_HEADER]
  const own = `${parseInstance(id)}#${id.slice(id.lastIndexOf('-') + 1)}`
  return given === undefined ? own : `${given}, ${own}`
}

/** Whether a request has passed a leasehold before this one. */
export function hasHop(headers: Headers): boolean {
  return headers[HOP_HEADER] !== undefined
}

const MARKS = /^[0-9a-f]{12}#\d+(?:, *[0-9a-f]{12}#\d+)*$/

/**
 * Drops a mark that no leasehold has made: the name of a member counts with its proof only. The mark of a leasehold
 * stays, for it ends loops, and means nothing else to one that does not know its instance.
 */
export function dropForeignMark(headers: Record<string, string | string[] | undefined>): void {
  const given = headers[HOP_HEADER]
  if (given !== undefined && !MARKS.test(String(given))) headers[HOP_HEADER] = undefined
}

/** Whether a request has passed the gateway of this instance. */
export function hasPassed(headers: Headers, instance: string): boolean {
  return String(headers[HOP_HEADER] ?? '').includes(`${instance}#`)
}

function parseInstance(id: string): string {
  return id.slice(0, id.lastIndexOf('-'))
}
