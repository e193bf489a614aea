import { createServer } from 'node:http'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createSupervisor } from '../../src/index.ts'
import { createModelServer } from '../../src/testing/model-server/model-server.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { demoServer, listen, writeAndLoad } from './library.ts'

/** A supervisor of a file whose only port is the first that may be assigned. */
async function open(firstPort: number, name: string, flags: readonly string[] = []) {
  const demo = {
    localService: { command: process.execPath, args: [demoServer, '--port', `\${PORT}`, ...flags] },
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

  test('is not that of the service of another file, which is told and left alone', async () => {
    const firstPort = await findFreePort()
    const one = await open(firstPort, 'one')
    const other = await open(firstPort, 'other', ['--models', 'demo'])
    const lease = await one.supervisor.acquire('demo/demo')
    await expect(other.supervisor.acquire('demo/demo')).rejects.toMatchObject({
      code: 'LEASEHOLD_CLAIM_FAILED',
      message: expect.stringContaining('another service is run at its address by leasehold one'),
    })
    expect(other.all('process.spawned')).toEqual([])
    lease.release()
  })

  test.runIf(process.platform === 'linux')(
    'is not that of a model server which the file does not mean, however well it answers',
    async () => {
      await using server = createModelServer()
      const { port } = new URL((await server.listen()).url)
      const house = await open(Number(port), 'one')
      await expect(house.supervisor.acquire('demo/demo')).rejects.toMatchObject({
        code: 'LEASEHOLD_FOREIGN_SERVER',
        message: expect.stringMatching(
          new RegExp(`its port ${port} belongs to another program: process ${process.pid} `),
        ),
      })
      expect(house.all('process.spawned')).toEqual([])
    },
  )

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
