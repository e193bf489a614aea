import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'

/** What RFC 6455 has every server answer with. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/** A websocket server that passes each text on to every other client: what stands between an inspector and its viewers. */
export interface Relay extends AsyncDisposable {
  readonly url: string
  /** Every text that came, as it came. */
  readonly texts: readonly string[]
  connections(): number
}

/** Opens a relay on a free port. It knows texts in one frame each, which is all that the inspector sends. */
export async function openRelay(): Promise<Relay> {
  const sockets = new Set<Duplex>()
  const texts: string[] = []
  const server = createServer()
  server.on('upgrade', ({ headers }, socket: Duplex) => {
    const accept = createHash('sha1').update(`${headers['sec-websocket-key']}${GUID}`).digest('base64')
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    )
    sockets.add(socket)
    let rest = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk])
      for (let frame = readFrame(rest); frame !== undefined; frame = readFrame(rest)) {
        rest = rest.subarray(frame.bytes)
        if (frame.text === undefined) continue
        texts.push(frame.text)
        for (const other of sockets) if (other !== socket) other.write(toFrame(frame.text))
      }
    })
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `ws://127.0.0.1:${port}`,
    texts,
    connections: () => sockets.size,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** The first frame of some bytes, unmasked; `undefined`: it is not there whole. `text`: of a text frame. */
function readFrame(bytes: Buffer): { readonly bytes: number; readonly text: string | undefined } | undefined {
  if (bytes.length < 2) return undefined
  const short = bytes.readUInt8(1) & 0x7f
  const head = short === 126 ? 4 : short === 127 ? 10 : 2
  if (bytes.length < head + 4) return undefined
  const length =
    short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short
  const end = head + 4 + length
  if (bytes.length < end) return undefined
  const mask = bytes.subarray(head, head + 4)
  const isText = (bytes.readUInt8(0) & 0x0f) === 1
  const body = Buffer.from(bytes.subarray(head + 4, end)).map((byte, index) => byte ^ (mask[index % 4] ?? 0))
  return { bytes: end, text: isText ? Buffer.from(body).toString('utf8') : undefined }
}

function toFrame(text: string): Buffer {
  const body = Buffer.from(text)
  const head = Buffer.alloc(10)
  head.writeUInt8(0x81, 0)
  head.writeUInt8(127, 1)
  head.writeBigUInt64BE(BigInt(body.length), 2)
  return Buffer.concat([head, body])
}
