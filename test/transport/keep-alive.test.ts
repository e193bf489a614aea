import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { createUpstream, UnsentError, type Upstream } from '../../src/transport/upstream.ts'

const ANSWER = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'

const closers: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

/** A server that keeps connections, until `onRequest` says otherwise; it never hints at how long. */
async function listen(onRequest: (socket: Socket, nth: number, server: Server) => void) {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    let nth = 0
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => {})
    socket.on('data', () => {
      nth += 1
      onRequest(socket, nth, server)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const upstream = createUpstream(
    `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`,
    systemClock,
  )
  closers.push(
    async () => {
      for (const socket of sockets) socket.destroy()
      if (!server.listening) return
      server.close()
      await once(server, 'close')
    },
    () => upstream.close(),
  )
  return async () => {
    // The connection of the answer before is idle only when that answer has been dealt with.
    await new Promise((resolve) => setImmediate(resolve))
    return send(upstream)
  }
}

/** Sends a request, and says how it ended. */
function send(upstream: Upstream): Promise<string> {
  return new Promise((resolve) => {
    upstream.send(
      { method: 'POST', path: '/x', headers: {}, body: [Buffer.from('{}')], bodyBytes: 2, isStream: false },
      {
        onHead: () => {},
        onData: () => true,
        onEnd: () => resolve('answered'),
        onError: (error) =>
          resolve(`${error instanceof UnsentError ? 'unheard' : 'failed'}: ${error.message}`),
      },
    )
  })
}

test('a connection that the server closes as it is chosen again costs the client nothing (fault 49)', async () => {
  const ask = await listen((socket, nth) => (nth === 1 ? socket.write(ANSWER) : socket.destroy()))
  const answers: string[] = []
  for (let i = 0; i < 20; i += 1) answers.push(await ask())
  expect(answers).toEqual(Array(20).fill('answered'))
})

test('a server that closes a fresh connection without an answer is not asked twice', async () => {
  let requests = 0
  const ask = await listen((socket) => {
    requests += 1
    socket.destroy()
  })
  expect(await ask()).toMatch(/^failed/)
  expect(requests).toBe(1)
})

test('a request that was answered in part is not sent again', async () => {
  let requests = 0
  const ask = await listen((socket, nth) => {
    requests += 1
    if (nth === 1) socket.write(ANSWER)
    else socket.end('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf')
  })
  expect([await ask(), await ask()]).toEqual(['answered', expect.stringMatching(/^failed/)])
  expect(requests).toBe(2)
})

test('a refused request was not sent, unless an earlier connection took it first', async () => {
  const ask = await listen((socket, nth, server) => {
    if (nth === 1) return socket.write(ANSWER)
    server.close()
    socket.destroy()
  })
  const refused = /^failed: connect ECONNREFUSED/
  expect([await ask(), await ask()]).toEqual(['answered', expect.stringMatching(refused)])
  expect(await ask()).toMatch(/^unheard: connect ECONNREFUSED/)
})

test.runIf(process.platform === 'linux')(
  'a request to a server that ends before it accepts the connection was not sent (fault E-14)',
  async () => {
    const program = `const server = require('node:net').createServer().listen(0, '127.0.0.1', () => {
      console.log(server.address().port)
    })`
    const server = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
    const [port] = await once(server.stdout, 'data')
    const upstream = createUpstream(`http://127.0.0.1:${Number(port)}`, systemClock)
    closers.push(() => upstream.close())
    server.kill('SIGSTOP')
    const answer = send(upstream)
    await new Promise((resolve) => process.nextTick(resolve))
    // The kernel has made the connection. It is reset before this process hears of it.
    server.kill('SIGKILL')
    while (isListenedAt(Number(port))) {}
    expect(await answer).toMatch(/^unheard: connect ECONN(RESET|REFUSED)/)
  },
)

/** Read without giving the event loop a turn. */
function isListenedAt(port: number): boolean {
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  return new RegExp(`:${hex} \\S+ 0A `).test(readFileSync('/proc/net/tcp', 'latin1'))
}
