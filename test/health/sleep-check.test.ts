import { expect, test } from 'vitest'
import { judgeSleep, type SleepSign } from '../../src/health/sleep-check.ts'

const judge = (status: number, body: unknown, sign: SleepSign) =>
  judgeSleep(
    { status, headers: {}, body: typeof body === 'string' ? body : JSON.stringify(body), address: undefined },
    sign,
  )
const field = (name: string, equals: unknown = true): SleepSign => ({ field: name, equals })

test.each<readonly [string, number, unknown, SleepSign, boolean | undefined]>([
  ['a field with the value', 200, { is_sleeping: true }, field('is_sleeping'), true],
  ['a field with another value', 200, { is_sleeping: false }, field('is_sleeping'), false],
  ['an inner field', 200, { a: { b: 'x' } }, field('a.b', 'x'), true],
  ['a list without entries', 200, { models: [] }, field('models', []), true],
  ['a list with entries', 200, { models: [{}] }, field('models', []), false],
  ['an absent field', 200, { other: true }, field('is_sleeping'), undefined],
  ['an inherited field', 200, {}, field('constructor.name', 'Object'), undefined],
  ['an answer that is no JSON', 200, 'asleep', field('is_sleeping'), undefined],
  ['an error with the field', 500, { is_sleeping: true }, field('is_sleeping'), undefined],
  ['the status', 503, '', { status: 503, equals: true }, true],
  ['a 2xx instead of the status', 204, '', { status: 503, equals: true }, false],
  ['a third status', 404, '', { status: 503, equals: true }, undefined],
])('%s tells whether a server sleeps, or cannot tell', (_name, status, body, sign, expected) => {
  const look = judge(status, body, sign)
  expect('isAsleep' in look ? look.isAsleep : undefined).toBe(expected)
})
