// @module-tag proof
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { connect } from '@nats-io/transport-node'
import { test } from 'vitest'
import { CARD_PATH, createMemberProof, PROOF_HEADER } from '../../src/transport/member-proof.ts'
import { type Box, createBoxes, key, secret } from './boxes.ts'
import { describeWithNats } from './nats-server.ts'

const patience = { timeout: 120_000 }

interface Members {
  readonly members: readonly { readonly member: string; readonly state: string; readonly version: string }[]
}

describeWithNats('members of other kinds', () => {
  test(
    'a member whose NATS was never there says so, serves its own models, and joins when it is',
    patience,
    async ({ expect }) => {
      await using boxes = await createBoxes(['tower'])
      const [tower] = boxes.all as [Box]
      await boxes.nats.kill()
      await tower.start()
      await tower.until(/cluster +NATS is not reached/)
      expect([(await tower.ask()).status, tower.starts()]).toEqual([200, 1])
      await boxes.nats.start()
      await tower.until(/cluster +connected to NATS/)
      // Each attempt would say it again.
      expect(tower.log.match(/NATS is not reached/g)).toHaveLength(1)
    },
  )

  test(
    'a model of a member that is away is not unknown, and neither is one before the members have met',
    patience,
    async ({ expect }) => {
      await using boxes = await createBoxes([])
      // While NATS is away, the meeting lasts as long as this.
      const tower = await boxes.add('tower', { providers: ['other'], cluster: { lostMs: 60_000 } })
      const attic = await boxes.add('attic')
      const ask = async (model: string) => {
        const answer = await tower.ask({ model })
        const { error } = (await answer.json()) as { error?: { code: string } }
        return [answer.status, error?.code, answer.headers.get('retry-after')]
      }
      await boxes.nats.kill()
      await tower.start()
      expect(await ask('llama/m')).toEqual([503, 'LEASEHOLD_MEMBER_AWAY', '1'])
      await boxes.nats.start()
      await attic.start()
      await boxes.untilJoined()
      expect(await ask('llama/m')).toEqual([200, undefined, null])
      await attic.end()
      await tower.until(/member attic is lost/)
      const away = [503, 'LEASEHOLD_MEMBER_AWAY', '5']
      expect([await ask('llama/m'), await ask('attic:llama/m')]).toEqual([away, away])
      expect(await ask('nothing')).toEqual([404, 'LEASEHOLD_MODEL_UNKNOWN', null])
    },
  )

  test('a member of a newer format is listed, and gets no request (row 20)', patience, async ({ expect }) => {
    await using boxes = await createBoxes(['tower'])
    const [tower] = boxes.all as [Box]
    const newer = { member: 'future', boot: 'f1' }
    const proof = createMemberProof(secret, newer)
    const asked: string[] = []
    const gateway = createServer(({ method = '', url = '', headers }, response) => {
      asked.push(url)
      const hop = proof.check({ method, path: url }, headers)
      const text = JSON.stringify(card)
      if (hop !== undefined) response.setHeader(PROOF_HEADER, proof.proveAnswer(hop, text))
      response.end(text)
    })
    gateway.listen(0, '127.0.0.1')
    await once(gateway, 'listening')
    const address = `http://127.0.0.1:${(gateway.address() as AddressInfo).port}`
    // Its fields mean other things than today's.
    const services = [{ id: 'llama', state: 'hot', models: ['m'] }]
    const card = { v: 2, ...newer, seq: 1, address, version: '9.9.9', state: 'open', services, counted: 7 }
    await tower.start()
    const nats = await connect({ servers: boxes.nats.url })
    const publish = () => nats.publish('leasehold.card.future', JSON.stringify({ ...card, seq: Date.now() }))
    const beat = setInterval(publish, 300)
    try {
      await tower.until(/member future \(9\.9\.9\) is there/)
      const { members } = (await tower.json('/api/members')) as Members
      expect(members.find(({ member }) => member === 'future')).toMatchObject({
        state: 'newer',
        version: '9.9.9',
      })
      expect((await tower.run('members')).stdout).toMatch(/^future +newer /m)
      expect([(await tower.ask()).status, tower.starts()]).toEqual([200, 1])
      expect((await tower.ask({ model: 'future:llama/m' })).status).toBe(404)
      const { data } = (await tower.json('/v1/models')) as { data: { members?: string[] }[] }
      expect(data.flatMap(({ members = [] }) => members)).not.toContain('future')
      expect([...new Set(asked)]).toEqual([CARD_PATH])
    } finally {
      clearInterval(beat)
      await nats.close()
      gateway.closeAllConnections()
      gateway.close()
    }
  })

  test(
    'members that are replicas of each other, too, serve what they can and pass nothing on twice (row 18)',
    patience,
    async ({ expect }) => {
      await using boxes = await createBoxes(['tower', 'attic'])
      const [tower, attic] = boxes.all as [Box, Box]
      const list = (box: Box, other: Box, more: object) => {
        const file = join(box.folder, 'leasehold.json5')
        const config = JSON.parse(readFileSync(file, 'utf8'))
        Object.assign(
          config.models.providers.llama,
          { apiKey: key, replicas: [{ baseUrl: `${other.url}/v1` }] },
          more,
        )
        writeFileSync(file, JSON.stringify(config))
      }
      const startAll = async (more: object) => {
        list(tower, attic, more)
        list(attic, tower, more)
        await Promise.all(boxes.all.map((box) => box.start()))
        await boxes.untilJoined()
      }
      const askAll = async () => {
        const answers = await Promise.all(
          Array.from({ length: 12 }, (_, index) => (index % 2 ? tower : attic).ask()),
        )
        return Promise.all(answers.map(async (answer) => [answer.status, await answer.text()] as const))
      }
      await startAll({})
      expect((await askAll()).filter(([status]) => status !== 200)).toEqual([])
      // Cold again, while each gateway answers as a replica of the other one.
      await Promise.all(boxes.all.map((box) => box.run('stop', 'llama')))
      expect((await askAll()).filter(([status]) => status !== 200)).toEqual([])
      await Promise.all(boxes.all.map((box) => box.end()))
      // No server can be started at either: each request ends, with the cause.
      await startAll({
        localService: { command: '/bin/sh', args: ['-c', 'echo no model here; exit 3'], stopGraceMs: 500 },
      })
      const ended = await askAll()
      for (const [status, text] of ended) {
        expect(status).toBeGreaterThanOrEqual(500)
        expect(text).toContain('"code":"LEASEHOLD_')
      }
    },
  )
})
