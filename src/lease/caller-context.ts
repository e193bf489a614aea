import { AsyncLocalStorage } from 'node:async_hooks'

/**
 * Calls a function in the async context in which leasehold was loaded. What a caller starts lives longer than its
 * request: a timer, a process or a connection that was made in the caller's context would keep that alive, and run
 * later work in it.
 */
export const runOutside = AsyncLocalStorage.snapshot()
