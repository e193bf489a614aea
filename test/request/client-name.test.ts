import { expect, test } from 'vitest'
import { rememberClientNames } from '../../src/request/client-name.ts'

test.each([
  ['curl/8.5.0', 'curl'],
  ['OpenAI/Python 1.40.0', 'OpenAI/Python'],
  ['OpenAI/JS 6.49.0', 'OpenAI/JS'],
  ['python-requests/2.32.3', 'python-requests'],
  ['aider/v0.86', 'aider'],
  ['Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36', 'Mozilla'],
  ['node', 'node'],
  ['  ', null],
  ['(comment)', null],
  ['a\u001b[31mb\u202ec/1', 'abc'],
  [undefined, null],
  ['x'.repeat(20_000), 'x'.repeat(40)],
])('the client of %j is %j', (agent, name) => {
  const clientOf = rememberClientNames()
  const headers = agent === undefined ? {} : { 'user-agent': agent }
  expect([clientOf(headers), clientOf(headers)]).toEqual([name, name])
})

test('a client that changes its name with each request is not remembered for ever', () => {
  const clientOf = rememberClientNames()
  for (let index = 0; index < 1_000; index += 1)
    expect(clientOf({ 'user-agent': `bot-${index}/1` })).toBe(`bot-${index}`)
})
