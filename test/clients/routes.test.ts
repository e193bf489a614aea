import { afterAll, beforeAll, expect, test } from 'vitest'
import { routes } from '../../src/gateway/routes.ts'
import { ask } from '../integration/library.ts'
import { type Doors, openDoors } from './doors.ts'

let house: Doors
beforeAll(async () => {
  house = await openDoors()
})
afterAll(() => house[Symbol.asyncDispose]())

const get = async (path: string) => {
  const response = await fetch(house.url + path)
  expect(response.status).toBe(200)
  return response.json()
}
const post = async (path: string, body: object) => {
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
  const response = await fetch(house.url + path, init)
  expect(response.status).toBe(200)
  return response.json()
}
const spawned = () => house.library.all('process.spawned').length

/** What is asked of each route, in this order: first all that must start nothing. */
const uses: Readonly<Record<string, () => Promise<void>>> = {
  'GET /health': async () => {
    expect(await get('/health')).toMatchObject({ status: 'ok', name: 'leasehold', pid: process.pid })
    expect(spawned()).toBe(0)
  },
  'GET /v1/models': async () => {
    expect(await get('/v1/models')).toMatchObject({ data: [{ id: 'demo/demo', state: 'down.cold' }] })
    expect(house.library.all('service.state')).toEqual([])
  },
  'GET /v1/models/{id}': async () => {
    for (const ref of ['demo/demo', 'demo%2Fdemo', 'demo', 'DEMO/DEMO'])
      expect(await get(`/v1/models/${ref}`)).toMatchObject({ id: 'demo/demo', state: 'down.cold' })
    expect(house.library.all('service.state')).toEqual([])
  },
  'GET /api/services': async () => {
    expect(await get('/api/services')).toMatchObject({ services: [{ service: 'demo', state: 'down.cold' }] })
    expect(spawned()).toBe(0)
  },
  'GET /api/services/{id}': async () => {
    expect(await get('/api/services/demo')).toMatchObject({ service: 'demo', leases: 0, pid: null })
    expect(spawned()).toBe(0)
  },
  'POST /api/services/{id}/start': async () => {
    const { pid } = await post('/api/services/demo/start', {})
    expect(await house.library.seen()).toMatchObject({ pid })
    expect(await get('/v1/models/demo')).toMatchObject({ state: 'ready' })
  },
  'POST /v1/chat/completions': async () => {
    const body = { model: 'demo/demo', messages: ask('count to 3') }
    expect(await post('/v1/chat/completions', body)).toMatchObject({
      choices: [{ message: { content: '1 2 3' } }],
    })
    expect(spawned()).toBe(1)
  },
  'GET /api/logs/{id}': async () => {
    const { lines } = await get('/api/logs/demo')
    expect(lines.map(({ text }: { text: string }) => text)).toContain('demo-server: model loaded')
    const follow = await fetch(`${house.url}/api/logs/demo?follow=1`)
    expect(follow.headers.get('content-type')).toMatch(/^application\/x-ndjson/)
    await follow.body?.cancel()
  },
  'GET /api/logs': async () => {
    const { lines } = await get('/api/logs')
    expect(lines).toContainEqual(
      expect.objectContaining({ level: 'info', type: 'service.state', service: 'demo', requestId: null }),
    )
    const follow = await fetch(`${house.url}/api/logs?follow=1`)
    expect(follow.headers.get('content-type')).toMatch(/^application\/x-ndjson/)
    await follow.body?.cancel()
  },
  'GET /': async () => {
    const page = await fetch(house.url)
    expect(page.headers.get('content-type')).toMatch(/^text\/html/)
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'")
    expect(await page.text()).toContain('leasehold')
  },
  'GET /metrics': async () => {
    const text = await (await fetch(`${house.url}/metrics`)).text()
    expect(text).toMatch(/^leasehold_requests_total\{.*outcome="done".*\} 1$/m)
  },
  'GET /api/inspect': async () => {
    const inspection = await fetch(`${house.url}/api/inspect`)
    const reader = inspection.body?.pipeThrough(new TextDecoderStream()).getReader()
    expect((await reader?.read())?.value).toContain('"@xstate.actor"')
    await reader?.cancel()
  },
  'GET /api/requests': async () => {
    expect(await get('/api/requests')).toEqual({ requests: [] })
    expect(await get('/api/requests?ended=0')).toEqual({ requests: [], ended: [] })
  },
  'GET /api/requests/{id}/bodies': async () => {
    expect((await fetch(`${house.url}/api/requests/unknown/bodies`)).status).toBe(404)
  },
  'GET /api/timeline': async () => {
    expect(await get('/api/timeline')).toMatchObject({ lanes: [{ service: 'demo' }], decisions: [] })
  },
  'GET /api/hardware': async () => {
    const { atMs, samples } = await get('/api/hardware')
    expect(samples).toMatchObject([{ cpuPercent: null, memoryUsedMiB: expect.any(Number) }])
    expect(await get(`/api/hardware?after=${atMs + 60_000}`)).toMatchObject({ samples: [] })
    expect((await fetch(`${house.url}/api/hardware?after=yesterday`)).status).toBe(400)
  },
  // This gateway is in no cluster. test/cluster asks gateways of a cluster.
  'GET /api/members': async () => {
    expect(await get('/api/members')).toEqual({ self: null, isDraining: false, members: [] })
  },
  'POST /api/drain': async () => {
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(`${house.url}/api/drain`, { method: 'POST', headers, body: '{}' })
    expect([response.status, (await response.json()).error.code]).toEqual([
      503,
      'LEASEHOLD_CLUSTER_UNAVAILABLE',
    ])
  },
  'GET /cluster/card': async () => {
    expect((await fetch(`${house.url}/cluster/card`)).status).toBe(404)
  },
  'DELETE /api/requests/{id}': async () => {
    const response = await fetch(`${house.url}/api/requests/unknown`, { method: 'DELETE' })
    expect(response.status).toBe(404)
  },
  'GET /api/events': async () => {
    const events = await fetch(`${house.url}/api/events`)
    expect(events.headers.get('content-type')).toBe('text/event-stream')
    const reader = events.body?.pipeThrough(new TextDecoderStream()).getReader()
    const { release } = await house.library.supervisor.acquire('demo/demo')
    release()
    expect((await reader?.read())?.value).toMatch(
      /^id: [0-9a-f]+\.\d+\nevent: lease\.requested\ndata: \{.*\}\n\n/,
    )
    await reader?.cancel()
  },
  'POST /api/chat': async () => {
    const body = { model: 'demo/demo', messages: ask('count to 3'), stream: false }
    expect(await post('/api/chat', body)).toMatchObject({ message: { content: '1 2 3' }, done: true })
  },
  'GET /upstream/{id}/{path}': async () => {
    expect(await get('/upstream/demo/v1/models')).toMatchObject({ data: [{ id: 'demo' }] })
  },
  'POST /infill': async () => {
    const headers = { 'content-type': 'application/json' }
    const body = '{"model":"demo/demo","input_prefix":"1 +"}'
    const answer = await fetch(`${house.url}/infill`, { method: 'POST', headers, body })
    // The demo server does not offer it: the refusal is its own.
    expect([answer.status, answer.headers.get('x-leasehold-model')]).toEqual([404, 'demo/demo'])
  },
  'POST /api/services/{id}/stop': async () => {
    expect(await post('/api/services/demo/stop', {})).toMatchObject({
      state: 'down.cold',
      receipt: { survivors: [] },
    })
    await expect(house.library.seen()).rejects.toThrow()
  },
  'POST /api/stop': async () => {
    expect(await post('/api/stop', {})).toEqual({ services: [] })
    await post('/api/services/demo/start', {})
    expect(await post('/api/stop', {})).toMatchObject({ services: [{ state: 'down.cold' }] })
  },
}

test('every route of the table has a use here', () => {
  expect(Object.keys(uses).sort()).toEqual(routes.map(({ method, path }) => `${method} ${path}`).sort())
})

test.each(Object.entries(uses))('%s does what the table says', (_, use) => use())

test.each([
  ['GET', '/v1/chat/completions'],
  ['GET', '/v1/nothing'],
  ['GET', '/api/nothing'],
  ['PUT', '/v1/models'],
  ['DELETE', '/v1/models/demo'],
  ['POST', '/health'],
  ['POST', '/models'],
  ['POST', '/api/services/unknown/stop'],
  ['GET', '/api/services/demo/start'],
])('%s %s, which is not in the table, is answered with 404', async (method, path) => {
  const init = method === 'POST' ? { headers: { 'content-type': 'application/json' }, body: '{}' } : {}
  const response = await fetch(house.url + path, { method, ...init })
  expect(response.status).toBe(404)
  expect(await response.json()).toMatchObject({ error: { code: 'LEASEHOLD_BAD_REQUEST' } })
})
