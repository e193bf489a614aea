import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { findPortHolder, findSocketHolder, findSoleHolder, isPortFree } from '../../src/process/tcp-ports.ts'

const listen = async (host: string) => {
  const server = createServer()
  await new Promise<void>((resolve) => {
    server.listen(0, host, resolve)
  })
  return { server, port: (server.address() as AddressInfo).port }
}
const close = (server: Server) => new Promise((resolve) => server.close(resolve))

describe('a port', () => {
  test('is free without a listener, and still free afterwards', async () => {
    const { server, port } = await listen('127.0.0.1')
    expect(await isPortFree('127.0.0.1', port)).toBe(false)
    await close(server)
    expect(await isPortFree('127.0.0.1', port)).toBe(true)
    expect(await isPortFree('127.0.0.1', port)).toBe(true)
  })

  test('is taken on one address when a program listens on all', async () => {
    const { server, port } = await listen('0.0.0.0')
    expect(await isPortFree('127.0.0.1', port)).toBe(false)
    await close(server)
  })

  test('is neither free nor taken on an address that is not ours', async () => {
    await expect(isPortFree('192.0.2.1', 0)).rejects.toMatchObject({ code: 'EADDRNOTAVAIL' })
  })

  test.runIf(process.platform === 'linux')('names the process that listens on it', async () => {
    const { server, port } = await listen('127.0.0.1')
    const me = { pid: process.pid, exe: process.execPath }
    const address = { host: '127.0.0.1', port }
    expect(findPortHolder(address, [])).toEqual({ port, ours: [], strangers: [me] })
    expect(findPortHolder(address, [process.pid])).toEqual({ port, ours: [me], strangers: [] })
    expect(findPortHolder({ host: '::1', port }, [])).toBeUndefined()
    expect(findPortHolder({ host: 'localhost', port }, [])).toMatchObject({ strangers: [me] })
    await close(server)
    expect(findPortHolder(address, [])).toBeUndefined()
  })
})

describe.runIf(process.platform === 'linux')('a process that holds every socket of an address', () => {
  test('is its sole holder, and no other process is', async () => {
    const { server, port } = await listen('127.0.0.1')
    const address = { host: '127.0.0.1', port }
    expect(findSoleHolder(address, process.pid)).toEqual(findPortHolder(address, [process.pid]))
    expect(findSoleHolder(address, process.ppid)).toBeUndefined()
    await close(server)
    expect(findSoleHolder(address, process.pid)).toBeUndefined()
  })

  test('is not alone at a name that leads to another process over IPv6', async () => {
    const { server, port } = await listen('127.0.0.1')
    const other = spawn(process.execPath, ['-e', LISTEN_V6, String(port)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(other.stdout, 'data')
    // `localhost` may lead to either.
    expect(findSoleHolder({ host: '127.0.0.1', port }, process.pid)).toBeDefined()
    expect(findSoleHolder({ host: 'localhost', port }, process.pid)).toBeUndefined()
    other.kill()
    await once(other, 'exit')
    await close(server)
  })
})

/** Listens on the loopback of IPv6 only. */
const LISTEN_V6 = `require('net').createServer().listen({ port: Number(process.argv[1]), host: '::1' }, () => console.log('up'))`

describe.runIf(process.platform === 'linux')('a Unix socket', () => {
  test.each([
    ['an abstract name', () => `\0leasehold-${randomUUID()}`],
    ['a file', () => join(tmpdir(), `leasehold socket ${randomUUID()}`)],
  ])('with %s tells who listens at it', async (_, toPath) => {
    const path = toPath()
    expect(findSocketHolder(path)).toBeUndefined()
    const server = createServer()
    await new Promise<void>((resolve) => {
      server.listen({ path }, resolve)
    })
    expect(findSocketHolder(path)).toBe(process.pid)
    await close(server)
    expect(findSocketHolder(path)).toBeUndefined()
  })
})
