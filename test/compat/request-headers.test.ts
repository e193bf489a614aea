import { expect, test } from 'vitest'
import { rewriteHeaders } from '../../src/compat/request-headers.ts'

test('headers that attribute the client are not sent, others are', () => {
  const headers = {
    originator: 'a',
    version: '1',
    'user-agent': 'b',
    'x-stainless-lang': 'js',
    'x-stainless-retry-count': '0',
    'content-type': 'application/json',
    'x-version': '2',
    accept: ['a', 'b'],
  }
  expect(rewriteHeaders(headers, {})).toEqual({
    'content-type': 'application/json',
    'x-version': '2',
    accept: ['a', 'b'],
  })
  expect(headers).toHaveProperty('originator')
})

test.each([
  ['no flag', {}, { 'x-session-id': 's' }, { 'x-session-id': 's' }],
  [
    'affinity',
    { sendSessionAffinityHeaders: true },
    { session_id: 's' },
    { session_id: 's', 'x-session-affinity': 's' },
  ],
  [
    'session id',
    { sendSessionIdHeader: true },
    { 'session-id': 's' },
    { 'session-id': 's', session_id: 's' },
  ],
  [
    'the most specific wins',
    { sendSessionIdHeader: true },
    { session_id: 'a', 'x-session-id': 'b' },
    { session_id: 'a', 'x-session-id': 'b' },
  ],
  ['no session', { sendSessionAffinityHeaders: true, sendSessionIdHeader: true }, { a: 'b' }, { a: 'b' }],
])('the session id is sent under the names that flags ask for: %s', (_, compat, before, after) => {
  expect(rewriteHeaders(before, compat)).toEqual(after)
})
