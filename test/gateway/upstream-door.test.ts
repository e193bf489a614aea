import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { describe, expect, test } from 'vitest'
import { findFreePort } from '../../src/testing/real-host.ts'
import { openHouse, toLocalService } from './house.ts'

/** A server that tells what it was asked, with a page, a redirect and an upgrade. */
async function openServer() {
  const asked: { method?: string; url?: string; headers: IncomingMessage['headers']; body: string }[] = []
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    asked.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body })
    if (request.url === '/away') return response.writeHead(302, { location: 'http://example.com/' }).end()
    if (request.url === '/moved') return response.writeHead(302, { location: '/ui/?a=1' }).end()
    if (request.url === '/v1/models') return response.end(JSON.stringify({ data: [{ id: 'demo' }] }))
    if (request.headers['if-none-match'] === 'same') return response.writeHead(304).end()
    response.writeHead(200, { 'content-type': 'text/html', 'set-cookie': 'a=b' }).end(`<p>${request.url}</p>`)
  })
  server.on('upgrade', (request, socket) => {
    asked.push({ method: 'UPGRADE', url: request.url ?? '', headers: request.headers, body: '' })
    socket.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n')
    socket.pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    asked,
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** A house whose provider `local` runs the demo server as a child. */
async function openHouseWithService() {
  const port = await findFreePort()
  const providers = {
    local: {
      baseUrl: `http://127.0.0.1:${port}/v1`,
      models: [{ id: 'demo' }],
      localService: toLocalService(port),
    },
  }
  return openHouse({ serverUrl: 'http://127.0.0.1:1', rest: { models: { providers } } })
}

/** A server that quotes the key that it was shown. */
async function openEcho(headersOf: (request: IncomingMessage) => Record<string, string>) {
  const server = createServer((request, response) => {
    response.writeHead(200, headersOf(request))
    response.end(request.url === '/v1/models' ? '{"data":[{"id":"demo"}]}' : request.headers.authorization)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

describe('/upstream/ID/', () => {
  test('passes any path and method on, with the key of the provider and without that of the client', async () => {
    await using server = await openServer()
    await using house = await openHouse({ serverUrl: server.url, provider: { apiKey: 'provider-key' } })
    const answer = await fetch(`${house.url}/upstream/local/a/b?c=%20d&start=1`, {
      method: 'PUT',
      headers: { authorization: 'Bearer client', cookie: 'x=y', 'content-type': 'text/plain' },
      body: 'any bytes',
    })
    expect([answer.status, await answer.text()]).toEqual([200, '<p>/a/b?c=%20d</p>'])
    expect(answer.headers.get('set-cookie')).toBeNull()
    expect(server.asked.at(-1)).toMatchObject({ method: 'PUT', url: '/a/b?c=%20d', body: 'any bytes' })
    expect(server.asked.at(-1)?.headers).toMatchObject({ authorization: 'Bearer provider-key' })
    expect(server.asked.at(-1)?.headers).not.toHaveProperty('cookie')
    await expect.poll(() => house.service().leases).toBe(0)
  })

  test('shows no secret that the server was given, in headers, body or compressed', async () => {
    const key = 'provider-key-4711'
    const encodings: unknown[] = []
    await using echo = await openEcho((request) => {
      encodings.push(request.headers['accept-encoding'])
      return { 'x-echo': String(request.headers.authorization) }
    })
    await using house = await openHouse({ serverUrl: echo.url, provider: { apiKey: key } })
    await house.supervisor.start('local')
    for (const path of ['/upstream/local/page', '/props']) {
      const answer = await fetch(house.url + path)
      const text = await answer.text()
      expect(text).toMatch(/^Bearer \*+$/)
      expect(answer.headers.get('x-echo')).toMatch(/^Bearer \*+$/)
      expect(encodings.at(-1)).toBe('identity')
    }
  })

  test('keeps a redirect within the server, passes 304 on, and refuses a redirect that leads elsewhere', async () => {
    await using server = await openServer()
    await using house = await openHouse({ serverUrl: server.url })
    await house.supervisor.start('local')
    const ask = (path: string, headers = {}) =>
      fetch(`${house.url}/upstream/local${path}`, { redirect: 'manual', headers })
    const moved = await ask('/moved')
    expect([moved.status, moved.headers.get('location')]).toEqual([302, '/upstream/local/ui/?a=1'])
    expect((await ask('/page', { 'if-none-match': 'same' })).status).toBe(304)
    const away = await ask('/away')
    expect(away.status).toBe(502)
    expect(await away.text()).toContain('a redirect to another server')
  })

  test('starts nothing for a GET that does not ask for it', async () => {
    await using house = await openHouseWithService()
    const refused = await fetch(`${house.url}/upstream/local/v1/models`)
    expect(refused.status).toBe(409)
    expect(await refused.text()).toMatch(/local is not running \(down\.cold\).*Add \?start=1/)
    expect(house.service().state).toBe('down.cold')
    const answer = await fetch(`${house.url}/upstream/local/v1/models?start=1`)
    expect([answer.status, (await answer.json()).data[0].id]).toEqual([200, 'demo'])
    expect((await fetch(`${house.url}/upstream/local/v1/models`)).status).toBe(200)
    expect((await fetch(`${house.url}/upstream/nothing/`)).status).toBe(404)
  })

  test('finds a service by its name and its key, as the control surface does', async () => {
    await using server = await openServer()
    const baseUrl = `${server.url}/v1`
    const providers = {
      local: { baseUrl, models: [{ id: 'demo' }] },
      other: { baseUrl, models: [{ id: 'other' }] },
    }
    await using house = await openHouse({ serverUrl: server.url, rest: { models: { providers } } })
    await house.supervisor.start('local')
    const { service, key } = house.service()
    for (const id of [service, key, 'other'])
      expect((await fetch(`${house.url}/upstream/${encodeURIComponent(id)}/x`)).status).toBe(200)
  })

  test('carries a WebSocket both ways, and holds the service as long as it is open', async () => {
    await using server = await openServer()
    await using house = await openHouse({ serverUrl: server.url })
    const socket = connect(house.port, '127.0.0.1')
    socket.write(
      `GET /upstream/local/live?start=1 HTTP/1.1\r\nhost: 127.0.0.1:${house.port}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: abc\r\n\r\n`,
    )
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
    })
    await expect.poll(() => text).toMatch(/^HTTP\/1.1 101 .*\r\n\r\n$/s)
    socket.write('ping')
    await expect.poll(() => text).toMatch(/ping$/)
    expect(server.asked.at(-1)).toMatchObject({ url: '/live', headers: { 'sec-websocket-key': 'abc' } })
    expect(house.service().leases).toBe(1)
    socket.destroy()
    await expect.poll(() => house.service().leases).toBe(0)
  })

  test('takes a request that offers HTTP/2, as those of Java do, for an ordinary one', async () => {
    await using server = await openServer()
    await using house = await openHouse({ serverUrl: server.url })
    const body = JSON.stringify({ model: 'local/demo', content: 'x' })
    const socket = connect(house.port, '127.0.0.1')
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
    })
    socket.write(
      `POST /tokenize HTTP/1.1\r\nhost: 127.0.0.1:${house.port}\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAAB\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
    await expect.poll(() => text).toMatch(/^HTTP\/1.1 502 .*a web page answered/s)
    socket.destroy()
  })

  test('is opened by a client key; the control surface beside it is not', async () => {
    await using server = await openServer()
    await using house = await openHouse({
      serverUrl: server.url,
      leasehold: { apiKeys: ['client-key-0001'], controlKeys: ['control-key-0001'] },
    })
    const ask = (path: string, headers = {}) => fetch(house.url + path, { headers })
    const client = { 'api-key': 'client-key-0001' }
    expect((await ask('/upstream/local/?start=1')).status).toBe(401)
    expect((await ask('/upstream/local/?start=1', client)).status).toBe(200)
    expect((await ask('/api/tags', client)).status).toBe(200)
    expect((await ask('/api/services', client)).status).toBe(401)
    expect((await ask('/running', client)).status).toBe(401)
  })
})

describe("llama.cpp's routes", () => {
  test('go to the root of the server, with the model that the body names', async () => {
    await using server = await openServer()
    await using house = await openHouse({ serverUrl: server.url })
    for (const path of ['/infill', '/v1/infill', '/tokenize', '/completion', '/v1/completion', '/rerank']) {
      await house.post(path, { model: 'local/demo', content: 'x' })
      const { method, url, body } = server.asked.at(-1) ?? {}
      expect([method, url, JSON.parse(body ?? '')]).toEqual([
        'POST',
        path.replace('/v1', ''),
        { model: 'demo', content: 'x' },
      ])
    }
    expect((await fetch(`${house.url}/props`)).status).toBe(200)
    expect(server.asked.at(-1)).toMatchObject({ method: 'GET', url: '/props' })
    expect((await fetch(`${house.url}/slots?model=local/demo`)).status).toBe(200)
  })
})

describe("llama-swap's routes", () => {
  test('list what runs, and stop all of it', async () => {
    await using house = await openHouseWithService()
    const running = async () => (await fetch(`${house.url}/running`)).json()
    expect(await running()).toEqual({ running: [] })
    await house.supervisor.start('local')
    expect(await running()).toEqual({ running: [{ model: 'local/demo', state: 'ready' }] })
    const stopped = await house.post('/unload', {})
    expect((await stopped.json()).services).toMatchObject([{ service: 'local', state: 'down.cold' }])
    await house.supervisor.start('local')
    expect((await (await house.post('/api/stop', { force: true })).json()).services).toHaveLength(1)
    expect(await running()).toEqual({ running: [] })
  })
})
