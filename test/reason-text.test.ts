import { expect, test } from 'vitest'
import type { Reason } from '../machines/reasons.ts'
import { toReasonText } from '../src/reason-text.ts'

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
  'wanted-again': [{ kind: 'wanted-again', waiting: 1 }, '1 request waits that came while it was going down'],
  absent: [
    { kind: 'absent', verdict: { kind: 'refused', detail: 'connection refused' }, waiting: 1 },
    'nothing answered at its address (connection refused), so it is started for 1 request',
  ],
  spawning: [{ kind: 'spawning', waiting: 0 }, 'its process is being started'],
  loading: [{ kind: 'loading', pid: 7 }, 'its process 7 runs and is not ready yet'],
  'loading-elsewhere': [
    { kind: 'loading-elsewhere', verdict },
    'a server that somebody else started is loading (503 Loading model)',
  ],
  held: [
    { kind: 'held', holder: { pid: 7, name: 'serve' } },
    'leasehold serve (process 7) runs it and lends it',
  ],
  left: [{ kind: 'left' }, 'nobody here waits for it any more'],
  adopted: [
    { kind: 'adopted', verdict: null },
    'a server was running at its address already: it is used, and never stopped',
  ],
  'became-ready': [{ kind: 'became-ready', verdict: null }, 'its server said that it is ready'],
  leased: [{ kind: 'leased', id: 'a' }, 'a request uses it'],
  released: [{ kind: 'released' }, 'its last request ended'],
  idle: [{ kind: 'idle', idleStopMs: 600_000 }, 'nobody used it for 10 min 0 s'],
  abandoned: [{ kind: 'abandoned', abandonStartMs: 5_000 }, 'nobody waited for its start any more for 5.0 s'],
  stayed: [{ kind: 'stayed' }, 'the service that had waited for its room does not wait any more'],
  'called-off': [
    { kind: 'called-off', id: 'a', stop: 'idle' },
    'a request came just before it would have been stopped',
  ],
  stop: [
    { kind: 'stop', reason: 'asked', force: true },
    'somebody asked for it to stop, without waiting for its requests',
  ],
  failed: [
    { kind: 'failed', failure, failures: 3 },
    'the process exited with code 1 before it was ready. 3 failures in a row. Last output: out of memory',
  ],
  gone: [
    { kind: 'gone', verdict: { kind: 'refused', detail: 'connection refused' } },
    'the server that somebody else runs does not answer any more (connection refused)',
  ],
  'cooled-down': [
    { kind: 'cooled-down', failures: 5 },
    'it failed 5 times in a row and was left alone for a while: the next request may try once',
  ],
  declined: [
    { kind: 'declined' },
    'nobody waited for its start any more, and others would have had to leave for it',
  ],
  unwanted: [{ kind: 'unwanted', failures: 1 }, 'the wait after a failure is over, and nobody waits'],
  reset: [{ kind: 'reset' }, 'somebody allowed it to start again'],
}

test.each(Object.entries(reasons))('the reason %s has its sentence', (_kind, [reason, text]) => {
  expect(toReasonText(reason)).toBe(text)
})

test('a service that nothing has happened to says so', () => {
  expect(toReasonText(null)).toBe('nobody has asked for it yet')
})
