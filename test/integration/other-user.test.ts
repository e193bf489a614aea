import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { getuid, platform } from 'node:process'
import { expect, test } from 'vitest'
import { connectToGateway, findGateway } from '../../src/cli/gateway-client.ts'
import { findOtherUser, findPortHolder } from '../../src/process/tcp-ports.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { launch } from '../cli/command-line.ts'
import { createLibrary, demoServer, type Library } from './library.ts'

/** Only root can run a program as another user. */
const canBeOthers = platform === 'linux' && getuid?.() === 0
const OTHER_UID = 65534

/** A server of another user that answers every request and tells what it was asked. */
async function startOther(port: number) {
  const script = `
    process.setgid(${OTHER_UID}); process.setuid(${OTHER_UID})
    require('http').createServer((request, response) => {
      console.log('asked ' + request.url + ' ' + request.headers.authorization)
      response.end('{"name":"leasehold","data":[],"status":"ok"}')
    }).listen(${port}, '127.0.0.1', () => console.log('listening'))`
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'], cwd: '/' })
  const heard: string[] = []
  child.stdout.on('data', (chunk) => heard.push(String(chunk)))
  await once(child.stdout, 'data')
  return {
    heard,
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null) return
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    },
  }
}

test.runIf(canBeOthers)(
  'a listener of another user on the port of a service is foreign, and is not asked anything',
  async () => {
    await using library = await createLibrary({ provider: { apiKey: 'sk-of-the-provider' } })
    await using other = await startOther(library.port)
    const error = await library.supervisor.acquire('demo').catch((reason: unknown) => reason)

    expect(error).toMatchObject({ code: 'LEASEHOLD_FOREIGN_SERVER' })
    expect(String(error)).toContain(
      `its port ${library.port} belongs to another user of this host (uid ${OTHER_UID})`,
    )
    expect(other.heard.join('')).toBe('listening\n')
    expect(library.all('process.spawned')).toEqual([])
  },
)

const chat = ({ supervisor }: Library) =>
  supervisor.fetch('http://leasehold/v1/chat/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'demo/demo', messages: [{ role: 'user', content: 'a secret' }] }),
  })

test.runIf(canBeOthers)(
  'another user who takes the port of a server that was found running and died gets no request, long before a heartbeat',
  async () => {
    await using library = await createLibrary({
      provider: { apiKey: 'sk-of-the-provider' },
      leasehold: { heartbeatMs: 3_600_000 },
    })
    const args = [demoServer, '--port', String(library.port)]
    const found = launch(process.execPath, args, { cwd: '/', env: { PATH: process.env.PATH } })
    try {
      await found.until(/listening on/)
      expect((await chat(library)).status).toBe(200)
      expect(library.supervisor.snapshot().services[0]).toMatchObject({ ownership: 'adopted' })
    } finally {
      found.child.kill('SIGKILL')
      await found.ended
    }
    await using other = await startOther(library.port)
    const answer = await chat(library)

    expect(answer.status).toBe(503)
    expect(await answer.text()).toContain(
      `its port ${library.port} belongs to another user of this host (uid ${OTHER_UID})`,
    )
    expect(other.heard.join('')).toBe('listening\n')
  },
)

test.runIf(canBeOthers)(
  'another user who takes the port of a service that was stopped when idle gets no request',
  async () => {
    await using library = await createLibrary({
      provider: { apiKey: 'sk-of-the-provider' },
      service: { idleStopMs: 50 },
    })
    expect((await chat(library)).status).toBe(200)
    await library.untilState('idle-stopping')
    await library.untilState('down')
    await using other = await startOther(library.port)
    const answer = await chat(library)

    expect(answer.status).toBe(503)
    expect(await answer.text()).toContain('LEASEHOLD_FOREIGN_SERVER')
    expect(other.heard.join('')).toBe('listening\n')
    expect(library.all('process.spawned')).toHaveLength(1)
  },
)

test.runIf(canBeOthers)('a listener of another user on the port of the gateway gets no key', async () => {
  await using library = await createLibrary({ leasehold: { apiKeys: ['lh-of-the-client'] } })
  const port = await findFreePort()
  await using other = await startOther(port)
  const config = { ...library.supervisor.config }
  const there = { ...config, leasehold: { ...config.leasehold, port } }

  await expect(connectToGateway(there, {})).rejects.toThrow(`another user of this host (uid ${OTHER_UID})`)
  await expect(connectToGateway(there, {}, `http://localhost:${port}`)).rejects.toThrow('another user')
  expect(await findGateway(there, {})).toBeUndefined()
  expect(other.heard.join('')).toBe('listening\n')
})

test.runIf(canBeOthers)('a listener of our own children is ours, whatever user they became', async () => {
  const port = await findFreePort()
  await using _ = await startOther(port)
  const address = { host: '127.0.0.1', port }
  const pid = findPortHolder(address, [])?.strangers[0]?.pid ?? 0

  expect(findOtherUser(address)).toBe(OTHER_UID)
  expect(findOtherUser(address, () => [pid])).toBeUndefined()
  expect(findOtherUser({ host: '192.0.2.1', port })).toBeUndefined()
})
