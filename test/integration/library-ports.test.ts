import { spawn } from 'node:child_process'
import dns from 'node:dns'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { findFreePort } from '../../src/testing/real-host.ts'
import {
  ask,
  catchServiceError,
  createLibrary,
  createLibraryOf,
  demoServer,
  isRunning,
  longQuestion,
} from './library.ts'

const hasIpv6 = Object.values(networkInterfaces()).some((one) =>
  one?.some(({ address }) => address === '::1'),
)
const perl = '/usr/bin/perl'
const twin = fileURLToPath(new URL('../fixtures/twin.pl', import.meta.url))

/** A foreign program. `up` settles when it says that it listens. */
function runStranger(command: string, args: readonly string[]) {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const { pid } = child
  if (pid === undefined) throw new Error('there is no stranger')
  return {
    pid,
    up: once(createInterface(child.stdout), 'line'),
    tell: () => child.stdin.write('\n'),
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    },
  }
}

describe.runIf(process.platform === 'linux')('a port that belongs to another program', () => {
  test('is told with the pid and the program of the port holder, which is left alone; nothing is charged (fault 12)', async () => {
    await using library = await createLibrary({ leasehold: { breakerFailures: 1 } })
    const script = `require('http').createServer((q, s) => { s.statusCode = 404; s.end() }).listen(${library.port}, '127.0.0.1', () => console.log('up'))`
    await using stranger = runStranger(process.execPath, ['-e', script])
    await stranger.up
    const error = await catchServiceError(library)
    expect(error.code).toBe('LEASEHOLD_FOREIGN_SERVER')
    expect(error.message).toContain(`process ${stranger.pid} (${process.execPath}) listens on it`)
    expect(library.supervisor.snapshot().services[0]).toMatchObject({ failures: 0, state: 'down.backoff' })
    expect(library.all('process.spawned')).toEqual([])
    expect(isRunning(stranger.pid)).toBe(true)
  })

  test('and was taken while ours starts is used, when a healthy server has it (fault 85, race R7)', async () => {
    // Ours waits until another program has the port, and then fails to bind it.
    const toScript = (port: number) =>
      `const net = require('net'); const look = () => net.connect(${port}, '127.0.0.1').on('error', () => setTimeout(look, 10)).on('connect', () => net.createServer().listen(${port}, '127.0.0.1')); look()`
    await using library = await createLibraryOf(process.execPath, (port) => ['-e', toScript(port)], {
      leasehold: { breakerFailures: 1, backoffMs: 1 },
    })
    let isReady = false
    const server = createServer((_, response) => {
      response.statusCode = isReady ? 200 : 503
      response.end('{"data":[{"id":"demo"}]}')
    })
    const acquiring = library.supervisor.acquire('demo/demo')
    await library.until('process.spawned')
    server.listen(library.port, '127.0.0.1')
    await library.until('process.exited')
    isReady = true
    const lease = await acquiring
    expect(lease.owned).toBe(false)
    expect(library.all('process.spawned')).toHaveLength(1)
    expect(library.supervisor.snapshot().services[0]).toMatchObject({ failures: 0, ownership: 'adopted' })
    lease.release()
    server.close()
    server.closeAllConnections()
  })

  test('and was taken while ours starts costs its waiters a moment when it is free again, and the breaker nothing (fault 13)', async () => {
    await using library = await createLibrary({
      flags: ['--bind-after-load', '--load-ms', '500'],
      leasehold: { breakerFailures: 1, backoffMs: 1 },
    })
    const thief = createTcpServer((socket) => socket.destroy())
    const acquiring = library.supervisor.acquire('demo/demo')
    await library.until('process.spawned')
    thief.listen(library.port, '127.0.0.1')
    await library.until('process.exited', ({ tail }) => tail.join().includes('EADDRINUSE'))
    thief.close()
    await using lease = await acquiring
    expect(lease.owned).toBe(true)
    expect(library.all('process.spawned')).toHaveLength(2)
    expect(library.all('lease.refused')).toEqual([])
    expect(library.supervisor.snapshot().services[0]).toMatchObject({ failures: 0 })
  })

  test('whose server dies under a lease breaks the answer off, and the next request starts ours (fault 86)', async () => {
    await using library = await createLibrary()
    const stranger = spawn(
      process.execPath,
      [demoServer, '--port', String(library.port), '--token-delay-ms', '20'],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    )
    onTestFinished(() => void stranger.kill('SIGKILL'))
    for await (const line of createInterface(stranger.stderr)) if (line.includes('listening on')) break
    const stream = await library.openai.chat.completions.create({
      model: 'demo/demo',
      messages: ask(longQuestion),
      stream: true,
    })
    expect(library.supervisor.snapshot().services[0]).toMatchObject({ ownership: 'adopted', leases: 1 })
    const read = async () => {
      let chunks = 0
      for await (const _ of stream) if (++chunks === 3) stranger.kill('SIGKILL')
    }
    await expect(read()).rejects.toThrow(/the connection to the server broke/)
    expect(library.supervisor.snapshot().services[0]).toMatchObject({ leases: 0 })
    const { choices } = await library.openai.chat.completions.create({
      model: 'demo/demo',
      messages: ask('count to 3'),
    })
    expect(choices[0]?.message.content).toBe('1 2 3')
    expect(library.all('process.spawned')).toHaveLength(1)
    expect(library.supervisor.snapshot().services[0]).toMatchObject({ ownership: 'owned', failures: 0 })
  })

  test.runIf(existsSync(perl))(
    'and is shared with it makes no server of ours: both pids are named, ours is stopped (faults 21, 22, race R5, peer S-5)',
    async () => {
      const dir = await mkdtemp(join(tmpdir(), 'leasehold-'))
      const isReady = join(dir, 'ready')
      await using library = await createLibraryOf(perl, (port) => [twin, String(port), isReady, 'after'], {
        leasehold: { breakerFailures: 1 },
      })
      await using stranger = runStranger(perl, [twin, String(library.port), isReady, 'told'])
      const failing = catchServiceError(library)
      const { pid } = await library.until('process.spawned')
      stranger.tell()
      await expect.poll(() => library.supervisor.output('demo')?.tail()).toMatchObject([{ text: 'up' }])
      await writeFile(isReady, '')
      const error = await failing
      expect(error.code).toBe('LEASEHOLD_FOREIGN_SERVER')
      expect(error.message).toContain(`process ${stranger.pid} (`)
      expect(error.message).toContain(`beside process ${pid} (`)
      expect(await library.until('process.settled')).toMatchObject({ receipt: { survivors: [] } })
      expect(isRunning(pid)).toBe(false)
      expect(isRunning(stranger.pid)).toBe(true)
      expect(library.supervisor.snapshot().services[0]?.failures).toBe(0)
      await rm(dir, { recursive: true })
    },
  )

  test.runIf(hasIpv6)(
    'and is shared under the name localhost, on the other address family, is refused with both pids (fault 23)',
    async () => {
      const port = await findFreePort()
      // Ours is ready as soon as the other one is there, which begins when it is told to.
      const ours = `let isReady = false; const look = () => require('net').connect(${port}, '::1').on('error', () => setTimeout(look, 10)).on('connect', () => { isReady = true }); look(); require('http').createServer((q, s) => { s.statusCode = isReady ? 200 : 503; s.end('{"data":[]}') }).listen(${port}, '127.0.0.1')`
      const other = `process.stdin.once('data', () => require('http').createServer((q, s) => s.end('{"data":[]}')).listen(${port}, '::1')); console.log('up')`
      const baseUrl = `http://localhost:${port}/v1`
      await using library = await createLibrary({
        leasehold: { breakerFailures: 1 },
        provider: { baseUrl },
        service: { command: process.execPath, args: ['-e', ours], healthUrl: `${baseUrl}/models` },
      })
      await using stranger = runStranger(process.execPath, ['-e', other])
      await stranger.up
      const failing = catchServiceError(library)
      const { pid } = await library.until('process.spawned')
      stranger.tell()
      const error = await failing
      expect(error.code).toBe('LEASEHOLD_FOREIGN_SERVER')
      expect(error.message).toContain(`process ${stranger.pid} (`)
      expect(error.message).toContain(`beside process ${pid} (`)
      expect(isRunning(stranger.pid)).toBe(true)
    },
  )

  test.runIf(hasIpv6)(
    'and comes to the name of a server that is ready gets none of its requests, though the name leads there now (fault 23)',
    async () => {
      const port = await findFreePort()
      const ours = `let asked = 0; require('http').createServer((q, s) => { s.setHeader('connection', 'close'); s.end(JSON.stringify({ data: [], asked: ++asked })) }).listen(${port}, '127.0.0.1')`
      const baseUrl = `http://localhost:${port}/v1`
      let isMoved = false
      // Whatever this host calls localhost: first it is where ours listens, then where the other one does.
      const realLookup = dns.lookup as (...args: unknown[]) => void
      const lookup = vi.spyOn(dns, 'lookup').mockImplementation(((name: string, ...rest: unknown[]) => {
        if (name !== 'localhost') return realLookup(name, ...rest)
        const found = rest.at(-1) as (error: null, ...result: unknown[]) => void
        const { all } = (rest.length > 1 ? rest[0] : {}) as dns.LookupOptions
        const [address, family] = isMoved ? ['::1', 6] : ['127.0.0.1', 4]
        if (all) found(null, [{ address, family }])
        else found(null, address, family)
      }) as unknown as typeof dns.lookup)
      onTestFinished(() => lookup.mockRestore())
      await using library = await createLibrary({
        leasehold: { heartbeatMs: 50 },
        provider: { baseUrl },
        service: { command: process.execPath, args: ['-e', ours], healthUrl: `${baseUrl}/models` },
      })
      await using lease = await library.supervisor.acquire('demo/demo')
      expect(lease.owned).toBe(true)
      let stolen = 0
      const stranger = createServer((_, response) => {
        stolen += 1
        response.end('{"data":[]}')
      }).listen(port, '::1')
      await once(stranger, 'listening')
      isMoved = true
      const ask = async () => {
        const response = await library.supervisor.fetch('http://leasehold/v1/chat/completions', {
          method: 'POST',
          body: '{"model":"demo/demo","messages":[]}',
        })
        return ((await response.json()) as { asked: number }).asked
      }
      const answers = []
      for (let request = 0; request < 100; request += 1) answers.push(await ask())
      // Every answer is of ours, and it was asked for its health meanwhile, too.
      await expect.poll(ask).toBeGreaterThan(answers.length + 5)
      expect(stolen).toBe(0)
      stranger.close()
    },
  )
})

describe.runIf(process.platform === 'linux')('a server that listens elsewhere', () => {
  test('is not ready, and the port it has is named (fault 41)', async () => {
    const other = await findFreePort()
    const script = `require('http').createServer((q, s) => s.end('{}')).listen(${other}, '127.0.0.1')`
    await using library = await createLibraryOf(process.execPath, () => ['-e', script], {
      service: { readyTimeoutMs: 4_000 },
    })
    const error = await catchServiceError(library)
    expect(error.code).toBe('LEASEHOLD_READY_TIMEOUT')
    expect(error.message).toContain(`its process listens on port ${other} instead`)
  })
})
