import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Worker } from 'node:worker_threads'
import { afterEach, expect, test } from 'vitest'
import { readBody } from '../../src/gateway/body.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

const MB = 1024 * 1024
/** What is read in a turn, and the chunk with which it is full, and one that Node had read before it stopped. */
const MAX_PER_TURN = 262_144 + 2 * 65_536

const CLIENT = `
  const { request } = require('node:http')
  const { port, sent, isAnnounced } = require('node:worker_threads').workerData
  const headers = { 'content-type': 'application/json', ...(isAnnounced && { 'content-length': sent.length }) }
  request({ port, method: 'POST', headers, agent: false }, (answer) => answer.resume()).end(sent)
`

test.each(['content-length', 'transfer-encoding'])(
  'a large body is read in parts, one in a turn of the event loop (%s)',
  async (framing) => {
    let most = 0
    let body: Buffer | undefined
    const server = createServer(async (message, response) => {
      let inTurn = 0
      message.on('data', (chunk: Buffer) => {
        if (inTurn === 0)
          setImmediate(() => {
            inTurn = 0
          })
        inTurn += chunk.length
        most = Math.max(most, inTurn)
      })
      body = await readBody(response, 64 * MB)
      response.end()
    }).listen(0, '127.0.0.1')
    closers.push(() => server.close())
    await once(server, 'listening')
    const sent = Buffer.from(JSON.stringify({ text: 'abcdefg'.repeat(MB) }))
    // A thread of its own keeps the socket full while the body is read.
    const client = new Worker(CLIENT, {
      eval: true,
      workerData: {
        port: (server.address() as AddressInfo).port,
        sent,
        isAnnounced: framing === 'content-length',
      },
    })
    await once(client, 'exit')
    expect(body?.equals(sent)).toBe(true)
    expect(most).toBeLessThanOrEqual(MAX_PER_TURN)
  },
)
