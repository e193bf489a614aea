// @module-tag waits
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect } from '@nats-io/transport-node'
import { test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { parseConfig } from '../../src/config/load.ts'
import {
  CARD_PATH,
  createMemberProof,
  type MemberRun,
  PROOF_HEADER,
} from '../../src/transport/member-proof.ts'
import { describeWithNats, startNatsServer } from './nats-server.ts'

const built = new URL('../../dist/src/cluster/index.js', import.meta.url).href
const { joinCluster } = (await import(built)) as typeof import('../../src/cluster/index.ts')

const secret = 'a secret that has at least 32 characters'
const patience = { timeout: 20_000 }

/** A member without a supervisor: it has a card, and gives it over HTTP. */
async function join(url: string, member: string) {
  const lost: MemberRun[] = []
  const reasons: string[] = []
  let asked = 0
  const gateway = createServer((request, response) => {
    asked += 1
    const hop = cluster.neighbourhood.admit('GET', CARD_PATH, request.headers)
    const text = JSON.stringify(cluster.card())
    if (hop !== undefined) response.setHeader(PROOF_HEADER, cluster.proveAnswer(hop, text))
    response.end(text)
  })
  gateway.listen(0, '127.0.0.1')
  await once(gateway, 'listening')
  const address = `http://127.0.0.1:${(gateway.address() as AddressInfo).port}`
  // A busy host must not make a member silent: only a refused connection is a loss here.
  const times = { lostMs: 60_000, probeMs: 30_000 }
  const settings = { servers: [url], secret, member, address, ...times }
  const config = parseConfig(JSON.stringify({ leasehold: { cluster: settings } })).leasehold.cluster
  if (config === undefined) throw new Error('there is no cluster')
  const cluster = await joinCluster({
    config,
    clock: systemClock,
    describe: () => ({}),
    onOffers: () => {},
    publish: (event) => {
      if (event.type === 'member.lost') reasons.push(event.reason)
    },
    onRevoked: () => {},
  })
  cluster.neighbourhood.lost$.subscribe((run) => lost.push(run))
  let closing: Promise<void> | undefined
  const close = () => {
    closing ??= cluster.close()
    return closing
  }
  return {
    lost,
    reasons,
    boot: cluster.card().boot,
    asked: () => asked,
    stateOf: (name: string) => cluster.members().find((one) => one.member === name)?.state,
    close,
    [Symbol.asyncDispose]: async () => {
      await close()
      gateway.closeAllConnections()
      gateway.close()
    },
  }
}

describeWithNats('the farewell of a member', () => {
  test('ends it at once where its secret proves it; forged, HTTP is asked and nothing ends', async ({
    expect,
  }) => {
    await using server = await startNatsServer()
    await using tower = await join(server.url, 'tower')
    await using attic = await join(server.url, 'attic')
    await expect.poll(() => tower.stateOf('attic'), patience).toBe('open')
    const nats = await connect({ servers: server.url })
    const { boot } = attic
    const foreign = createMemberProof('x'.repeat(32), { member: 'attic', boot }).proveFarewell()
    const former = createMemberProof(secret, { member: 'attic', boot: 'former' }).proveFarewell()
    for (const forged of [{ boot }, { boot, proof: 7 }, { boot, proof: foreign }, { boot, proof: former }]) {
      const before = attic.asked()
      nats.publish('leasehold.bye.attic', JSON.stringify(forged))
      await expect.poll(attic.asked, patience).toBe(before + 1)
      await expect.poll(() => tower.stateOf('attic'), patience).toBe('open')
    }
    expect(tower.lost).toEqual([])
    await nats.close()
    await attic.close()
    await expect.poll(() => tower.lost, patience).toEqual([{ member: 'attic', boot }])
    expect(tower.reasons).toEqual(['it has left'])
  })
})
