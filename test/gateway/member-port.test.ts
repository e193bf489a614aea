import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import {
  type AddressInfo,
  connect as connectPlain,
  createServer as createPlainServer,
  type Socket,
} from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, createServer as createTlsServer } from 'node:tls'
import { afterEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { openMemberPort } from '../../src/gateway/member-port.ts'
import { get, post } from '../../src/transport/get.ts'
import { createMemberTls, explainMemberTls } from '../../src/transport/member-tls.ts'
import { createUpstream } from '../../src/transport/upstream.ts'
import { createAuthority, hasOpenssl } from '../cluster/authority.ts'

const SECRET = 'a secret that has at least 32 characters'
const ours = createMemberTls(SECRET)
const others = createMemberTls('another secret with at least 32 characters')

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

/** A server with a port for members. */
async function openPort(answer: RequestListener = (_, response) => response.end('{"it":"is"}')) {
  const server = createServer(answer)
  const heard: { isEncrypted: boolean; from: string | undefined }[] = []
  server.on('connection', (socket: Socket) =>
    heard.push({ isEncrypted: 'encrypted' in socket, from: socket.remoteAddress }),
  )
  const close = openMemberPort(server, ours)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closing.push(async () => {
    close()
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  const { port } = server.address() as AddressInfo
  return { server, port, heard, close, host: `127.0.0.1:${port}` }
}

const asked = { headers: {}, timeoutMs: 15_000, maxBodyBytes: 100_000_000, clock: systemClock }
const ask = (url: string, tls?: (typeof ours)['connect']) => get({ ...asked, url, tls })
const refusal = (promise: Promise<unknown>) =>
  promise.then(
    () => 'answered',
    (error: unknown) => explainMemberTls(error) ?? String(error),
  )
const PROVES_NEITHER =
  /^its TLS proves neither leasehold\.cluster\.secret nor a certificate that is trusted here/

/** Passes bytes on to a port, and keeps what it saw. */
async function openWire(port: number) {
  const seen: Buffer[] = []
  const wire = createPlainServer((client) => {
    const server = connectPlain(port, '127.0.0.1')
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      from.on('data', (data) => seen.push(data))
      from.on('error', () => to.destroy())
      from.pipe(to)
    }
  })
  wire.listen(0, '127.0.0.1')
  await once(wire, 'listening')
  closing.push(() => wire.close())
  return { port: (wire.address() as AddressInfo).port, seen: () => Buffer.concat(seen).toString('latin1') }
}

describe('the port of a gateway with an https address', () => {
  test('serves members that prove the secret, and plain HTTP as before', async () => {
    const { host, heard } = await openPort()
    expect(await ask(`https://${host}/`, ours.connect)).toMatchObject({ status: 200, body: '{"it":"is"}' })
    expect(await ask(`http://${host}/`)).toMatchObject({ status: 200, body: '{"it":"is"}' })
    const from = '127.0.0.1'
    expect(heard).toEqual([
      { isEncrypted: true, from },
      { isEncrypted: false, from },
    ])
  })

  test('carries ten megabytes both ways, and shows none of them on the wire', async () => {
    const body = Buffer.from(JSON.stringify({ prompt: 'the secret of the prompt '.repeat(400_000) }))
    const { port } = await openPort((request, response) => request.pipe(response))
    const wire = await openWire(port)
    const answer = await post({ ...asked, url: `https://127.0.0.1:${wire.port}/`, body, tls: ours.connect })
    expect(answer.body.length).toBe(body.length)
    expect(wire.seen().length).toBeGreaterThan(2 * body.length)
    expect(wire.seen()).not.toContain('the secret of the prompt')
    const plain = await post({ ...asked, url: `http://127.0.0.1:${port}/`, body })
    expect(plain.body.length).toBe(body.length)
  })

  test('keeps a connection, streams, and hears that the client aborts', async () => {
    let isLeft = false
    const { host, heard } = await openPort((request, response) => {
      response.write('data: 1\n\n')
      if (request.url === '/v1/whole') return response.end('data: 2\n\n')
      response.once('close', () => {
        isLeft = true
      })
    })
    const upstream = createUpstream(`https://${host}/v1`, systemClock, { tls: ours.connect })
    closing.push(() => upstream.close())
    const request = { method: 'POST', headers: {}, body: [], bodyBytes: 0, isStream: true }
    const readWhole = () =>
      new Promise<string>((resolve, reject) => {
        let text = ''
        const onData = (data: Buffer) => {
          text += data.toString()
          return true
        }
        const onEnd = () => resolve(text)
        upstream.send({ ...request, path: '/whole' }, { onHead: () => {}, onData, onEnd, onError: reject })
      })
    expect(await readWhole()).toBe('data: 1\n\ndata: 2\n\n')
    const countNew = async () => {
      const before = heard.length
      await readWhole()
      return heard.length - before
    }
    await expect.poll(countNew, { timeout: 15_000 }).toBe(0)
    const aborted = new Promise<Error>((resolve) => {
      const onData = () => {
        call.abort(new Error('the client left'))
        return true
      }
      const call = upstream.send(
        { ...request, path: '/open' },
        { onHead: () => {}, onData, onEnd: () => {}, onError: resolve },
      )
    })
    expect((await aborted).message).toBe('the client left')
    await expect.poll(() => isLeft, { timeout: 15_000 }).toBe(true)
  })

  test('refuses another secret, no secret and what is no handshake, and serves on', async () => {
    const { host, port, heard } = await openPort()
    expect(await refusal(ask(`https://${host}/`, others.connect))).toMatch(PROVES_NEITHER)
    expect(await refusal(ask(`https://${host}/`))).toMatch(PROVES_NEITHER)
    const blind = connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
    await once(blind, 'error')
    const odd = connectPlain(port, '127.0.0.1')
    odd.on('error', () => {}).resume()
    odd.write(Buffer.from([0x16, 0x03, 0x01, 0x00, 0x04, 0xff, 0xff, 0xff, 0xff]))
    await once(odd, 'close')
    expect(heard).toEqual([])
    expect((await ask(`https://${host}/`, ours.connect)).status).toBe(200)
  })

  test('keeps no connection whose client says no more, before or in its handshake', async () => {
    const { server, port } = await openPort()
    const countOpen = () =>
      new Promise<number>((resolve, reject) =>
        server.getConnections((error, count) => (error === null ? resolve(count) : reject(error))),
      )
    const hello = await new Promise<Buffer>((resolve) => {
      const listener = createPlainServer((socket) => socket.on('error', () => {}).once('data', resolve))
      listener.listen(0, '127.0.0.1', () => {
        const client = connect({ port: (listener.address() as AddressInfo).port, host: '127.0.0.1' })
        client.on('error', () => {})
        closing.push(
          () => listener.close(),
          () => client.destroy(),
        )
      })
    })
    for (const said of [Buffer.alloc(0), hello.subarray(0, 1), hello.subarray(0, 100), hello]) {
      const client = connectPlain({ port, host: '127.0.0.1', allowHalfOpen: true })
      client.on('error', () => {}).resume()
      await once(client, 'connect')
      client.end(said)
    }
    await expect.poll(countOpen, { timeout: 60_000, interval: 200 }).toBe(0)
  })

  test('ends, when it is closed, the connections that have not said which they are, and open handshakes', async () => {
    const { server, port, close } = await openPort()
    for (const said of ['', '\x16\x03\x01']) {
      const client = connectPlain(port, '127.0.0.1').on('error', () => {})
      closing.push(() => client.destroy())
      await once(client, 'connect')
      client.write(Buffer.from(said, 'latin1'))
    }
    const closed = new Promise((resolve) => server.close(resolve))
    // The server may not have accepted them yet.
    const again = setInterval(close, 20)
    await closed
    clearInterval(again)
  })
})

describe.skipIf(!hasOpenssl)('a member with an https address', () => {
  /** A server with a certificate for 127.0.0.1, as a TLS proxy has. */
  async function openCertified() {
    const folder = mkdtempSync(join(tmpdir(), 'leasehold-member-tls-'))
    closing.push(() => rmSync(folder, { recursive: true }))
    const authority = createAuthority(folder)
    const { certFile, keyFile } = authority.issue('IP:127.0.0.1')
    const server = createTlsServer({ cert: readFileSync(certFile), key: readFileSync(keyFile) }, (socket) => {
      socket.on('error', () => {})
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}'))
    })
    server.on('tlsClientError', () => {})
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    closing.push(() => new Promise((resolve) => server.close(resolve)))
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/`
    return { url, ca: readFileSync(authority.caFile) }
  }

  test('may be a proxy with a certificate that is trusted', async () => {
    const { url, ca } = await openCertified()
    const tls = { ...ours.connect, ca }
    expect((await get({ ...asked, url, tls })).status).toBe(200)
  })

  test('is not believed with a certificate that nothing trusts, whatever it says of the key', async () => {
    const { url } = await openCertified()
    expect(await refusal(ask(url, ours.connect))).toMatch(PROVES_NEITHER)
  })
})
