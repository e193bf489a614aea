import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, vi } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { loadLibraries } from '../../src/cluster/libraries.ts'
import { type NatsFact, openNatsLink } from '../../src/cluster/nats-link.ts'
import { createStartClaims } from '../../src/cluster/start-claims.ts'
import { parseConfig } from '../../src/config/load.ts'
import { createAuthority, hasOpenssl } from './authority.ts'
import { describeWithNats, startNatsServer } from './nats-server.ts'
import { createOperator } from './operator.ts'

const libraries = await loadLibraries()

interface Heard {
  readonly facts: NatsFact[]
  readonly cards: { readonly member: string; readonly value: unknown }[]
  readonly byes: { readonly member: string; readonly boot: string; readonly proof: unknown }[]
  asked: number
}

function toCluster(url: string, more: object = {}) {
  const cluster = { servers: [url], secret: 's'.repeat(32), address: 'http://127.0.0.1:1', ...more }
  const { leasehold } = parseConfig(JSON.stringify({ leasehold: { cluster } }))
  if (leasehold.cluster === undefined) throw new Error('there is no cluster')
  return leasehold.cluster
}

function openLink(url: string, member: string, more: object = {}) {
  const heard: Heard = { facts: [], cards: [], byes: [], asked: 0 }
  const boot = `${member}-boot`
  const config = toCluster(url, { member, ...more })
  const link = openNatsLink({
    config,
    boot,
    clock: systemClock,
    libraries,
    receiver: {
      fact: (fact) => {
        heard.facts.push(fact)
        if (fact.type === 'nats.connected') claims.reset()
      },
      card: (of, value) => heard.cards.push({ member: of, value }),
      bye: (of, gone, proof) => heard.byes.push({ member: of, boot: gone, proof }),
      asked: (question) => JSON.stringify({ question }),
      whoAsked: () => {
        heard.asked += 1
      },
    },
  })
  const claims = createStartClaims({
    config,
    self: { member, boot },
    link,
    clock: systemClock,
    libraries,
  })
  const last = () => heard.facts.at(-1)?.type
  return { heard, link, claims, last, [Symbol.asyncDispose]: () => link.close() }
}

const patience = { timeout: 15_000 }

/** What the last fault was, in words. */
const lastMessage = ({ heard }: ReturnType<typeof openLink>) =>
  heard.facts.flatMap((fact) => ('message' in fact ? fact.message : [])).at(-1)

async function openFolder(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'leasehold-link-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) }
}

describeWithNats('the connection to NATS', () => {
  test('brings cards, farewells and questions, and proves a run alive or gone', async ({ expect }) => {
    await using server = await startNatsServer()
    await using a = openLink(server.url, 'a')
    const b = openLink(server.url, 'b')
    await expect.poll(() => [a.last(), b.last()]).toEqual(['nats.connected', 'nats.connected'])
    await expect
      .poll(() => a.link.prove('b', 'b-boot', 400, 'llama'))
      .toEqual({ outcome: 'alive', value: { question: 'llama' } })
    b.link.publishCard('{"v":1}')
    b.link.askWho()
    await expect.poll(() => a.heard.cards).toEqual([{ member: 'b', value: { v: 1 } }])
    await expect.poll(() => [a.heard.asked, b.heard.asked]).toEqual([1, 1])
    expect(await a.link.prove('b', 'earlier-boot', 400)).toEqual({ outcome: 'no-responders' })
    b.link.publishBye('proof')
    await b.link.close()
    await expect.poll(() => a.heard.byes).toEqual([{ member: 'b', boot: 'b-boot', proof: 'proof' }])
    expect(await a.link.prove('b', 'b-boot', 400)).toEqual({ outcome: 'no-responders' })
  })

  test('comes back by itself after the server was away, and asks nothing meanwhile', async ({ expect }) => {
    await using server = await startNatsServer()
    await using a = openLink(server.url, 'a')
    await expect.poll(a.last).toBe('nats.connected')
    await server.kill()
    await expect.poll(a.last).not.toBe('nats.connected')
    expect(await a.link.prove('b', 'b-boot', 10_000)).toEqual({ outcome: 'unknown' })
    expect(await a.claims.take('llama')).toMatchObject({ outcome: 'unavailable' })
    await server.start()
    await expect.poll(a.last).toBe('nats.connected')
    a.link.publishCard('{}')
    await expect.poll(() => a.heard.cards.length).toBe(1)
  })

  test('is opened as soon as the server is there', async ({ expect }) => {
    await using server = await startNatsServer()
    await server.kill()
    await using a = openLink(server.url, 'a')
    await expect.poll(a.last).toBe('nats.unreachable')
    await server.start()
    await expect.poll(a.last).toBe('nats.connected')
  })

  test('keeps nothing of its attempts while no server is there', async ({ expect }) => {
    const target = vi.spyOn(EventTarget.prototype, 'addEventListener')
    const gone = vi.spyOn(EventTarget.prototype, 'removeEventListener')
    let attempts = 0
    const connect = () => {
      attempts += 1
      return Promise.reject(new Error('no server'))
    }
    const link = openNatsLink({
      config: toCluster('nats://127.0.0.1:1'),
      boot: 'b',
      clock: { ...systemClock, setTimeout: (work) => systemClock.setTimeout(work, 0) },
      libraries: { ...libraries, transport: { ...libraries.transport, connect } as never },
      receiver: { fact: () => {}, card: () => {}, bye: () => {}, asked: () => '', whoAsked: () => {} },
    })
    await expect.poll(() => attempts).toBeGreaterThan(30)
    const count = ({ mock }: typeof target | typeof gone) =>
      mock.calls.filter(([type]) => type === 'abort').length
    expect(count(target) - count(gone)).toBeLessThan(attempts / 2)
    await link.close()
    vi.restoreAllMocks()
  })

  test('says which file cannot be used, and joins when it is mended (row 15)', async ({ expect }) => {
    const { nkeys } = libraries.transport
    const seed = nkeys.createUser()
    const user = `authorization { users: [{ nkey: "${seed.getPublicKey()}" }] }`
    await using server = await startNatsServer({ config: user })
    const folder = await mkdtemp(join(tmpdir(), 'leasehold-nk-'))
    const credentialsFile = join(folder, 'a.nk')
    await using a = openLink(server.url, 'a', { credentialsFile })
    const message = () => lastMessage(a)
    await expect.poll(message).toContain('a.nk cannot be read (ENOENT)')
    await writeFile(credentialsFile, 'nothing', { mode: 0o644 })
    await expect.poll(message).toContain('can be read by other users (mode 0644)')
    await chmod(credentialsFile, 0o600)
    await expect.poll(message).toContain('holds neither the seed of an nkey')
    await writeFile(credentialsFile, new TextDecoder().decode(nkeys.createUser().getSeed()))
    await expect.poll(message).toMatch(/authorization violation/i)
    await writeFile(credentialsFile, new TextDecoder().decode(seed.getSeed()))
    await expect.poll(a.last).toBe('nats.connected')
    await rm(folder, { recursive: true })
  })

  test('takes new credentials when those of the connection expire', async ({ expect }) => {
    const operator = createOperator()
    await using server = await startNatsServer({ config: operator.config() })
    await using folder = await openFolder()
    const credentialsFile = join(folder.path, 'a.creds')
    const write = (expiresAtMs: number) =>
      writeFile(credentialsFile, operator.creds('a', { expiresAtMs }), { mode: 0o600 })
    await write(Date.now() + 4000)
    await using a = openLink(server.url, 'a', { credentialsFile })
    await expect.poll(a.last, patience).toBe('nats.connected')
    await expect.poll(() => lastMessage(a), patience).toMatch(/refuses the credentials in \S+a\.creds/)
    await write(Date.now() + 60_000)
    await expect.poll(a.last, patience).toBe('nats.connected')
  })

  test('hears again what it was forbidden to hear for a while', async ({ expect }) => {
    const { nkeys } = libraries.transport
    const seed = nkeys.createUser()
    const toConfig = (denied: string) =>
      `authorization { users: [{ nkey: "${seed.getPublicKey()}", permissions: { publish: ">", subscribe: { allow: ">", deny: [${denied}] } } }] }`
    await using server = await startNatsServer({ config: toConfig('"x"') })
    await using folder = await openFolder()
    const credentialsFile = join(folder.path, 'a.nk')
    await writeFile(credentialsFile, seed.getSeed(), { mode: 0o600 })
    await using a = openLink(server.url, 'a', { credentialsFile })
    await expect.poll(a.last, patience).toBe('nats.connected')
    await server.reload(toConfig('"leasehold.card.*"'))
    await expect
      .poll(() => lastMessage(a), patience)
      .toContain('forbids this member to subscribe to "leasehold.card.*"')
    await server.reload(toConfig('"x"'))
    await expect
      .poll(() => {
        a.link.publishCard('{}')
        return a.heard.cards.length
      }, patience)
      .toBeGreaterThan(0)
    expect(a.heard.facts.filter(({ type }) => type === 'nats.connected')).toHaveLength(1)
  })

  test('closes without an error while it may not hear something', async ({ expect, onTestFinished }) => {
    const unhandled: unknown[] = []
    const note = (error: unknown) => unhandled.push(error)
    process.on('unhandledRejection', note)
    onTestFinished(() => void process.off('unhandledRejection', note))
    const { nkeys } = libraries.transport
    const seed = nkeys.createUser()
    const user = `{ nkey: "${seed.getPublicKey()}", permissions: { publish: ">", subscribe: { allow: ">", deny: ["leasehold.who"] } } }`
    await using server = await startNatsServer({ config: `authorization { users: [${user}] }` })
    await using folder = await openFolder()
    const credentialsFile = join(folder.path, 'a.nk')
    await writeFile(credentialsFile, seed.getSeed(), { mode: 0o600 })
    await using a = openLink(server.url, 'a', { credentialsFile })
    await expect.poll(() => lastMessage(a), patience).toContain('forbids this member to subscribe')
    await a.link.close()
    await new Promise(setImmediate)
    expect(unhandled).toEqual([])
  })

  test('says that a card is longer than the server takes', async ({ expect }) => {
    await using server = await startNatsServer({ config: 'max_payload: 4096' })
    await using a = openLink(server.url, 'a')
    await expect.poll(a.last, patience).toBe('nats.connected')
    a.link.publishCard(JSON.stringify('x'.repeat(5000)))
    expect([a.last(), lastMessage(a)]).toEqual([
      'nats.refused',
      expect.stringContaining('raise max_payload in its configuration'),
    ])
    a.link.publishCard('{}')
    await expect.poll(() => a.heard.cards, patience).toEqual([{ member: 'a', value: {} }])
  })
})

describeWithNats('TLS to NATS', () => {
  interface TlsCase {
    /** Names of the certificate. @default IP:127.0.0.1 */
    readonly hosts?: string
    readonly days?: number
    /** Lines in the tls block of the server. */
    readonly block?: string
    readonly isPlain?: boolean
    readonly caText?: string
    /** Whether the members have no caFile. */
    readonly withoutCa?: boolean
    readonly scheme?: string
    readonly says: RegExp
  }
  const cases: readonly (readonly [string, TlsCase])[] = [
    [
      'an authority that is not known',
      {
        withoutCa: true,
        says: /not from an authority that Node.js trusts \(\w+\): set leasehold\.cluster\.caFile/,
      },
    ],
    [
      'the same, and an address without TLS',
      { withoutCa: true, scheme: 'nats', says: /set leasehold\.cluster\.caFile/ },
    ],
    [
      'a certificate for another host',
      {
        hosts: 'DNS:localhost,IP:10.0.0.9',
        says: /is for DNS:localhost, IP Address:10\.0\.0\.9, not for tls:\/\/127\.0\.0\.1/,
      },
    ],
    ['a certificate that has expired', { days: 0, says: /has expired \(CERT_HAS_EXPIRED\): renew it/ }],
    [
      'a server without TLS',
      { isPlain: true, says: /the NATS server has no TLS.*give the server a tls block, or use nats:/ },
    ],
    [
      'a file that is no certificate',
      { caText: 'tls', says: /ca\.txt holds no certificate in PEM: leasehold\.cluster\.caFile/ },
    ],
    [
      'a server that wants a certificate',
      { block: 'ca_file: "$CA", verify: true', says: /wants a certificate of this member/ },
    ],
  ]
  test.skipIf(!hasOpenssl).for(cases)('with %s says what to do', async ([, tls], { expect }) => {
    await using folder = await openFolder()
    const authority = createAuthority(folder.path)
    const { certFile, keyFile } = authority.issue(tls.hosts ?? 'IP:127.0.0.1', tls.days)
    const block = (tls.block ?? '').replace('$CA', authority.caFile)
    await using server = await startNatsServer({
      config: tls.isPlain ? '' : `tls { cert_file: "${certFile}", key_file: "${keyFile}", ${block} }`,
    })
    const caFile = tls.caText === undefined ? authority.caFile : join(folder.path, 'ca.txt')
    if (tls.caText !== undefined) await writeFile(caFile, tls.caText)
    const url = `${tls.scheme ?? 'tls'}://127.0.0.1:${server.port}`
    await using a = openLink(url, 'a', tls.withoutCa ? {} : { caFile })
    await expect.poll(a.last, patience).toBe('nats.refused')
    expect(lastMessage(a)).toMatch(tls.says)
  })
})

describeWithNats('the claim on a cold start', () => {
  test('is won by one of many, names its holder, and is free again after its release', async ({ expect }) => {
    await using server = await startNatsServer()
    await using a = openLink(server.url, 'a')
    await using b = openLink(server.url, 'b')
    await expect.poll(() => [a.last(), b.last()]).toEqual(['nats.connected', 'nats.connected'])
    // The bucket is being made.
    await expect.poll(() => a.claims.look('llama#2')).toEqual({ outcome: 'free' })
    const all = await Promise.all([a, b].map(({ claims }) => claims.take('llama#2')))
    expect(all.map(({ outcome }) => outcome).sort()).toEqual(['held', 'won'])
    const first = all.find(({ outcome }) => outcome === 'won')
    if (first?.outcome !== 'won') throw new Error('no member won')
    const winner = first === all[0] ? a : b
    const loser = winner === a ? b : a
    expect(await loser.claims.take('LLAMA#2')).toMatchObject({ outcome: 'held', revision: first.revision })
    const renewed = await winner.claims.renew('llama#2', first.revision)
    if (renewed.outcome !== 'won') throw new Error('it was not renewed')
    // The release of an old revision changes nothing.
    await winner.claims.release('llama#2', first.revision)
    expect(await loser.claims.look('llama#2')).toMatchObject({ outcome: 'held' })
    await winner.claims.release('llama#2', renewed.revision)
    expect(await loser.claims.look('llama#2')).toMatchObject({ outcome: 'free' })
    expect(await loser.claims.take('llama#2')).toMatchObject({ outcome: 'won' })
  })

  test('of a holder that is gone is taken over by one of several', async ({ expect }) => {
    await using server = await startNatsServer()
    await using a = openLink(server.url, 'a')
    await using b = openLink(server.url, 'b')
    await using c = openLink(server.url, 'c')
    await expect
      .poll(() => [a.last(), b.last(), c.last()].join())
      .toBe(Array(3).fill('nats.connected').join())
    const dead = await a.claims.take('llama')
    if (dead.outcome !== 'won') throw new Error(`it was not won: ${JSON.stringify(dead)}`)
    const taken = await Promise.all([b, c].map(({ claims }) => claims.replace('llama', dead.revision)))
    expect(taken.map(({ outcome }) => outcome).sort()).toEqual(['held', 'won'])
    expect(await a.claims.renew('llama', dead.revision)).toMatchObject({ outcome: 'held' })
  })

  test('works again after the servers lost the bucket', async ({ expect }) => {
    await using server = await startNatsServer()
    await using a = openLink(server.url, 'a')
    await expect.poll(a.last).toBe('nats.connected')
    expect(await a.claims.take('llama')).toMatchObject({ outcome: 'won' })
    await server.kill({ keepsStore: false })
    await expect.poll(a.last).not.toBe('nats.connected')
    await server.start()
    await expect.poll(a.last).toBe('nats.connected')
    await expect.poll(() => a.claims.take('llama')).toMatchObject({ outcome: 'won' })
  })

  test('cannot be had within the time when the server stands still, and is given back when it comes late', async ({
    expect,
  }) => {
    await using server = await startNatsServer()
    await using a = openLink(server.url, 'a', { claimTimeoutMs: 200 })
    await using b = openLink(server.url, 'b')
    await expect.poll(() => [a.last(), b.last()]).toEqual(['nats.connected', 'nats.connected'])
    expect(await a.claims.take('other')).toMatchObject({ outcome: 'won' })
    await server.stop()
    expect(await a.claims.take('llama')).toMatchObject({ outcome: 'unavailable' })
    server.signal('SIGCONT')
    // The server may still have the late attempt before it.
    await expect.poll(() => b.claims.take('llama')).toMatchObject({ outcome: 'won' })
  })
})
