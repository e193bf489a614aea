import { expect, test } from 'vitest'
import { NEVER_MS } from '../../machines/provider/delays.ts'
import { toKeepAliveMs } from '../../src/compat/keep-alive.ts'
import { peekBody } from '../../src/compat/rewrite.ts'
import { rewriteFields } from './body.ts'

test.each<[unknown, number | undefined]>([
  [undefined, undefined],
  [null, undefined],
  [0, 0],
  ['0', 0],
  ['0s', 0],
  [300, 300_000],
  [0.5, 500],
  ['300', 300_000],
  ['10m', 600_000],
  ['1h30m', 5_400_000],
  ['1.5h', 5_400_000],
  ['1m30.5s', 90_500],
  ['300ms', 300],
  ['250us', 1],
  ['+5s', 5_000],
  [-1, NEVER_MS],
  ['-1', NEVER_MS],
  ['-1m', NEVER_MS],
  // Longer than a timer can hold.
  ['720h', NEVER_MS],
  [1e300, NEVER_MS],
])('a keep_alive of %j is %j ms', (value, ms) => {
  expect(toKeepAliveMs(value)).toBe(ms)
})

test.each([['ten minutes'], [''], ['10 m'], ['m'], ['5x'], ['10m5'], [true], [{}], [['10m']]])(
  'a keep_alive of %j is refused by name',
  (value) => {
    expect(() => toKeepAliveMs(value)).toThrow(expect.objectContaining({ param: 'keep_alive' }))
    expect(() => peekBody(Buffer.from(JSON.stringify({ model: 'm', keep_alive: value })))).toThrow(
      /"keep_alive" must be/,
    )
  },
)

test('a keep_alive is read before a start, and reaches only a server that unloads models itself', () => {
  expect(peekBody(Buffer.from('{"model":"m","keep_alive":"10m"}')).keepAliveMs).toBe(600_000)
  expect(peekBody(Buffer.from('{"model":"m"}')).keepAliveMs).toBeUndefined()
  for (const route of ['chat', 'completions', 'embeddings', 'responses', 'messages', 'other'] as const)
    expect(rewriteFields({ keep_alive: '10m' }, {}, { route })).toEqual({})
  expect(rewriteFields({ keep_alive: '10m' }, { supportsKeepAlive: true })).toEqual({ keep_alive: '10m' })
})
