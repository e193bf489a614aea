// @module-tag proof

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createRawServer, type RawServer } from '../transport/raw-server.ts'
import { type House, openHouse, readAll } from './house.ts'
import { upstreamCases } from './upstream-cases.ts'

let server: RawServer
let house: House
let answer = ''
/** No probe comes between. */
const leasehold = { heartbeatMs: 3_600_000 }

beforeAll(async () => {
  server = await createRawServer((socket, head) => {
    const models = 'HTTP/1.1 200 OK\r\ncontent-length: 11\r\nconnection: close\r\n\r\n{"data":[]}'
    socket.end(head.startsWith('POST') ? answer : models, 'latin1')
  })
  house = await openHouse({ serverUrl: server.url, leasehold })
})
afterAll(async () => {
  await house[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

test('the corpus is as large as promised (promise P18)', () => {
  expect(upstreamCases.length).toBeGreaterThanOrEqual(60)
})

describe('raw bytes from a model server', () => {
  test.each(upstreamCases)('$name (faults 27, 113, promise P18)', async ({ bytes, outcome }) => {
    answer = bytes
    const response = await house.post('/v1/chat/completions', { model: 'demo' }, { redirect: 'manual' })
    const { text, isBroken } = await readAll(response)
    const headers = Object.fromEntries(response.headers)
    expect(headers).not.toHaveProperty('set-cookie')
    expect(headers).not.toHaveProperty('x-hop')
    if (outcome === 'error') {
      expect([response.status, isBroken]).toEqual([502, false])
      expect(JSON.parse(text).error).toMatchObject({
        code: 'LEASEHOLD_UPSTREAM_FAILED',
        type: 'upstream_error',
      })
    } else if (outcome === 'broken') {
      expect([response.status, isBroken]).toEqual([200, true])
      expect(text).not.toMatch(/^data: \[DONE\]/m)
    } else {
      expect([response.status, isBroken, text]).toEqual([outcome.status, false, outcome.text])
    }
    await expect.poll(() => house.service()).toMatchObject({ leases: 0, queue: [] })
  })

  test('leaves a gateway that serves as before', async () => {
    answer = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}'
    expect(await (await house.post('/v1/chat/completions', { model: 'demo' })).text()).toBe('{}')
    expect(house.service()).toMatchObject({ state: 'ready', leases: 0, queue: [] })
  })
})
