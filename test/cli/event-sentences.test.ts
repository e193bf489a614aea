import { expect, test } from 'vitest'
import { describeEvent, toldTypes } from '../../src/cli/event-sentences.ts'
import type { SupervisorEvent } from '../../src/events/events.ts'

const head = { seq: 1, atMs: 1, time: '2026-01-01T00:00:01.500Z' }
const service = { ...head, service: 'demo', key: 'k' }
const request = { ...head, requestId: 'r1' }
const failure = {
  code: 'LEASEHOLD_EXITED_BEFORE_READY',
  message: 'the process exited',
  tail: ['out of memory'],
} as const

const told: readonly (readonly [SupervisorEvent, string])[] = [
  [{ ...service, type: 'lease.requested', id: 'a', cause: 'preload' }, '00:00:01.500  demo  it is preloaded'],
  [{ ...service, type: 'lease.requested', id: 'a' }, '00:00:01.500  demo  request a asks for a lease'],
  [
    { ...service, type: 'lease.queued', id: 'a', position: 2, estimatedMs: 2_500 },
    '00:00:01.500  demo  request a waits at place 2, for about 2.5 s',
  ],
  [
    { ...service, type: 'lease.refused', id: 'a', failure },
    '00:00:01.500  demo  request a gets no lease: the process exited. Last output: out of memory',
  ],
  [
    { ...service, type: 'service.stop', reason: 'asked', force: true },
    '00:00:01.500  demo  is told to stop without waiting for its requests: its stop was asked for',
  ],
  [
    { ...service, type: 'process.exited', generation: 'g', exitCode: 1, signal: null, tail: [] },
    '00:00:01.500  demo  its process ended: code 1',
  ],
  [
    { ...request, type: 'request.attempted', ref: 'demo/a', code: 'LEASEHOLD_READY_TIMEOUT' },
    '00:00:01.500  request r1  demo/a could not answer: ready timeout',
  ],
  [
    {
      ...request,
      type: 'request.ended',
      outcome: 'done',
      code: null,
      usage: { promptTokens: 3, completionTokens: 5, tokensPerSecond: 10_230.18 },
      timings: { waitMs: 1, loadMs: 2, firstByteMs: 3, streamMs: 4 },
    },
    '00:00:01.500  request r1  done, 3 tokens in, 5 tokens out, 10230.2 a second',
  ],
  [
    { ...request, type: 'request.started', route: '/v1/x', ref: 'demo/a', client: 'curl' },
    '00:00:01.500  request r1  curl asks for demo/a (/v1/x)',
  ],
  [
    { ...request, type: 'request.sent', ref: 'demo/a', rewrites: ['model', 'reasoning'] },
    '00:00:01.500  request r1  is sent to demo/a, rewritten: model, reasoning',
  ],
  [{ ...head, type: 'supervisor.closed' }, '00:00:01.500  leasehold  everything is stopped'],
]

test.each(told)('the event %o is told as a sentence', (event, sentence) => {
  expect(describeEvent(event)).toBe(sentence)
})

test('a sentence is one line without control characters, whatever a server printed', () => {
  const sentence = describeEvent({ ...service, type: 'service.failed', message: 'a\u001b[31mb\nc\u202e' })
  expect(sentence).toBe('00:00:01.500  demo  its supervision failed and begins anew: ab c')
})

test('what only a statechart hears is not told', () => {
  expect(toldTypes).toContain('service.state')
  expect(toldTypes).not.toContain('machine.event')
})
