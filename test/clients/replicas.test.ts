import { describe, expect, test } from 'vitest'
import { createModelServer, type ModelServer } from '../../src/testing/model-server/model-server.ts'
import { openHouse, readAll, toLocalService } from '../gateway/house.ts'
import { takeFreePort } from '../transport/raw-server.ts'

const chat = { model: 'local/demo', messages: [{ role: 'user', content: 'count to 9' }] }
const stream = { ...chat, stream: true }
const answer = '1 2 3 4 5 6 7 8 9'

const chatsOf = ({ requests }: ModelServer) =>
  requests.filter(({ path }) => path === '/v1/chat/completions').length

/** A house whose provider has two servers in this process, as if other programs ran them on two hosts. */
async function openPair() {
  const servers = [createModelServer(), createModelServer()] as const
  const [firstUrl = '', secondUrl = ''] = await Promise.all(
    servers.map(async (one) => (await one.listen()).url),
  )
  const house = await openHouse({
    serverUrl: firstUrl,
    provider: { replicas: [{ baseUrl: `${secondUrl}/v1` }] },
  })
  return {
    ...house,
    servers,
    urls: [`${firstUrl}/v1`, `${secondUrl}/v1`],
    [Symbol.asyncDispose]: async () => {
      await Promise.all(servers.map((server) => server.close()))
      await house[Symbol.asyncDispose]()
    },
  }
}

describe('servers of one model', () => {
  test('share its requests, the least busy first, and each has its own place in the snapshot', async () => {
    await using house = await openPair()
    // Looks for both, so that both are known to be up.
    for (const id of ['local', 'local#2']) await house.supervisor.start(id)
    const leases = []
    for (let count = 0; count < 4; count += 1) leases.push(await house.supervisor.acquire('local/demo'))
    expect(house.supervisor.snapshot().services).toMatchObject([
      { service: 'local', leases: 2 },
      { service: 'local#2', leases: 2 },
    ])
    leases[0]?.release()
    await (await house.post('/v1/chat/completions', chat)).text()
    expect(house.servers.map(chatsOf)).toEqual(leases[0]?.baseUrl === house.urls[0] ? [1, 0] : [0, 1])
    for (const lease of leases) lease.release()
    expect((await (await fetch(`${house.url}/v1/models`)).json()).data).toMatchObject([{ id: 'local/demo' }])
  })

  test('stand in for each other before the first byte: a lost one is skipped, and no client notices', async () => {
    await using house = await openPair()
    await house.supervisor.start('local')
    await house.servers[0].close()
    for (const body of [chat, stream, chat]) {
      const response = await house.post('/v1/chat/completions', body)
      expect(response.status).toBe(200)
      expect(response.headers.get('x-leasehold-model')).toBe('local#2/demo')
      expect((await readAll(response)).isBroken).toBe(false)
    }
    expect(chatsOf(house.servers[1])).toBe(3)
    const attempts = house.events.filter(({ type }) => type === 'request.attempted')
    // No server listened, and none does at the next check.
    expect(attempts).toMatchObject([
      { ref: 'local/demo', code: 'LEASEHOLD_UPSTREAM_FAILED' },
      { ref: 'local/demo', code: 'LEASEHOLD_NOT_REACHABLE' },
    ])
    await using lease = await house.supervisor.acquire('local/demo')
    expect(lease.baseUrl).toBe(house.urls[1])
  })

  test('do not stand in for each other after the first byte', async () => {
    await using house = await openPair()
    house.servers[0].set({ crashMidStreamAfter: 2 })
    const { isBroken } = await readAll(await house.post('/v1/chat/completions', stream))
    expect(isBroken).toBe(true)
    expect(chatsOf(house.servers[1])).toBe(0)
  })

  test('that we run are started when the others have no room, each as a process of its own', async () => {
    const ports = [await takeFreePort(), await takeFreePort()] as const
    const [first, second] = ports.map((port) => toLocalService(port, [], { maxConcurrent: 1 }))
    const { args } = second as { readonly args: readonly string[] }
    await using house = await openHouse({
      serverUrl: `http://127.0.0.1:${ports[0]}`,
      provider: {
        localService: first,
        replicas: [{ baseUrl: `http://127.0.0.1:${ports[1]}/v1`, localService: { args } }],
      },
    })
    const one = await house.supervisor.acquire('local/demo')
    expect(house.supervisor.snapshot().services.map(({ state }) => state)).toEqual([
      'leased.open',
      'down.cold',
    ])
    const two = await house.supervisor.acquire('local/demo')
    expect([one.baseUrl, two.baseUrl]).toEqual(ports.map((port) => `http://127.0.0.1:${port}/v1`))
    expect([one.owned, two.owned]).toEqual([true, true])
    const pids = house.supervisor.snapshot().services.map(({ pid }) => pid)
    expect(new Set(pids).size).toBe(2)
    one.release()
    two.release()
  })
})

/** A gateway in front of another gateway, which has the server: as if it were on another machine. */
async function openChain(flags: readonly string[] = [], far: object = {}, more: object = {}) {
  const port = await takeFreePort()
  const remote = await openHouse({
    serverUrl: `http://127.0.0.1:${port}`,
    provider: { localService: toLocalService(port, flags, more) },
    leasehold: { apiKeys: ['key-of-the-far-gateway'], ...far },
  })
  const near = await openHouse({
    serverUrl: remote.url,
    provider: { apiKey: 'key-of-the-far-gateway', models: [{ id: 'local/demo' }] },
  })
  return {
    near,
    remote,
    ask: (body: object) => near.post('/v1/chat/completions', { ...body, model: 'local/local/demo' }),
    [Symbol.asyncDispose]: async () => {
      await near[Symbol.asyncDispose]()
      await remote[Symbol.asyncDispose]()
    },
  }
}

describe('a gateway of another machine as a provider', () => {
  test('starts its server for our request, and its comments and its answer reach our client', async () => {
    await using chain = await openChain(['--load-ms', '300'], { coldStartCommentsMs: 20 })
    const { text, isBroken } = await readAll(await chain.ask(stream))
    expect(isBroken).toBe(false)
    expect(text).toMatch(/^: leasehold local is .*\n\ndata: .*data: \[DONE\]\n\n$/s)
    const whole = await chain.ask(chat)
    expect(await whole.json()).toMatchObject({ choices: [{ message: { content: answer } }] })
    expect(chain.near.service()).toMatchObject({ ownership: 'adopted', leases: 0 })
    expect(chain.remote.service()).toMatchObject({ ownership: 'owned', leases: 0 })
  })

  test('refuses in its own words, and says when to come back', async () => {
    await using chain = await openChain([], {}, { maxConcurrent: 1, maxQueue: 1 })
    const held = await chain.remote.supervisor.acquire('local/demo')
    const waiting = chain.ask(chat)
    await expect.poll(() => chain.remote.service().queue.length).toBe(1)
    const refused = await chain.ask(chat)
    expect(refused.status).toBe(429)
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
    expect(await refused.json()).toMatchObject({ error: { code: 'LEASEHOLD_QUEUE_FULL' } })
    held.release()
    expect((await waiting).status).toBe(200)
    const unknown = await chain.near.post('/v1/chat/completions', { ...chat, model: 'local/unknown' })
    expect(unknown.status).toBe(404)
  })

  test('whose start fails says so: as a status, and in a stream of comments as an error that ends it', async () => {
    await using chain = await openChain(['--load-ms', '200', '--fail-load', 'exit'], {
      coldStartCommentsMs: 20,
    })
    const { text, isBroken } = await readAll(await chain.ask(stream))
    expect(isBroken).toBe(true)
    expect(text).toMatch(/\nevent: error\ndata: .*LEASEHOLD_/)
    expect(text).not.toContain('[DONE]')
    const whole = await chain.ask(chat)
    expect(whole.status).toBe(503)
    expect(await whole.json()).toMatchObject({ error: { code: 'LEASEHOLD_EXITED_BEFORE_READY' } })
  })

  test('is one of several servers: when it is gone, the others go on', async () => {
    await using chain = await openChain()
    const spare = createModelServer()
    const spareUrl = (await spare.listen()).url
    await using near = await openHouse({
      serverUrl: chain.remote.url,
      provider: {
        apiKey: 'key-of-the-far-gateway',
        models: [{ id: 'local/demo' }],
        replicas: [{ baseUrl: `${spareUrl}/v1` }],
      },
    })
    const ask = () => near.post('/v1/chat/completions', { ...chat, model: 'local/local/demo' })
    expect((await ask()).headers.get('x-leasehold-model')).toBe('local/local/demo')
    await chain.remote.gateway.close()
    await expect.poll(async () => (await ask()).headers.get('x-leasehold-model')).toBe('local#2/local/demo')
    await spare.close()
  })
})
