import type { Peer } from '../../machines/messages.ts'
import type { ProviderState } from '../../machines/provider/tags.ts'
import { toPlainLines } from '../text/plain-text.ts'

/** States of a service, in words for people. */
const stateWords: Readonly<Record<ProviderState, string>> = {
  'down.cold': 'down',
  'down.backoff': 'waits before the next start',
  'down.tripped': 'failing: requests are refused',
  probing: 'looking for a running server',
  'starting.claiming': 'starting',
  'starting.spawning': 'starting',
  'starting.warming': 'loading',
  ready: 'ready, not in use',
  'ready.falling-asleep': 'falling asleep',
  'ready.asleep': 'asleep',
  'ready.waking': 'waking',
  'leased.open': 'in use',
  'leased.draining': 'draining',
  'idle-stopping.terminating': 'stopping',
  'idle-stopping.killing': 'stopping (killed)',
  'idle-stopping.sweeping': 'stopping',
  retired: 'ended',
}

/** The state of a service in words. A state that is unknown here, such as `unavailable`, is shown by its name. */
export function describeState(state: string): string {
  return Object.hasOwn(stateWords, state) ? stateWords[state as ProviderState] : state
}

/** Another supervisor, in words: `leasehold serve (process 123)`. */
export function describePeer({ name, pid }: Peer): string {
  return `leasehold ${toPlainLines(name)} (process ${pid})`
}

/** Descriptions of codes that do not describe themselves. */
const codeWords: Readonly<Record<string, string>> = {
  LEASEHOLD_ABORTED: 'the client aborted it',
  LEASEHOLD_BACKEND_FAILED: 'the server reported a failure',
  LEASEHOLD_BAD_REQUEST: 'the request is invalid',
  LEASEHOLD_CIRCUIT_OPEN: 'the service keeps failing',
  LEASEHOLD_CLAIM_FAILED: 'the claim on its address failed',
  LEASEHOLD_CLUSTER_UNAVAILABLE: 'the cluster cannot be joined',
  LEASEHOLD_HOP_REFUSED: 'the request does not prove that a member sent it',
  LEASEHOLD_INTERNAL: 'internal error',
  LEASEHOLD_KEY_REQUIRED: 'no valid API key',
  LEASEHOLD_LOOP: 'the request came back to this leasehold',
  LEASEHOLD_OVERLOADED: 'the gateway is at its limit',
  LEASEHOLD_REMOVED: 'the service was removed from the configuration',
  LEASEHOLD_SHUTTING_DOWN: 'leasehold is shutting down',
  LEASEHOLD_STOPPED: 'the service was stopped',
  LEASEHOLD_UNHEALTHY: 'the server did not answer its health checks',
}

/** The code of an error in words: `LEASEHOLD_READY_TIMEOUT` is `ready timeout`. */
export function describeCode(code: string): string {
  const words = codeWords[code]
  if (words !== undefined) return words
  return code
    .replace(/^LEASEHOLD_/, '')
    .toLowerCase()
    .replaceAll('_', ' ')
}
