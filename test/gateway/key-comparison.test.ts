import type * as crypto from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { expect, test, vi } from 'vitest'

const compared: [number, number][] = []
vi.mock('node:crypto', async (load) => {
  const real = await load<typeof crypto>()
  const timingSafeEqual: typeof real.timingSafeEqual = (a, b) => {
    compared.push([a.byteLength, b.byteLength])
    return real.timingSafeEqual(a, b)
  }
  return { ...real, timingSafeEqual }
})

const { guardKey } = await import('../../src/gateway/guard.ts')
const keys = ['first-key', 'another-key-that-is-longer', 'third-key']
const policy = {
  hosts: new Set<string>(),
  origins: new Set<string>(),
  apiKeys: keys,
  controlKeys: [],
  isKeyRequired: true,
}

test.each([...keys, '', 'f', 'first-ke', 'first-kez', 'x'.repeat(10_000)])(
  'whether "%s" is a key is found out by comparing digests of one length with every key (fault 117, peer S-8)',
  (key) => {
    compared.length = 0
    const request = { url: '/v1/models', headers: { authorization: `Bearer ${key}` } }
    const guard = () => guardKey(request as Partial<IncomingMessage> as IncomingMessage, policy)
    if (keys.includes(key)) guard()
    else expect(guard).toThrow()
    expect(compared).toEqual(keys.map(() => [32, 32]))
  },
)
