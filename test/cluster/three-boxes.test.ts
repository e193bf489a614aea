// @module-tag proof
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect } from '@nats-io/transport-node'
import { test } from 'vitest'
import { createMemberProof } from '../../src/transport/member-proof.ts'
import { type Box, createBoxes, secret } from './boxes.ts'
import { describeWithNats } from './nats-server.ts'

interface Models {
  readonly data: readonly { readonly id: string; readonly members?: readonly string[] }[]
}

interface Members {
  readonly members: readonly { readonly member: string; readonly state: string; readonly seq: number }[]
}

describeWithNats('three machines', () => {
  test('list the models of each other, and a member that leaves is gone at once (T1)', async ({ expect }) => {
    await using boxes = await createBoxes([])
    const tower = await boxes.add('tower', { providers: ['llama', 'shared'] })
    const attic = await boxes.add('attic', { providers: ['qwen', 'shared'] })
    const cellar = await boxes.add('cellar', { providers: ['phi', 'shared'] })
    await Promise.all(boxes.all.map((box) => box.start()))
    await boxes.untilJoined()
    const listOf = async (box: Box) =>
      ((await box.json('/v1/models')) as Models).data.map(({ id, members }) => [id, members?.toSorted()])
    const all = [
      ['llama/m', ['tower']],
      ['phi/m', ['cellar']],
      ['qwen/m', ['attic']],
      ['shared/m', ['attic', 'cellar', 'tower']],
    ]
    for (const box of boxes.all) expect((await listOf(box)).sort()).toEqual(all)
    await cellar.end('SIGTERM')
    await attic.until(/member cellar is lost/)
    expect((await listOf(tower)).sort()).toEqual([
      ['llama/m', ['tower']],
      ['qwen/m', ['attic']],
      ['shared/m', ['attic', 'tower']],
    ])
  })

  test('a member that is killed is lost after its cards stay out and HTTP is refused', async ({ expect }) => {
    await using boxes = await createBoxes(['tower', 'attic'])
    const [tower, attic] = boxes.all as [Box, Box]
    await Promise.all(boxes.all.map((box) => box.start()))
    await boxes.untilJoined()
    await tower.end('SIGKILL')
    const killedAtMs = performance.now()
    await attic.until(/member tower is lost: nothing listens at its address/)
    expect(performance.now() - killedAtMs).toBeLessThan(4000)
    await tower.start()
    await attic.until(/is lost[\s\S]*member tower .*is there/)
  })

  test('nothing is lost when NATS is away, and the cards come over HTTP (row 10)', async ({ expect }) => {
    await using boxes = await createBoxes(['tower', 'attic'])
    const [tower, attic] = boxes.all as [Box, Box]
    await Promise.all(boxes.all.map((box) => box.start()))
    await boxes.untilJoined()
    await boxes.nats.kill({ keepsStore: false })
    await Promise.all(boxes.all.map((box) => box.until(/NATS is not reached/)))
    const heardOf = async () => {
      const { members } = (await attic.json('/api/members')) as Members
      return members.find(({ member }) => member === 'tower')
    }
    const before = await heardOf()
    await expect.poll(async () => (await heardOf())?.seq).toBeGreaterThan((before?.seq ?? 0) + 4)
    expect(await heardOf()).toMatchObject({ state: 'open' })
    await tower.end('SIGKILL')
    await attic.until(/member tower is lost: nothing listens at its address/)
    await tower.start()
    await boxes.nats.start()
    await attic.until(/is lost[\s\S]*member tower .*is there/)
    await tower.until(/member attic .*is there/)
  })

  test('a second member of one name is refused, with the address of the first, until that one is gone (row 16)', async ({
    expect,
  }) => {
    await using boxes = await createBoxes(['attic', 'tower'])
    const [attic, tower] = boxes.all as [Box, Box]
    const second = await boxes.add('second', { cluster: { member: 'tower' }, providers: ['phi'] })
    await attic.start()
    await tower.start()
    await attic.until(/member tower /)
    await second.start()
    await second.until(new RegExp(`cannot be joined: another member is called tower, at ${tower.url}`))
    const { members } = (await attic.json('/api/members')) as Members
    expect(members.map(({ member }) => member)).toEqual(['attic', 'tower'])
    // It hears of the first one with each card, and says so once.
    const seqOf = async () => {
      const { members } = (await attic.json('/api/members')) as Members
      return members.find(({ member }) => member === 'tower')?.seq ?? 0
    }
    const before = await seqOf()
    await expect.poll(seqOf, { timeout: 5000 }).toBeGreaterThan(before + 4)
    expect(second.log.match(/cannot be joined/g)).toHaveLength(1)
    // Its own models are served.
    expect((await second.ask({ model: 'phi/m' })).status).toBe(200)
    await tower.end()
    await attic.until(new RegExp(`member tower .*is there: ${second.url}`))
  })

  test('drain, seen by all, and the commands for it', async ({ expect }) => {
    await using boxes = await createBoxes(['attic', 'tower'])
    const [attic, tower] = boxes.all as [Box, Box]
    await Promise.all(boxes.all.map((box) => box.start()))
    await boxes.untilJoined()
    const shown = await attic.run('members')
    expect(shown).toMatchObject({ code: 0, stderr: '' })
    expect(shown.stdout).toMatch(/^MEMBER .*\nattic \(this one\) +open .*\ntower +open +.* ago +http/)
    expect((await tower.run('drain')).stdout).toMatch(/^tower \(this one\) +draining/m)
    await attic.until(/member tower is draining/)
    expect((await tower.run('drain', '--undo', '--json')).stdout).toContain('"isDraining":false')
    await attic.until(/member tower is open/)
    const all = await attic.run('status', '--all')
    expect(all.stdout).toMatch(/^attic +llama +cold .*\ntower +llama +cold /m)
    const check = await attic.run('cluster', 'check')
    expect(check.stdout.split('\n').filter((line) => !line.startsWith('ok'))).toEqual([''])
    expect(check.stdout).toMatch(/claims work[\s\S]*member tower: .* answers and has the same secret/)
  })

  test('what answers with a card and does not know the secret is no member', async ({ expect }) => {
    await using boxes = await createBoxes(['tower'])
    const [tower] = boxes.all as [Box]
    await tower.start()
    await tower.until(/connected to NATS/)
    let card = {}
    const asked: (string | undefined)[] = []
    const gateway = createServer((request, response) => {
      asked.push(request.url)
      response.end(JSON.stringify(card))
    })
    gateway.listen(0, '127.0.0.1')
    await once(gateway, 'listening')
    const address = `http://127.0.0.1:${(gateway.address() as AddressInfo).port}`
    const service = {
      models: [{ id: 'm', api: 'openai-completions' }],
      state: 'ready',
      leases: 0,
      waiting: 0,
    }
    const services = { llama: { ...service, room: null, startMs: null, fit: 'fits' } }
    card = {
      v: 1,
      member: 'evil',
      boot: 'b',
      seq: 1,
      address,
      version: '1',
      state: 'open',
      services,
      counted: {},
    }
    const nats = await connect({ servers: boxes.nats.url })
    const listing = async () => {
      // Again and again, as a member does: the subscriptions of the other one may still be on their way.
      nats.publish('leasehold.card.evil', JSON.stringify(card))
      const { members } = (await tower.json('/api/members')) as {
        members: { member: string; state: string; problem: unknown }[]
      }
      return members.find(({ member }) => member === 'evil')
    }
    await expect.poll(listing).toMatchObject({
      state: 'lost',
      problem: 'what answers does not prove that it is evil',
    })
    expect((await tower.ask()).status).toBe(200)
    expect([tower.starts(), ...new Set(asked)]).toEqual([1, '/cluster/card'])
    await nats.close()
    gateway.close()
  })

  test('a member may use what another one shares, and nothing else of it', async ({ expect }) => {
    await using boxes = await createBoxes([])
    const tower = await boxes.add('tower', { providers: ['llama', 'own'], cluster: { share: ['llama'] } })
    await tower.start()
    await tower.until(/connected to NATS/)
    const { members } = (await tower.json('/api/members')) as { members: { member: string; boot: string }[] }
    const proof = createMemberProof(secret, { member: 'attic', boot: 'b' })
    const path = '/v1/chat/completions'
    const ask = async (model: string, number: number) => {
      const to = members[0] as { member: string; boot: string }
      const headers = {
        'content-type': 'application/json',
        ...proof.prove(to, number, { method: 'POST', path }),
      }
      const body = JSON.stringify({ model, messages: [{ role: 'user', content: 'hello' }] })
      return (await fetch(tower.url + path, { method: 'POST', headers, body })).status
    }
    expect([await ask('llama/m', 1), await ask('own/m', 2)]).toEqual([200, 404])
    expect((await tower.ask({ model: 'own/m' })).status).toBe(200)
  })
})
