import type { Actor } from 'xstate'
import type { Failure } from '../../machines/messages.ts'
import { type Decision, isKeptOutBy } from '../../machines/scheduler.ts'
import type { supervisorMachine } from '../../machines/supervisor.ts'
import { toDecisionText } from '../explanation/decision-text.ts'
import type { LeaseBook } from './desk.ts'
import { type AcquireOptions, holdLease } from './lease.ts'

export interface WarmUpOptions<Seen> extends AcquireOptions {
  readonly root: Actor<typeof supervisorMachine>
  readonly leases: LeaseBook
  readonly toError: (key: string, failure: Failure) => Error
  /** Called while the service is held; its result is the result of the warm-up. */
  readonly look: () => Seen
}

/**
 * Brings a service up without a request: settles when it is ready, or fails as a lease would. It does not wait for room
 * that others use or are pinned to: then the error says who holds it.
 */
export async function warmUp<Seen>(
  key: string,
  { root, leases, toError, look: lookWhileUp, signal, priority }: WarmUpOptions<Seen>,
): Promise<Seen> {
  const noRoom = new AbortController()
  let refusal: Decision | undefined
  const look = (decision: Decision | null | undefined) => {
    if (decision === null || decision === undefined || refusal !== undefined || !isHeldBack(decision)) return
    refusal = decision
    noRoom.abort()
  }
  const watch = root.on('scheduler.decided', (decision) => {
    if (decision.key === key) look(decision)
  })
  try {
    const lease = holdLease(leases, key, {
      cause: 'start',
      signal: signal === undefined ? noRoom.signal : AbortSignal.any([noRoom.signal, signal]),
      ...(priority === undefined ? {} : { priority }),
    })
    look(root.getSnapshot().context.queuedStarts.find((one) => one.key === key)?.decision)
    const { release } = await lease
    const seen = lookWhileUp()
    release()
    return seen
  } catch (error) {
    if (refusal === undefined || signal?.aborted) throw error
    throw toError(key, { code: 'LEASEHOLD_NO_ROOM', message: toDecisionText(refusal) })
  } finally {
    watch.unsubscribe()
  }
}

/** Whether a service holds the room and will not leave it soon. A service that could stay does not count. */
function isHeldBack(decision: Decision): boolean {
  const { choice, because, rejected } = decision
  if (choice.type !== 'wait') return false
  if (because.cause === 'no-room') return isKeptOutBy(decision, ['leased', 'pinned', 'survivor'])
  // Services ahead in the queue may wait for a service in use themselves.
  return (
    because.cause === 'promised' &&
    rejected.some((one) => one.because === 'leased' || one.because === 'survivor')
  )
}
