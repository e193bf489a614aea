import { expect, test } from 'vitest'
import { findSign } from '../../src/json/sign.ts'

test.each<readonly [string, string, unknown, boolean | undefined]>([
  ['{"a":{"b":1}}', 'a.b', 1, true],
  ['{"a":{"b":1}}', 'a.b', 2, false],
  ['{"a":{"b":1}}', 'a.c', 1, undefined],
  ['{"a":[]}', 'a', [], true],
  ['{"a":[{}]}', 'a', [], false],
  ['{"models":[{"name":"x"},{"name":"y"}]}', 'models.*.name', 'y', true],
  ['{"models":[{"name":"x"}]}', 'models.*.name', 'y', false],
  ['{"models":[{"name":"Org/X:8b"}]}', 'models.*.name', 'org/x:8B', true],
  ['{"models":[]}', 'models.*.name', 'y', false],
  ['{"models":[{"id":"y"}]}', 'models.*.name', 'y', undefined],
  ['{"models":{"name":"y"}}', 'models.*.name', 'y', undefined],
  ['{"models":[{"in":[]},{"in":[{"id":"y"}]}]}', 'models.*.in.*.id', 'y', true],
  [
    '{"data":[{"id":"y","status":{"value":"loaded","args":[]}}]}',
    'data.*',
    { id: 'y', status: { value: 'loaded' } },
    true,
  ],
  [
    '{"data":[{"id":"x","status":{"value":"loaded"}},{"id":"y","status":{"value":"unloaded"}}]}',
    'data.*',
    { id: 'y', status: { value: 'loaded' } },
    false,
  ],
  ['{"a":{"__proto__":1}}', 'a.toString', 1, undefined],
  ['not json', 'a', 1, undefined],
])('%s: %s is %j: %s', (text, field, equals, seen) => {
  expect(findSign(text, field, equals)).toBe(seen)
})
