import { expect, test } from 'vitest'
import type { Reason } from '../../machines/reasons.ts'
import { toReasonText } from '../../src/explanation/reason-text.ts'

const verdict = { kind: 'loading', detail: '503 Loading model' } as const
const failure = {
  code: 'LEASEHOLD_EXITED_BEFORE_READY',
  message: 'the process exited with code 1 before it was ready',
  tail: ['loading…', 'out of memory'],
} as const

/** A reason of every kind: the type checker names one that is missing. */
const reasons: { readonly [Kind in Reason['kind']]: readonly [Extract<Reason, { kind: Kind }>, string] } = {
  requested: [{ kind: 'requested', id: 'a' }, 'a request asked for it'],
  retried: [
    { kind: 'retried', waiting: 2, failures: 1 },
    'the wait after a failure is over, and 2 requests wait',
  ],
  'wanted-again': [{ kind: 'wanted-again', waiting: 1 }, '1 request waits that came while it was stopping'],
  absent: [
    { kind: 'absent', verdict: { kind: 'refused', detail: 'connection refused' }, waiting: 1 },
    'nothing answered at its address (connection refused), so it is started for 1 request',
  ],
  spawning: [{ kind: 'spawning', waiting: 0 }, 'its process is being started'],
  loading: [{ kind: 'loading', pid: 7 }, 'its process 7 runs and is not ready yet'],
  'loading-elsewhere': [
    { kind: 'loading-elsewhere', verdict },
    'a server that leasehold did not start is loading (503 Loading model)',
  ],
  held: [
    { kind: 'held', holder: { pid: 7, name: 'serve' } },
    'leasehold serve (process 7) runs it and lends it',
  ],
  elsewhere: [{ kind: 'elsewhere', member: 'attic' }, 'attic has it, or starts it: the requests go there'],
  left: [{ kind: 'left' }, 'no request waits for it any more'],
  adopted: [
    { kind: 'adopted', verdict: null },
    'a server was already running at its address: leasehold uses it and never stops it',
  ],
  'became-ready': [{ kind: 'became-ready', verdict: null }, 'its server is ready'],
  leased: [{ kind: 'leased', id: 'a' }, 'a request uses it'],
  released: [{ kind: 'released' }, 'nothing uses it any more'],
  'falling-asleep': [
    { kind: 'falling-asleep', afterMs: 60_000 },
    'it was not used for 1 min 0 s, so it was told to sleep',
  ],
  asleep: [{ kind: 'asleep', isSelf: false }, 'its check says that it sleeps'],
  waking: [{ kind: 'waking', waiting: 1 }, 'there is room for it, so it is woken for 1 request'],
  awake: [{ kind: 'awake', isSelf: false }, 'it was woken, and is healthy'],
  'sleep-failed': [
    { kind: 'sleep-failed', during: 'wake', detail: 'POST /wake_up answered 500' },
    'it could not be woken, so it is stopped: POST /wake_up answered 500',
  ],
  idle: [{ kind: 'idle', idleStopMs: 600_000 }, 'it was not used for 10 min 0 s'],
  abandoned: [{ kind: 'abandoned', abandonStartMs: 5_000 }, 'no request has waited for its start for 5.0 s'],
  stayed: [{ kind: 'stayed' }, 'the service that needed its room does not need it any more'],
  'called-off': [{ kind: 'called-off', id: 'a', stop: 'idle' }, 'a request came just before its stop began'],
  stop: [
    { kind: 'stop', reason: 'asked', force: true },
    'its stop was asked for, without waiting for its requests',
  ],
  failed: [
    { kind: 'failed', failure, failures: 3 },
    'the process exited with code 1 before it was ready. 3 failures in a row. Last output: out of memory',
  ],
  gone: [
    { kind: 'gone', verdict: { kind: 'refused', detail: 'connection refused' } },
    'the server, which leasehold did not start, does not answer any more (connection refused)',
  ],
  unloaded: [{ kind: 'unloaded' }, 'its daemon has unloaded the model by itself, or has ended'],
  'cooled-down': [
    { kind: 'cooled-down', failures: 5 },
    'it failed 5 times in a row; the wait after that is over, and the next request may start it once',
  ],
  declined: [
    { kind: 'declined' },
    'no request waits for its start, and another service would have to stop for it',
  ],
  unwanted: [{ kind: 'unwanted', failures: 1 }, 'the wait after a failure is over, and no request waits'],
  reset: [{ kind: 'reset' }, 'it may start again, because its start was asked for'],
}

test.each(Object.entries(reasons))('the reason %s has its sentence', (_kind, [reason, text]) => {
  expect(toReasonText(reason)).toBe(text)
})

test.each([
  [{ kind: 'requested', id: 'a', cause: 'start' }, 'its start was asked for'],
  [{ kind: 'requested', id: 'a', cause: 'preload' }, 'it is preloaded'],
  [
    { kind: 'requested', id: 'a', cause: 'default' },
    'it is the default service, and comes back when there is room',
  ],
  [{ kind: 'leased', id: 'a', cause: 'start' }, 'its start was asked for'],
  [
    { kind: 'called-off', id: 'a', stop: 'idle', cause: 'start' },
    'its start was asked for just before its stop began',
  ],
  [
    { kind: 'retried', waiting: 0, failures: 1 },
    'the wait after a failure is over, and its start is still wanted',
  ],
  [{ kind: 'wanted-again', waiting: 0 }, 'its start was asked for while it was stopping'],
  [
    { kind: 'absent', verdict: { kind: 'refused', detail: 'connection refused' }, waiting: 0 },
    'nothing answered at its address (connection refused), so it is started',
  ],
  [
    {
      kind: 'absent',
      verdict: { kind: 'refused', status: 200, detail: 'its daemon does not list "a" as loaded' },
      waiting: 0,
    },
    'its daemon does not list "a" as loaded, so it is started',
  ],
] as const)('a start that no request made: %o says so', (reason, text) => {
  expect(toReasonText(reason)).toBe(text)
})

test('a service that nothing has happened to says so', () => {
  expect(toReasonText(null)).toBe('it has not been used yet')
})
