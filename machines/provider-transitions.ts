import { and, not } from 'xstate'

/** Take a request into the queue: a waiter that asks twice is one waiter, and the queue is bounded. */
export const admit = [
  { guard: 'isKnownWaiter' },
  { guard: 'isQueueFull', actions: 'refuseQueueFull' },
  { actions: 'enqueue' },
] as const

/** The same while nothing listens: the request waits for the next good check, or for the successor. */
export const admitUnreachable = [
  { guard: 'isKnownWaiter' },
  { guard: 'isQueueFull', actions: 'refuseQueueFull' },
  { actions: ['enqueue', 'awaitHealth'] },
] as const

/** The same while the supervisor is asked for a start: it hears how many wait, and how urgently. */
export const admitAsking = [
  { guard: 'isKnownWaiter' },
  { guard: 'isQueueFull', actions: 'refuseQueueFull' },
  { actions: ['enqueue', 'reportDemand'] },
] as const

/** The same while the predecessor of the next start runs: a request keeps its place in the queue for room. */
export const admitSuccessor = [
  { guard: 'isKnownWaiter' },
  { guard: 'isQueueFull', actions: 'refuseQueueFull' },
  { actions: ['enqueue', 'foreseeStart'] },
] as const

/** The same for a waiter that leaves: a service without waiters keeps no place. */
export const leaveAsSuccessor = {
  'lease.cancelled': { guard: 'isKnownWaiter', actions: ['unqueue', 'reportDemand'] },
  'waiter.expired': { guard: 'isKnownWaiter', actions: ['refuseExpired', 'unqueue', 'reportDemand'] },
} as const

/** A run is over: its receipt is kept, and the room that it took is free. */
export const settle = ['noteReceipt', 'reportEnd'] as const

/** A failed start or a crash: count it, then wait, or give up for a while when there were too many. */
export const failWith = <const Action extends string>(...actions: Action[]) =>
  [
    { guard: 'isBreakerDue', target: '#provider.down.tripped', actions: [...actions, 'charge'] },
    { target: '#provider.down.backoff', actions: [...actions, 'charge'] },
  ] as const

/**
 * A start has failed. What only another configuration can cure is not tried again. What passes by itself, and a
 * failure while the memory of a predecessor may still be being freed, is tried again for those who wait.
 */
export const failStart = {
  spawn: [
    {
      guard: 'isLasting',
      target: '#provider.down.tripped',
      actions: ['noteSpawnFailure', 'reportEnd', 'charge'],
    },
    {
      guard: and(['isPortConflict', 'hasRetry']),
      target: '#provider.down.backoff',
      actions: ['noteSpawnFailure', 'reportEnd', 'countRetry'],
    },
    {
      guard: 'isPortConflict',
      target: '#provider.down.backoff',
      actions: ['noteSpawnFailure', 'reportEnd', 'refuseWaiters'],
    },
    {
      guard: and(['isPassing', 'hasRetry', not('isBreakerDue')]),
      target: '#provider.down.backoff',
      actions: ['noteSpawnFailure', 'reportEnd', 'charge', 'countRetry'],
    },
    ...failWith('noteSpawnFailure', 'reportEnd', 'refuseWaiters'),
  ],
  exit: [
    {
      guard: and(['saysPortTaken', 'hasRetry']),
      target: '#provider.down.backoff',
      actions: ['notePortTaken', 'countRetry'],
    },
    { guard: 'saysPortTaken', target: '#provider.down.backoff', actions: ['notePortTaken', 'refuseWaiters'] },
    // A client that asks again meets this failure, and no second start that would fail in the same way.
    {
      guard: 'saysLasting',
      target: '#provider.down.tripped',
      actions: ['noteEarlyExit', 'charge'],
    },
    {
      guard: and(['isFollowing', 'hasRetry', not('isBreakerDue')]),
      target: '#provider.down.backoff',
      actions: ['noteEarlyExit', 'charge', 'countRetry'],
    },
    ...failWith('noteEarlyExit', 'refuseWaiters'),
  ],
} as const

/** A stop begins: whoever waits is told, and a retirement is never forgotten for a lesser reason. */
export const refuseForStop = ['noteStop', 'refuseStopped'] as const

/** The same while a successor may have its place in the queue. */
export const refuseSuccessors = [...refuseForStop, 'reportDemand'] as const

/** The deadline passed without readiness: stop what is ours, let go what is not. */
export const stopAtDeadline = {
  target: '#provider.idle-stopping',
  actions: ['noteReadyTimeout', 'charge', 'noteStartFailed', 'refuseWaiters'],
} as const
export const missDeadline = [
  { guard: 'isOwned', ...stopAtDeadline },
  ...failWith('noteReadyTimeout', 'refuseWaiters'),
] as const

/** A stop is complete: what follows depends on why it was begun, and on who waits. */
export const endStop = [
  { guard: 'isRetiring', target: '#provider.retired', actions: settle },
  {
    guard: and(['isAfterFailure', 'isBreakerOpen']),
    target: '#provider.down.tripped',
    actions: settle,
  },
  { guard: 'isAfterFailure', target: '#provider.down.backoff', actions: settle },
  {
    guard: 'isQueueUsed',
    target: '#provider.starting',
    actions: [...settle, 'forgetRun', 'explainNewRun', 'noteFollowing'],
  },
  { target: '#provider.down.cold', actions: settle },
] as const

/** A receipt that names what is left completes nothing: never start beside a survivor. */
export const endWithSurvivors = [
  {
    guard: and(['isRetiring', 'hasSurvivors']),
    target: '#provider.retired',
    actions: [...settle, 'noteSurvivors', 'soundAlarm'],
  },
  {
    guard: 'hasSurvivors',
    target: '#provider.down.tripped',
    actions: [...settle, 'noteSurvivors', 'soundAlarm'],
  },
] as const

/** A borrowed lease goes back at once: without one in use here, the owner's idle clock is to run. */
export const returnLease = [
  {
    guard: and(['isBorrowed', 'isLastLease', 'isQueueUsed']),
    target: '#provider.starting.warming.borrowing.waiting',
    actions: ['release', 'explainHeld'],
  },
  { guard: and(['isBorrowed', 'isLastLease']), target: '#provider.down.cold', actions: 'release' },
  { guard: 'isBorrowed', actions: 'release' },
] as const
