import { expect, test } from 'vitest'
import { toClientKey } from '../../src/gateway/client-key.ts'

test.each([
  ['127.0.0.1', '127.0.0.1'],
  ['127.9.8.7', '127.0.0.1'],
  ['::1', '127.0.0.1'],
  ['0:0:0:0:0:0:0:1', '127.0.0.1'],
  ['::ffff:127.0.0.1', '127.0.0.1'],
  ['::FFFF:127.0.0.5', '127.0.0.1'],
  ['::ffff:7f00:1', '127.0.0.1'],
  ['192.168.1.5', '192.168.1.5'],
  ['::ffff:192.168.1.5', '192.168.1.5'],
  ['::ffff:c0a8:105', '192.168.1.5'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:DB8:1:2::1', '2001:db8:1:2::/64'],
  ['2001:db8::5', '2001:db8:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['::', '0:0:0:0::/64'],
  ['', 'unknown'],
  ['not an address', 'unknown'],
])('%s counts as %s (fault 117, peer A-3)', (address, key) => {
  expect(toClientKey(address)).toBe(key)
})

test('a connection that is gone has no address', () => {
  expect(toClientKey(undefined)).toBe('unknown')
})
