import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { type Clock, systemClock } from '../../src/clock.ts'
import { toWarmPauseMs, WARM_POLL_MS } from '../../src/health/health.ts'
import type { Service } from '../../src/service/services.ts'
import { createSleepRequests } from '../../src/service/sleep-requests.ts'

/** A server that says that it sleeps until it has been asked so many times. */
async function openServer(looks: number) {
  let asked = 0
  const server = createServer((request, response) => {
    request.resume()
    if (request.url === '/is_sleeping') asked += 1
    response.end(JSON.stringify({ is_sleeping: asked < looks }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

test('a server that wakes is asked soon at first, and twice a second when it takes long', async () => {
  const looks = 80
  const origin = await openServer(looks)
  const pauses: number[] = []
  /** Waits no pause, and gives requests all the time they need. */
  const clock: Clock = {
    ...systemClock,
    setTimeout: (fn, ms) => {
      if (ms > WARM_POLL_MS.longest) return undefined
      pauses.push(ms)
      return setTimeout(fn, 0)
    },
  }
  const request = { method: 'POST', path: '/wake_up', timeoutMs: 60_000, headers: {} }
  const check = { method: 'GET', path: '/is_sleeping', field: 'is_sleeping', equals: true, headers: {} }
  const service = {
    healthHeaders: {},
    providers: [{ baseUrl: `${origin}/v1` }],
    localService: { sleep: { afterMs: 0, request: [request], wake: [request], check } },
  }
  const requests = createSleepRequests({
    clock,
    serviceOf: () => service as unknown as Service,
    addressOf: () => undefined,
    isForeign: () => false,
    disconnect: async () => {},
    check: async () => ({ kind: 'ready', detail: 'ready' }),
    scrub: (text) => text,
  })
  expect(await requests.wake('a', new AbortController().signal)).toEqual({ outcome: 'done' })
  expect(pauses).toEqual(Array.from({ length: looks - 1 }, (_, index) => toWarmPauseMs(index + 1)))
  expect(pauses[0]).toBeLessThan(25)
  expect(pauses.at(-1)).toBe(500)
})

test('a wake is refused where its answer is a stream of events that ends with an error, as that of TabbyAPI', async () => {
  const line = (event: object) => `data: ${JSON.stringify(event)}\r\n\r\n`
  const progress = { model_type: 'model', module: 1, modules: 2, status: 'processing', error: null }
  let answer = ''
  const server = createServer((request, response) => {
    request.resume()
    if (request.url === '/v1/model') response.writeHead(200).end('{}')
    else response.writeHead(200, { 'content-type': 'text/event-stream' }).end(answer)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const request = { method: 'POST', path: '/v1/model/load', timeoutMs: 60_000, headers: {} }
  const check = { method: 'GET', path: '/v1/model', status: 503, equals: true, headers: {} }
  const service = {
    healthHeaders: {},
    providers: [{ baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1` }],
    localService: { sleep: { afterMs: 0, request: [request], wake: [request], check } },
  }
  const { wake } = createSleepRequests({
    clock: systemClock,
    serviceOf: () => service as unknown as Service,
    addressOf: () => undefined,
    isForeign: () => false,
    disconnect: async () => {},
    check: async () => ({ kind: 'ready', detail: 'ready' }),
    scrub: (text) => text,
  })
  answer = line(progress) + line({ error: { message: 'CUDA out of memory', trace: null } })
  expect(await wake('a', new AbortController().signal)).toEqual({
    outcome: 'failed',
    detail: 'POST /v1/model/load answered 200 {"error":{"message":"CUDA out of memory","trace":null}}',
  })
  answer = line(progress) + line({ ...progress, module: 2, status: 'finished' })
  expect(await wake('a', new AbortController().signal)).toEqual({ outcome: 'done' })
})
