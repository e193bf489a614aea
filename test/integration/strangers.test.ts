import { expect, test } from 'vitest'
import { findFreePort } from '../../src/testing/real-host.ts'
import { launch } from '../cli/command-line.ts'
import { openHouse, readAll, toLocalService } from '../gateway/house.ts'
import { createRawServer } from '../transport/raw-server.ts'
import { createLibrary, demoServer } from './library.ts'

test('a server whose health answer never ends is given up at readyTimeoutMs, and the look before the start counts', async () => {
  // Each byte comes well before any limit of its own; the end never comes.
  await using server = await createRawServer((socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n')
    const timer = setInterval(() => socket.write('1\r\n \r\n'), 50)
    socket.on('close', () => clearInterval(timer))
  })
  const readyTimeoutMs = 2_500
  await using library = await createLibrary({
    provider: { baseUrl: `${server.url}/v1` },
    service: { readyTimeoutMs, healthUrl: `${server.url}/health` },
  })
  const begunMs = performance.now()
  const error = await library.supervisor.acquire('demo').catch((reason: unknown) => reason)
  const tookMs = performance.now() - begunMs

  expect(error).toMatchObject({
    code: 'LEASEHOLD_READY_TIMEOUT',
    message: expect.stringContaining(`not ready within ${readyTimeoutMs} ms`),
  })
  expect(tookMs).toBeGreaterThan(readyTimeoutMs - 100)
  expect(tookMs).toBeLessThan(2 * readyTimeoutMs - 100)
  expect(library.all('process.spawned')).toEqual([])
})

test('an adopted process outlives a stop and a forced stop, which only release it (fault 73, promise P5)', async () => {
  const port = await findFreePort()
  const serverUrl = `http://127.0.0.1:${port}`
  const args = [demoServer, '--port', String(port), '--token-delay-ms', '20']
  const stranger = launch(process.execPath, args, { cwd: '/', env: { PATH: process.env.PATH } })
  try {
    await stranger.until(/listening on/)
    await using house = await openHouse({
      serverUrl,
      provider: { localService: toLocalService(port, [], { healthUrl: `${serverUrl}/health` }) },
    })
    const ask = (content: string, stream: boolean) =>
      house.post('/v1/chat/completions', { messages: [{ role: 'user', content }], stream })
    const stop = async (options: object) => {
      const response = await house.post('/api/services/local/stop', options)
      return [response.status, await response.json()]
    }
    const letGo = [200, expect.objectContaining({ state: 'down.cold', ownership: 'none' })]

    expect(await (await ask('What is 6 * 7?', false)).text()).toContain('42')
    expect(house.service()).toMatchObject({ ownership: 'adopted', pid: null })
    expect(await stop({})).toEqual(letGo)

    const stream = await ask('count to 1000', true)
    expect(house.service()).toMatchObject({ ownership: 'adopted', leases: 1 })
    expect(await stop({ force: true })).toEqual(letGo)
    expect((await readAll(stream)).text).not.toContain('[DONE]')

    expect(await (await ask('What is 6 * 7?', false)).text()).toContain('42')
    expect(house.service()).toMatchObject({ ownership: 'adopted' })
    expect(house.events.filter(({ type }) => type.startsWith('process.'))).toEqual([])
    expect(stranger.child).toMatchObject({ exitCode: null, signalCode: null })
  } finally {
    stranger.child.kill()
    await stranger.ended
  }
})
