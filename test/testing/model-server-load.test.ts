import { once } from 'node:events'
import { createServer } from 'node:net'
import { expect, test, vi } from 'vitest'
import { createModelServer } from '../../src/testing/model-server/model-server.ts'
import type { ModelServerOptions } from '../../src/testing/model-server/options.ts'

/** Longer than any test runs: a load that only `close()` ends. */
const endlessMs = 600_000

const loading = { error: { message: 'Loading model', type: 'unavailable_error', code: 503 } }

/** Waits for a fact: asserts on what `read` gives as soon as it holds. */
const eventually = (read: () => unknown) => expect.poll(read, { interval: 5, timeout: 20_000 })

async function statusOf(url: string): Promise<number> {
  const response = await fetch(url)
  await response.text()
  return response.status
}

async function findFreePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const address = probe.address()
  probe.close()
  await once(probe, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}

test('all routes answer 503 while the model loads, unknown ones too', async () => {
  await using server = createModelServer({ loadMs: endlessMs })
  const { url } = await server.listen()
  for (const path of ['/health', '/v1/models', '/nope']) {
    const response = await fetch(`${url}${path}`)
    expect(response.status).toBe(503)
    expect(await response.json()).toEqual(loading)
  }
  const chat = await fetch(`${url}/v1/chat/completions`, { method: 'POST', body: '{"stream":true}' })
  expect([chat.status, await chat.json()]).toEqual([503, loading])
})

test('a load ends, and its log says so', async () => {
  const lines: string[] = []
  await using server = createModelServer(
    { loadMs: 250, logFloodBytes: 1000 },
    { log: (line) => lines.push(line) },
  )
  const { port, url } = await server.listen()
  await eventually(() => statusOf(`${url}/health`)).toBe(200)
  expect(lines.filter((line) => line.startsWith('load_tensors: ') && line.length === 99)).toHaveLength(10)
  expect(lines.filter((line) => !line.startsWith('load_tensors: '))).toEqual([
    `port ${port} is open`,
    'loading model',
    'load progress 33 %',
    'load progress 67 %',
    'load progress 100 %',
    'model loaded',
    `listening on ${url}`,
  ])
})

test('health may say 200 during the load, as mlx_lm does', async () => {
  await using server = createModelServer({ loadMs: endlessMs, healthWhileLoading: '200' })
  const { url } = await server.listen()
  expect([await statusOf(`${url}/health`), await statusOf(`${url}/v1/models`)]).toEqual([200, 503])
})

test('health may have another path, or none', async () => {
  await using server = createModelServer({ loadMs: endlessMs, healthPath: '/api/version' })
  const { url } = await server.listen()
  expect(await statusOf(`${url}/api/version`)).toBe(503)
  await using loaded = createModelServer({ healthPath: '/api/version' })
  const { url: loadedUrl } = await loaded.listen()
  await eventually(() => statusOf(`${loadedUrl}/api/version`)).toBe(200)
  expect(await statusOf(`${loadedUrl}/health`)).toBe(404)
})

test('health may say nothing during the load', async () => {
  await using server = createModelServer({ loadMs: endlessMs, healthWhileLoading: 'hang' })
  const { url } = await server.listen()
  const health = fetch(`${url}/health`).catch(() => 'cut')
  await eventually(() => server.inFlight).toBe(1)
  expect(await statusOf(`${url}/v1/models`)).toBe(503)
  expect(server.inFlight).toBe(1)
  await server.close()
  expect(await health).toBe('cut')
  expect(server.counts.aborted).toBe(0)
})

test('the models may be listed during the load', async () => {
  await using server = createModelServer({ loadMs: endlessMs, modelsWhileLoading: '200' })
  const { url } = await server.listen()
  expect([await statusOf(`${url}/health`), await statusOf(`${url}/v1/models`)]).toEqual([503, 200])
})

test('with bindAfterLoad the port is refused until the load ends', async () => {
  const port = await findFreePort()
  await using server = createModelServer({ port, loadMs: endlessMs, bindAfterLoad: true })
  const listening = server.listen().catch((error: Error) => error.name)
  await expect(fetch(`http://127.0.0.1:${port}/health`)).rejects.toThrow('fetch failed')
  await server.close()
  expect(await listening).toBe('AbortError')

  await using quick = createModelServer({ loadMs: 20, bindAfterLoad: true })
  const { url } = await quick.listen()
  expect(await statusOf(`${url}/health`)).toBe(200)
})

test('a load that fails with health500 leaves a server that says so for ever', async () => {
  await using server = createModelServer({ loadMs: 20, failLoad: 'health500' })
  const { url } = await server.listen()
  await eventually(() => statusOf(`${url}/health`)).toBe(500)
  expect(await (await fetch(`${url}/health`)).text()).toBe('{"status":"error"}')
  expect(await statusOf(`${url}/v1/models`)).toBe(500)
  server.set({ failLoad: null })
  expect(await statusOf(`${url}/health`)).toBe(200)
})

test('a load that fails with exit asks for exit code 1, or closes the server', async () => {
  const exit = vi.fn<(code: number) => void>()
  await using asking = createModelServer({ failLoad: 'exit' }, { exit })
  await asking.listen()
  await eventually(() => exit.mock.calls).toEqual([[1]])

  await using closing = createModelServer({ failLoad: 'exit' })
  const { url } = await closing.listen()
  await eventually(() => statusOf(url).catch(() => 'refused')).toBe('refused')

  await using unbound = createModelServer({ failLoad: 'exit', bindAfterLoad: true })
  await expect(unbound.listen()).rejects.toThrow('could not load')
})

test('log lines come at their pace until the server closes', async () => {
  const lines: string[] = []
  await using server = createModelServer({ logLineEveryMs: 1 }, { log: (line) => lines.push(line) })
  await server.listen()
  await eventually(() => lines).toContain('line 3')
})

test('listen is idempotent, a taken port is an error, and close is idempotent', async () => {
  await using server = createModelServer()
  const [one, two] = await Promise.all([server.listen(), server.listen()])
  expect(one).toBe(two)
  await using rival = createModelServer({ port: one.port })
  await expect(rival.listen()).rejects.toMatchObject({ code: 'EADDRINUSE' })
  await Promise.all([server.close(), server.close()])
  await expect(fetch(one.url)).rejects.toThrow('fetch failed')
})

test('a server that is closed before it listens does not listen', async () => {
  const server = createModelServer()
  await server.close()
  await expect(server.listen()).rejects.toThrow('aborted')
})

test('a wrong option is refused at creation', () => {
  const options: ModelServerOptions = { port: -1 }
  expect(() => createModelServer(options)).toThrow('port: expected a whole number')
})
