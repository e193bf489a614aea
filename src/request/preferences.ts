import type { Headers } from '../transport/headers.ts'

/** Queue priority and failover as request headers ask for them. */
export function toPreferences(headers: Headers): { priority?: number; failover?: boolean } {
  const priority = Number(headers['x-leasehold-priority'])
  return {
    ...(Number.isInteger(priority) ? { priority: Math.max(-100, Math.min(100, priority)) } : {}),
    ...(headers['x-leasehold-failover'] === 'true' ? { failover: true } : {}),
  }
}
