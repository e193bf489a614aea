import type { ClaimOutcome, Failure, ProviderEvent, SleepOutcome, StartCause, Verdict } from '../messages.ts'

/** The lease or waiter that an event is about. */
export function idOf(event: ProviderEvent): string {
  return 'id' in event ? event.id : ''
}

/** What asks for a lease when no request does. */
export function causeOf(event: ProviderEvent): { readonly cause?: StartCause } {
  return event.type === 'lease.requested' && event.cause !== undefined ? { cause: event.cause } : {}
}

/** The idle time that a request for a lease asks for. */
export function keepAliveOf(event: ProviderEvent): number | undefined {
  return event.type === 'lease.requested' ? event.keepAliveMs : undefined
}

/** The verdict that an event carries: of a health check, or of the probe in `probing`. */
export function verdictOf(event: ProviderEvent): Verdict | undefined {
  if (event.type === 'health.verdict') return event.verdict
  return 'output' in event && 'kind' in (event.output as object) ? (event.output as Verdict) : undefined
}

/** Whether this event reports that a request was refused the connection. */
export function isConnectionRefused(event: ProviderEvent): boolean {
  return event.type === 'health.verdict' && event.isOfRequest === true && event.verdict.kind === 'refused'
}

/** Why a request to sleep or to wake did not do what it should; `undefined`: it did. */
export function sleepFaultOf(event: ProviderEvent): string | undefined {
  if ('error' in event) return String(event.error)
  const output = 'output' in event ? (event.output as SleepOutcome) : undefined
  return output?.outcome === 'failed' ? output.detail : undefined
}

/** How a claim ended: the one of `starting.claiming`, or the one that the probe made. */
export function outcomeOf(event: ProviderEvent): ClaimOutcome | undefined {
  return 'output' in event && 'outcome' in (event.output as object)
    ? (event.output as ClaimOutcome)
    : undefined
}

/** The failure of a spawn. */
export function failureOf(event: ProviderEvent): Failure | undefined {
  return event.type === 'process.failed' ? event.failure : undefined
}
