import { expect, test } from 'vitest'
import { findFreePort } from '../../src/testing/real-host.ts'
import { launch } from '../cli/command-line.ts'
import { openHouse, readAll, toLocalService } from '../gateway/house.ts'
import { demoServer } from './library.ts'

test('a process of somebody else that is used outlives a stop and a forced stop, which only let it go (fault 73, promise P5)', async () => {
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
