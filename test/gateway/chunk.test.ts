import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { writeChunk } from '../../src/gateway/chunk.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

/** Serves with `answer`; returns the text of the body that `fetch` reads, and the raw answer to an HTTP/1.0 client. */
async function serve(answer: (response: ServerResponse) => void) {
  const server = createServer((_, response) => answer(response)).listen(0, '127.0.0.1')
  closers.push(() => server.close())
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

const PIECES = [1, 150, 15, 16, 255, 256, 4_095, 4_096, 0, 4_097, 3, 100_000, 7].map((size, index) =>
  Buffer.alloc(size, 97 + index),
)

test('pieces of every size arrive whole and in order', async () => {
  const port = await serve((response) => {
    response.writeHead(200)
    for (const piece of PIECES) writeChunk(response, piece)
    response.end()
  })
  const body = Buffer.from(await (await fetch(`http://127.0.0.1:${port}/`)).arrayBuffer())
  expect(body.equals(Buffer.concat(PIECES))).toBe(true)
})

test('a client of HTTP/1.0 gets the plain bytes', async () => {
  const port = await serve((response) => {
    response.writeHead(200)
    writeChunk(response, Buffer.from('one, '))
    writeChunk(response, Buffer.from('two'))
    response.end()
  })
  const socket = connect(port, '127.0.0.1')
  socket.write('GET / HTTP/1.0\r\n\r\n')
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  expect(text).toMatch(/\r\n\r\none, two$/)
})

test('an event goes to the socket as one buffer', async () => {
  const sizes: number[] = []
  const port = await serve((response) => {
    response.writeHead(200).flushHeaders()
    const { socket } = response
    if (socket === null) throw new Error('a request has a socket')
    const write = socket.write.bind(socket)
    socket.write = (bytes: string | Uint8Array, ...rest: never[]) => {
      sizes.push(bytes.length)
      return write(bytes, ...rest)
    }
    writeChunk(response, Buffer.from('data: {}\n\n'))
    Reflect.deleteProperty(socket, 'write')
    response.end()
  })
  expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('data: {}\n\n')
  expect(sizes).toEqual(['a\r\ndata: {}\n\n\r\n'.length])
})
