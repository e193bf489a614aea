// @module-tag waits
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect } from '@nats-io/transport-node'
import { test } from 'vitest'
import { loadLibraries } from '../../src/cluster/libraries.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { CARD_PATH, createMemberProof, PROOF_HEADER } from '../../src/transport/member-proof.ts'
import { type Box, createBoxes, secret } from './boxes.ts'
import { describeWithNats, startNatsServer } from './nats-server.ts'

const patience = { timeout: 120_000 }

interface MemberOptions {
  readonly secret?: string
  /** How far its clock is ahead, in milliseconds. */
  readonly aheadMs?: number
  /** What it says its address is. @default where it listens */
  readonly address?: string
  readonly v?: number
  /** Takes connections and says nothing. */
  readonly isSilent?: boolean
}

/** A member made by hand: its card comes over NATS, and its gateway answers as told. */
async function openMember(url: string, member: string, options: MemberOptions = {}) {
  const boot = `${member}-boot`
  const proof = createMemberProof(options.secret ?? secret, { member, boot })
  const answer = (response: ServerResponse, value: object, headers: Record<string, string> = {}) => {
    const date = new Date(Date.now() + (options.aheadMs ?? 0)).toUTCString()
    response.writeHead(200, { date, 'content-type': 'application/json', ...headers })
    response.end(JSON.stringify(value))
  }
  const gateway = createServer(({ method = '', url: path = '', headers }, response) => {
    if (options.isSilent) return
    if (path !== CARD_PATH) return answer(response, { name: 'leasehold' })
    try {
      const hop = proof.check({ method, path }, headers)
      if (hop !== undefined)
        answer(response, card, { [PROOF_HEADER]: proof.proveAnswer(hop, JSON.stringify(card)) })
    } catch (error) {
      response.statusCode = 421
      response.end(JSON.stringify({ error: { message: (error as Error).message } }))
    }
  })
  gateway.listen(0, '127.0.0.1')
  await once(gateway, 'listening')
  const own = `http://127.0.0.1:${(gateway.address() as AddressInfo).port}`
  const address = options.address ?? own
  const card = { v: options.v ?? 1, member, boot, seq: 1, address, version: '9.9.9', state: 'open' }
  Object.assign(card, { services: {}, counted: {} })
  const nats = await connect({ servers: url })
  nats.subscribe('leasehold.who', {
    callback: () => nats.publish(`leasehold.card.${member}`, JSON.stringify(card)),
  })
  await nats.flush()
  return {
    address,
    [Symbol.asyncDispose]: async () => {
      await nats.close()
      gateway.closeAllConnections()
      gateway.close()
    },
  }
}

/** A nats-server of an earlier version: it greets, and answers nothing but pings. */
async function startOldServer(version: string) {
  const sockets = new Set<Socket>()
  const server = createTcpServer((socket) => {
    sockets.add(socket)
    const info = {
      server_id: 'OLD',
      version,
      proto: 1,
      headers: true,
      jetstream: true,
      max_payload: 1_048_576,
    }
    socket.write(`INFO ${JSON.stringify(info)}\r\n`)
    socket.on('data', (data) => {
      for (const _ of String(data).matchAll(/^PING\r$/gm)) socket.write('PONG\r\n')
    })
    socket.on('error', () => {})
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `nats://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

/** Runs `leasehold cluster check`, and gives what it found wrong. */
async function check(box: Box) {
  const { code, stdout } = await box.run('cluster', 'check')
  const lines = stdout.split('\n').filter((line) => line !== '')
  return {
    code,
    wrong: lines.filter((line) => !line.startsWith('ok ')).map((line) => line.replace(/ {2,}/, ' ')),
  }
}

describeWithNats('leasehold cluster check', () => {
  test('says what is wrong with each other member, and what to do', patience, async ({ expect }) => {
    await using boxes = await createBoxes(['tower'])
    const [tower] = boxes.all as [Box]
    const { url } = boxes.nats
    await using _ahead = await openMember(url, 'ahead', { aheadMs: 3_600_000 })
    await using _behind = await openMember(url, 'behind', { aheadMs: -60_000 })
    const nowhere = `http://127.0.0.1:${await findFreePort()}`
    await using gone = await openMember(url, 'gone', { address: nowhere })
    await using mute = await openMember(url, 'mute', { isSilent: true })
    await using stranger = await openMember(url, 'stranger', { secret: 'x'.repeat(40) })
    await using _newer = await openMember(url, 'newer', { v: 2 })
    await using twin = await openMember(url, 'tower')
    const { code, wrong } = await check(tower)
    expect(code).toBe(1)
    expect(wrong.toSorted()).toEqual([
      `error member gone: ${gone.address} cannot be reached from here (connect ECONNREFUSED ${new URL(nowhere).host}): correct leasehold.cluster.address there, or let leasehold.host and the firewall there take connections from here`,
      `error member mute: ${mute.address} cannot be reached from here (timeout): correct leasehold.cluster.address there, or let leasehold.host and the firewall there take connections from here`,
      `error member stranger: ${stranger.address} answers, but not as this member (status 421: The request does not prove that "tower" sent it: leasehold.cluster.secret differs between the members, or the request was changed on its way.): give all members the same leasehold.cluster.secret, and each its own address`,
      `error member tower: another gateway has the name of this member, at ${twin.address} (here ${tower.url}): give one of the two another leasehold.cluster.member, or restart leasehold serve if its address was changed`,
      expect.stringMatching(/^warning member ahead: its clock is 3[56]\d\d s ahead of this one: /),
      expect.stringMatching(
        /^warning member behind: its clock is [56]\d s behind this one: .* set both by NTP$/,
      ),
      'warning member newer: speaks a newer format (leasehold 9.9.9), so it is not used: install that version here',
      expect.stringMatching(
        /^warning this member: http:\S+ does not answer \(.*\): start leasehold serve here, and let other members reach the port$/,
      ),
    ])
  })

  test(
    'names the remedy where no server is reached, and where the configuration is refused',
    patience,
    async ({ expect }) => {
      const away = `nats://127.0.0.1:${await findFreePort()}`
      await using old = await startOldServer('2.10.29')
      await using boxes = await createBoxes([])
      const tower = await boxes.add('tower', { cluster: { servers: [away] } })
      const attic = await boxes.add('attic', { cluster: { servers: [old.url] } })
      const bad = await boxes.add('bad', { cluster: { member: 'Tower.lan', servers: away } })
      const [none, tooOld, refused] = await Promise.all([
        check(tower),
        check(attic),
        bad.run('cluster', 'check'),
      ])
      expect(none.wrong[0]).toMatch(
        new RegExp(
          `^error ${away}: cannot be reached \\(.*\\): start nats-server -js there, or correct leasehold.cluster.servers$`,
        ),
      )
      expect(tooOld.wrong[0]).toBe(
        `error ${old.url}: nats-server 2.10.29 is too old for claims on cold starts: install 2.11 or later`,
      )
      expect(refused.stderr).toContain('leasehold.cluster.member: is not the name of a member: a-z, 0-9')
      expect(refused.stderr).toContain('leasehold.cluster.servers: must be a list')
      expect([none.code, tooOld.code, refused.code]).not.toContain(0)
    },
  )

  test('names the remedy where the server refuses the key, or asks for one', patience, async ({ expect }) => {
    const { nkeys } = (await loadLibraries()).transport
    const [known, other] = [nkeys.createUser(), nkeys.createUser()]
    const server = await startNatsServer({
      config: `authorization { users: [{ nkey: "${known.getPublicKey()}" }] }`,
    })
    await using boxes = await createBoxes([], {}, server)
    const attic = await boxes.add('attic')
    const credentialsFile = join(attic.folder, 'tower.nk')
    writeFileSync(credentialsFile, new TextDecoder().decode(other.getSeed()), { mode: 0o600 })
    const tower = await boxes.add('tower', { cluster: { credentialsFile } })
    const [without, wrong] = await Promise.all([check(attic), check(tower)])
    expect(without.wrong[0]).toMatch(
      /^error nats:\S+: asks for a key, and none is configured \(.*\): set leasehold.cluster.credentialsFile; "leasehold cluster nats-config attic …" makes the keys$/,
    )
    expect(wrong.wrong[0]).toMatch(
      /^error nats:\S+: refuses the key in \S+tower.nk \(.*\): add the user that "leasehold cluster nats-config tower …" prints to its configuration, and reload it$/,
    )
  })

  test(
    'looks at every server, and at the claims with the first that is reached',
    patience,
    async ({ expect }) => {
      const server = await startNatsServer({
        wholeConfig: 'listen: "127.0.0.1:$PORT"',
      })
      await using old = await startOldServer('2.9.1')
      await using boxes = await createBoxes([], {}, server)
      const tower = await boxes.add('tower', { cluster: { servers: [server.url, old.url] } })
      const { wrong } = await check(tower)
      expect(wrong.slice(0, 3)).toEqual([
        `error ${server.url}: JetStream is off, so no claim can be had and several members may start one model: add jetstream { store_dir: … } to its configuration, or start it with -js`,
        'warning members: no member is there: start leasehold serve on the machines',
        `error ${old.url}: nats-server 2.9.1 is too old for claims on cold starts: install 2.11 or later`,
      ])
    },
  )
})
