// @module-tag proof
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect } from '@nats-io/transport-node'
import { test } from 'vitest'
import { createMemberProof } from '../../src/transport/member-proof.ts'
import { type Box, createBoxes, secret } from './boxes.ts'
import { describeWithNats } from './nats-server.ts'

const chunk = (delta: object, finish: string | null = null) =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`

describeWithNats('a member that neither NATS nor a new connection reaches', () => {
  test('is not lost while its stream delivers, and is afterwards', async ({ expect }) => {
    await using boxes = await createBoxes(['tower'])
    const [tower] = boxes.all as [Box]
    await tower.start()
    await tower.until(/connected to NATS/)
    const run = { member: 'attic', boot: 'b' }
    const proof = createMemberProof(secret, run)
    let stream: ServerResponse | undefined
    let seq = 0
    const toCard = () => {
      seq += 1
      const service = {
        models: [{ id: 'm', api: 'openai-completions' }],
        state: 'ready',
        leases: 0,
        waiting: 0,
      }
      const services = { phi: { ...service, room: null, startMs: null, fit: 'fits' } }
      return JSON.stringify({
        v: 1,
        ...run,
        seq,
        address,
        version: '1',
        state: 'open',
        services,
        counted: {},
      })
    }
    const gateway = createServer((request, response) => {
      const { method = '', url: path = '' } = request
      const hop = proof.check({ method, path }, request.headers)
      // Whether a server is there is asked as of every other one.
      if (hop === undefined) return void response.end('{"data":[]}')
      if (method === 'POST') {
        stream = response
        response.writeHead(200, { 'content-type': 'text/event-stream' })
      } else if (stream === undefined) {
        const body = toCard()
        response.setHeader('x-leasehold-proof', proof.proveAnswer(hop, body))
        response.end(body)
      }
    })
    gateway.listen(0, '127.0.0.1')
    await once(gateway, 'listening')
    const address = `http://127.0.0.1:${(gateway.address() as AddressInfo).port}`
    const nats = await connect({ servers: boxes.nats.url })
    const beat = setInterval(() => {
      if (stream === undefined) nats.publish('leasehold.card.attic', toCard())
      else stream.write(chunk({ content: 'x' }))
    }, 100)
    await tower.until(/member attic .*is there/)
    const answer = await tower.ask({ model: 'phi/m', stream: true })
    await tower.until(/member attic is muted/)
    clearInterval(beat)
    stream?.end(`${chunk({}, 'stop')}data: [DONE]\n\n`)
    expect(await answer.text()).toMatch(/"stop"[^\n]*\n\ndata: \[DONE\]\n\n$/)
    await tower.until(/member attic is lost/)
    await nats.close()
    gateway.closeAllConnections()
    gateway.close()
  })
})
