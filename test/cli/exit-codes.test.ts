import { expect, test } from 'vitest'
import type { Failure } from '../../machines/messages.ts'
import { AnswerError, formatError } from '../../src/cli/exit-codes.ts'
import { ServiceError } from '../../src/errors.ts'
import { describeFailure } from '../../src/explanation/event-text.ts'

const failure: Failure = {
  code: 'LEASEHOLD_READY_TIMEOUT',
  message: 'not ready within 1500 ms',
  verdict: { kind: 'loading', detail: 'status 503' },
  tail: ['load_model: 12 %', 'load_model: 13 %'],
}

const text = `demo: not ready within 1500 ms. Last probe: loading (status 503). (LEASEHOLD_READY_TIMEOUT)
Last output:
  load_model: 12 %
  load_model: 13 %`

test('the code of an error stands above the last output of its server', () => {
  const error = new ServiceError('demo', failure)
  expect(formatError(error)).toBe(text)
  expect(formatError(new AnswerError(error.message, { status: 504, code: error.code }))).toBe(text)
})

test('each sentence of a failure ends before the next one begins', () => {
  expect(describeFailure(failure)).toBe('not ready within 1500 ms. Last output: load_model: 13 %')
  expect(describeFailure({ ...failure, message: 'is it loaded?' })).toMatch(/^is it loaded\? Last output/)
})
