import { describe, expect, test } from 'vitest'
import { NEVER_MS } from '../../machines/provider/delays.ts'
import { openHouseWithServer } from '../gateway/house.ts'
import { doors as doorNames, openDoors } from './doors.ts'

const messages = [{ role: 'user', content: 'What is 17 * 3?' }]

const post = (url: string, body: object, fetch = globalThis.fetch) =>
  fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })

describe('keep_alive', () => {
  test.each(doorNames)('of a request by the %s replaces the idle time of this run', async (name) => {
    await using doors = await openDoors({ service: { idleStopMs: 600_000 } })
    const { baseURL, fetch } = doors.ways[name]
    const ask = async (fields: object) => {
      const answer = await post(`${baseURL}/chat/completions`, { model: 'demo', messages, ...fields }, fetch)
      expect(answer.status).toBe(200)
      await answer.text()
      expect(answer.headers.get('x-leasehold-dropped')).toBeNull()
      await expect.poll(() => doors.service().leases).toBe(0)
    }
    const idleTimer = () => doors.service().timers.find(({ name: timer }) => timer === 'idleStop')
    await ask({})
    expect(idleTimer()).toMatchObject({ totalMs: 600_000 })
    await ask({ keep_alive: '20m' })
    expect(idleTimer()).toMatchObject({ totalMs: 1_200_000 })
    expect(doors.service()).toMatchObject({
      keepAliveMs: 1_200_000,
      explanation: {
        next: expect.stringMatching(/^It stops in (20 min|19 min)/),
        sentence: expect.stringContaining('asked that it stop after 20 min 0 s without use (keep_alive)'),
      },
    })
    await ask({})
    expect(idleTimer()).toMatchObject({ totalMs: 1_200_000 })
    await ask({ keep_alive: -1 })
    expect(idleTimer()).toBeUndefined()
    expect(doors.service()).toMatchObject({ keepAliveMs: NEVER_MS, explanation: { next: null } })
    await ask({ keep_alive: 0 })
    await doors.library.until('service.state', ({ to }) => to === 'down.cold')
    expect(doors.service().whyText).toContain('keep_alive: 0')
    await ask({})
    expect(idleTimer()).toMatchObject({ totalMs: 600_000 })
  })

  test('of Ollama’s API is the same, with a prompt and without', async () => {
    await using doors = await openDoors({ service: { idleStopMs: 600_000 } })
    const ask = async (path: string, body: object) => {
      const answer = await post(`${doors.url}/api/${path}`, { model: 'demo', stream: false, ...body })
      expect(answer.status).toBe(200)
      await answer.text()
      await expect.poll(() => doors.service().leases).toBe(0)
      return doors.service().keepAliveMs
    }
    expect(await ask('generate', { keep_alive: '30m' })).toBe(1_800_000)
    expect(await ask('chat', { messages, keep_alive: '5m' })).toBe(300_000)
    expect(await ask('generate', { prompt: 'What is 2 + 2?', keep_alive: 90 })).toBe(90_000)
    expect(await ask('embed', { input: 'one', keep_alive: '1h' })).toBe(3_600_000)
    const { models } = await (await fetch(`${doors.url}/api/ps`)).json()
    const leftMs = Date.parse(models[0].expires_at) - Date.now()
    expect(leftMs).toBeGreaterThan(3_500_000)
    expect(leftMs).toBeLessThanOrEqual(3_600_000)
    await ask('chat', { messages, keep_alive: 0 })
    await doors.library.until('service.state', ({ to }) => to === 'down.cold')
  })

  test('of a lease that an embedder holds', async () => {
    await using doors = await openDoors()
    const { supervisor } = doors.library
    ;(await supervisor.acquire('demo', { keepAliveMs: Number.POSITIVE_INFINITY })).release()
    expect(doors.service()).toMatchObject({ state: 'ready', keepAliveMs: NEVER_MS })
    ;(await supervisor.acquire('demo', { keepAliveMs: 0 })).release()
    await doors.library.until('service.state', ({ to }) => to === 'down.cold')
  })

  test('that is no time is refused before a start', async () => {
    await using doors = await openDoors()
    const answer = await post(`${doors.url}/v1/chat/completions`, {
      model: 'demo',
      messages,
      keep_alive: 'long',
    })
    expect([answer.status, await answer.json()]).toMatchObject([
      400,
      { error: { code: 'LEASEHOLD_BAD_REQUEST', param: 'keep_alive' } },
    ])
    expect(doors.service().state).toBe('down.cold')
  })

  test.each([
    [{}, false],
    [{ models: [{ id: 'demo', compat: { supportsKeepAlive: true } }] }, true],
  ])('does not change a server that leasehold does not start, with %j', async (provider, isSent) => {
    await using house = await openHouseWithServer({ provider })
    const answer = await house.post('/v1/chat/completions', { model: 'demo', messages, keep_alive: 0 })
    expect(answer.status).toBe(200)
    await answer.text()
    await expect.poll(() => house.service().leases).toBe(0)
    expect(house.service()).toMatchObject({ state: 'ready', keepAliveMs: null })
    const [sent] = house.server.requests.filter(({ method }) => method === 'POST')
    expect(JSON.parse(sent?.body ?? '{}').keep_alive).toBe(isSent ? 0 : undefined)
  })
})
