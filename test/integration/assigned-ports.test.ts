import { createServer } from 'node:http'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createSupervisor } from '../../src/index.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { demoServer, listen, writeAndLoad } from './library.ts'

/** A supervisor of a file whose only port is the first that may be assigned. */
async function open(firstPort: number, name: string) {
  const demo = {
    localService: { command: process.execPath, args: [demoServer, '--port', `\${PORT}`] },
    models: [{ id: 'demo' }],
  }
  const text = JSON.stringify({ models: { providers: { demo } }, leasehold: { firstPort, backoffMs: 10 } })
  const supervisor = createSupervisor({ config: await writeAndLoad(text), name })
  onTestFinished(() => supervisor.close({ force: true }))
  return { supervisor, ...listen(supervisor) }
}

describe('a port that is assigned from the file', () => {
  test('is the same for two supervisors with the same file, which share the server', async () => {
    const firstPort = await findFreePort()
    const houses = [await open(firstPort, 'one'), await open(firstPort, 'two')]
    const leases = await Promise.all(houses.map(({ supervisor }) => supervisor.acquire('demo/demo')))
    const baseUrl = `http://127.0.0.1:${firstPort}/v1`
    expect(leases.map((lease) => lease.baseUrl)).toEqual([baseUrl, baseUrl])
    expect(houses.flatMap((house) => house.all('process.spawned'))).toHaveLength(1)
    for (const lease of leases) lease.release()
  })

  test.runIf(process.platform === 'linux')(
    'and is taken is told with its holder, and no other is used instead',
    async () => {
      const stranger = createServer((_, response) => response.writeHead(404).end()).listen(0, '127.0.0.1')
      onTestFinished(() => void stranger.close())
      await new Promise((resolve) => stranger.once('listening', resolve))
      const address = stranger.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      const house = await open(port, 'one')
      await expect(house.supervisor.acquire('demo/demo')).rejects.toMatchObject({
        code: 'LEASEHOLD_FOREIGN_SERVER',
        message: expect.stringContaining(`process ${process.pid}`),
      })
      expect(house.all('process.spawned')).toEqual([])
    },
  )
})
