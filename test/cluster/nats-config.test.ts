// @module-tag waits
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { readCredentials } from '../../src/cluster/credentials.ts'
import { loadLibraries } from '../../src/cluster/libraries.ts'
import { makeMemberKeys } from '../../src/cluster/member-keys.ts'
import { toNatsConfig } from '../../src/cluster/nats-config.ts'
import { type NatsFact, openNatsLink, toConnectOptions } from '../../src/cluster/nats-link.ts'
import { createStartClaims } from '../../src/cluster/start-claims.ts'
import type { ClusterConfig } from '../../src/config/cluster.ts'
import { parseConfig } from '../../src/config/load.ts'
import { describeWithNats, startNatsServer } from './nats-server.ts'

const libraries = await loadLibraries()

function toCluster(url: string, member: string, credentialsFile: string): ClusterConfig {
  const cluster = {
    servers: [url],
    secret: 's'.repeat(32),
    address: 'http://127.0.0.1:1',
    member,
    credentialsFile,
  }
  const { leasehold } = parseConfig(JSON.stringify({ leasehold: { cluster } }))
  if (leasehold.cluster === undefined) throw new Error('there is no cluster')
  return leasehold.cluster
}

async function startSecured(members: readonly string[]) {
  const folder = await mkdtemp(join(tmpdir(), 'leasehold-keys-'))
  const keys = await makeMemberKeys(members, folder, libraries)
  const wholeConfig = toNatsConfig(keys, { prefix: 'leasehold' })
    .replace('0.0.0.0:4222', '127.0.0.1:$PORT')
    .replace('/var/lib/nats-leasehold', '$STORE')
  const server = await startNatsServer({ wholeConfig })
  return {
    folder,
    server,
    configOf: (member: string) => toCluster(server.url, member, join(folder, `${member}.nk`)),
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]()
      await rm(folder, { recursive: true })
    },
  }
}

function openLink(config: ClusterConfig) {
  const facts: NatsFact[] = []
  const cards: { readonly member: string; readonly value: unknown }[] = []
  const boot = `${config.member}-boot`
  const link = openNatsLink({
    config,
    boot,
    clock: systemClock,
    libraries,
    receiver: {
      fact: (fact) => facts.push(fact),
      card: (member, value) => cards.push({ member, value }),
      bye: () => {},
      whoAsked: () => {},
      asked: () => '{}',
    },
  })
  const claims = createStartClaims({
    config,
    self: { member: config.member, boot },
    link,
    clock: systemClock,
    libraries,
  })
  return {
    facts,
    cards,
    link,
    claims,
    last: () => facts.at(-1)?.type,
    [Symbol.asyncDispose]: () => link.close(),
  }
}

describeWithNats('the printed configuration of nats-server', () => {
  test('lets members do all that they need, and nothing is refused', async ({ expect }) => {
    await using secured = await startSecured(['tower', 'attic'])
    await using tower = openLink(secured.configOf('tower'))
    await using attic = openLink(secured.configOf('attic'))
    await expect.poll(() => [tower.last(), attic.last()]).toEqual(['nats.connected', 'nats.connected'])
    await expect.poll(() => tower.claims.look('llama')).toEqual({ outcome: 'free' })
    const won = await tower.claims.take('llama')
    if (won.outcome !== 'won') throw new Error(JSON.stringify(won))
    expect(await attic.claims.take('llama')).toMatchObject({ outcome: 'held', holder: { member: 'tower' } })
    const renewed = await tower.claims.renew('llama', won.revision)
    if (renewed.outcome !== 'won') throw new Error(JSON.stringify(renewed))
    await tower.claims.release('llama', renewed.revision)
    expect(await attic.claims.take('llama')).toMatchObject({ outcome: 'won' })
    expect(await tower.link.prove('attic', 'attic-boot', 1000)).toMatchObject({ outcome: 'alive' })
    expect(await tower.link.prove('attic', 'earlier', 1000)).toEqual({ outcome: 'no-responders' })
    tower.link.askWho()
    tower.link.publishCard('{"v":1}')
    await expect.poll(() => attic.cards).toEqual([{ member: 'tower', value: { v: 1 } }])
    expect([...tower.facts, ...attic.facts].filter(({ type }) => type === 'nats.refused')).toEqual([])
  })

  test('refuses a card in the name of another member, and the answers to another member', async ({
    expect,
  }) => {
    await using secured = await startSecured(['tower', 'attic', 'cellar'])
    await using cellar = openLink(secured.configOf('cellar'))
    await expect.poll(cellar.last).toBe('nats.connected')
    const config = secured.configOf('attic')
    const attic = await libraries.transport.connect({
      ...toConnectOptions(config),
      ...(await readCredentials(config, libraries)),
    })
    const refused: string[] = []
    const listen = async () => {
      for await (const status of attic.status())
        if (status.type === 'error') refused.push(status.error.message)
    }
    void listen()
    attic.publish('leasehold.card.tower', '{"v":1,"member":"tower"}')
    attic.publish('leasehold.bye.tower', '{"boot":"x"}')
    attic.publish('$JS.API.STREAM.DELETE.KV_leasehold-starts', '')
    attic.subscribe('_INBOX.tower.>', { callback: () => {} })
    attic.subscribe('leasehold.m.tower.*', { callback: () => {} })
    attic.subscribe('$KV.leasehold-starts.>', { callback: () => {} })
    await attic.flush()
    attic.publish('leasehold.card.attic', '{"v":1,"member":"attic"}')
    await expect.poll(() => cellar.cards).toEqual([{ member: 'attic', value: { v: 1, member: 'attic' } }])
    await expect.poll(() => refused.length).toBe(6)
    await attic.close()
  })

  test('keeps the keys that are there, readable for their user alone', async ({ expect }) => {
    const folder = await mkdtemp(join(tmpdir(), 'leasehold-keys-'))
    const [first] = await makeMemberKeys(['tower'], folder, libraries)
    const [again, added] = await makeMemberKeys(['tower', 'attic'], folder, libraries)
    expect(again).toEqual({ ...first, isOld: true })
    expect(added).toMatchObject({ member: 'attic', isOld: false })
    expect((await stat(join(folder, 'tower.nk'))).mode & 0o777).toBe(0o600)
    expect(await readFile(join(folder, 'tower.nk'), 'utf8')).toMatch(/^SU[A-Z2-7]{56}\n$/)
    await rm(folder, { recursive: true })
  })
})
