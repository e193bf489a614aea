// @module-tag proof
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'vitest'
import { loadLibraries } from '../../src/cluster/libraries.ts'
import { makeMemberKeys } from '../../src/cluster/member-keys.ts'
import { toNatsConfig } from '../../src/cluster/nats-config.ts'
import { createAuthority, hasOpenssl } from './authority.ts'
import { type Box, type BoxOptions, createBoxes } from './boxes.ts'
import { describeWithNats, startNatsServer } from './nats-server.ts'
import { createOperator } from './operator.ts'

const libraries = await loadLibraries()

async function openFolder(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'leasehold-security-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) }
}

/** Starts two machines. `attic` has the model, `tower` asks for it. */
async function startTwo(boxes: Awaited<ReturnType<typeof createBoxes>>, toCluster: (name: string) => object) {
  const add = (name: string, more: BoxOptions) => boxes.add(name, { ...more, cluster: toCluster(name) })
  const tower = await add('tower', { providers: ['other'] })
  const attic = await add('attic', {})
  await Promise.all(boxes.all.map((box) => box.start()))
  await boxes.untilJoined()
  return [tower, attic] as const
}

async function ask(box: Box): Promise<readonly [number, string | null]> {
  const answer = await box.ask()
  await answer.text()
  return [answer.status, answer.headers.get('x-leasehold-model')]
}

const servedByAttic = [200, 'attic:llama/m']
const refusals = ({ log }: Box) => log.match(/cannot be joined: .*/g) ?? []

describeWithNats('the connection of members to NATS', () => {
  test.skipIf(!hasOpenssl)(
    `is over TLS with an authority of their own, which may change${hasOpenssl ? '' : ' (skipped: no openssl)'} (row 15)`,
    async ({ expect }) => {
      await using folder = await openFolder()
      const old = createAuthority(folder.path, 'old')
      const { certFile, keyFile } = old.issue('IP:127.0.0.1')
      const nats = await startNatsServer({
        config: `tls { cert_file: "${certFile}", key_file: "${keyFile}" }`,
      })
      await using boxes = await createBoxes([], {}, nats)
      const caFile = join(folder.path, 'members-ca.pem')
      await copyFile(old.caFile, caFile)
      const servers = [`tls://127.0.0.1:${nats.port}`]
      const [tower, attic] = await startTwo(boxes, () => ({ servers, caFile }))
      expect(await ask(tower)).toEqual(servedByAttic)
      const check = await tower.run('cluster', 'check')
      expect(check.stdout.split('\n').filter((line) => !line.startsWith('ok'))).toEqual([''])
      await nats.kill()
      const other = createAuthority(folder.path, 'other')
      other.issue('IP:127.0.0.1')
      await nats.start()
      const sentence =
        /cannot be joined: the certificate of the NATS server is not from the authority in \S+members-ca\.pem/
      await Promise.all(boxes.all.map((box) => box.until(sentence)))
      expect((await tower.run('cluster', 'check')).stdout).toMatch(/^error .*is not from the authority in/m)
      expect(await ask(tower)).toEqual(servedByAttic)
      await copyFile(other.caFile, caFile)
      await Promise.all(boxes.all.map((box) => box.until(/cannot be joined[\s\S]*connected to NATS/)))
      // Each attempt would say it again.
      expect(boxes.all.map((box) => refusals(box).length)).toEqual([1, 1])
      expect([tower.log, attic.log].join()).not.toMatch(/is lost/)
    },
  )

  test('is with credentials of an operator, which are revoked and replaced while they are connected (row 15)', async ({
    expect,
  }) => {
    await using folder = await openFolder()
    const operator = createOperator()
    const nats = await startNatsServer({ config: operator.config() })
    await using boxes = await createBoxes([], {}, nats)
    const fileOf = (name: string) => join(folder.path, `${name}.creds`)
    const renew = (name: string) => writeFile(fileOf(name), operator.creds(name), { mode: 0o600 })
    await Promise.all(['tower', 'attic'].map(renew))
    const [tower, attic] = await startTwo(boxes, (name) => ({ credentialsFile: fileOf(name) }))
    expect(await ask(tower)).toEqual(servedByAttic)
    operator.revoke()
    await nats.reload(operator.config())
    for (const box of boxes.all)
      await box.until(new RegExp(`cannot be joined: NATS refuses the credentials in \\S+${box.name}\\.creds`))
    expect(await ask(tower)).toEqual(servedByAttic)
    await renew('attic')
    await attic.until(/cannot be joined[\s\S]*connected to NATS/)
    await renew('tower')
    await tower.until(/cannot be joined[\s\S]*connected to NATS/)
    expect(await ask(tower)).toEqual(servedByAttic)
    expect([tower.log, attic.log].join()).not.toMatch(/is lost/)
  })

  test('is refused while a user is taken away or may no longer speak, and is back when that is mended (row 15)', async ({
    expect,
  }) => {
    await using folder = await openFolder()
    const keys = await makeMemberKeys(['tower', 'attic'], folder.path, libraries)
    const toConfig = (users: typeof keys) =>
      toNatsConfig(users, { prefix: 'leasehold' })
        .replace('0.0.0.0:4222', '127.0.0.1:$PORT')
        .replace('/var/lib/nats-leasehold', '$STORE')
    const nats = await startNatsServer({ wholeConfig: toConfig(keys) })
    await using boxes = await createBoxes([], {}, nats)
    const [tower, attic] = await startTwo(boxes, (name) => ({
      credentialsFile: join(folder.path, `${name}.nk`),
    }))
    expect(await ask(tower)).toEqual(servedByAttic)

    await nats.reload(toConfig(keys.filter(({ member }) => member === 'tower')))
    await attic.until(
      /cannot be joined: NATS refuses the credentials in \S+attic\.nk \(.*authorization violation/i,
    )
    await tower.until(/member attic is muted/)
    expect(await ask(tower)).toEqual(servedByAttic)
    await nats.reload(toConfig(keys))
    await attic.until(/cannot be joined[\s\S]*connected to NATS/)
    await tower.until(/member attic is muted[\s\S]*member attic is open/)

    await nats.reload(toConfig(keys).replace('"leasehold.card.attic", ', ''))
    await attic.until(/cannot be joined: NATS forbids this member to publish to "leasehold\.card\.attic"/)
    await tower.until(/is open[\s\S]*member attic is muted/)
    expect(await ask(tower)).toEqual(servedByAttic)
    await nats.reload(toConfig(keys))
    await tower.until(/is open[\s\S]*is muted[\s\S]*member attic is open/)
    expect(refusals(attic)).toHaveLength(2)
    expect([tower.log, attic.log].join()).not.toMatch(/is lost/)
  })
})

describeWithNats('the connections between members with https addresses', () => {
  test('are over TLS by the secret alone, and a member with another one is told apart', async ({
    expect,
  }) => {
    const nats = await startNatsServer()
    await using boxes = await createBoxes([], {}, nats)
    const add = (name: string, more: BoxOptions) => boxes.add(name, { ...more, isSecure: true })
    const tower = await add('tower', { providers: ['other'] })
    const attic = await add('attic', {})
    await Promise.all(boxes.all.map((box) => box.start()))
    await boxes.untilJoined()
    expect(await ask(tower)).toEqual(servedByAttic)
    const stream = await tower.ask({ stream: true, text: 'count to 50' })
    expect(await stream.text()).toMatch(/\[DONE\]\s*$/)
    // Programs of this machine, and a browser, come without TLS as before.
    expect(await (await fetch(`${attic.url}/health`)).json()).toMatchObject({ name: 'leasehold' })
    const check = await tower.run('cluster', 'check')
    expect(check.stdout).toContain(
      `https://127.0.0.1:${new URL(attic.url).port} answers and has the same secret`,
    )
    expect(check.stdout.split('\n').filter((line) => !line.startsWith('ok'))).toEqual([''])
    const cellar = await add('cellar', { cluster: { secret: 'another secret, which no other member has' } })
    await cellar.start()
    const odd = await tower.run('cluster', 'check')
    expect(odd.code).toBe(1)
    expect(odd.stdout).toMatch(
      /^error +member cellar: .*is reached, but its TLS proves neither leasehold\.cluster\.secret nor a certificate that is trusted here.*give all members the same leasehold\.cluster\.secret/m,
    )
    expect(await ask(tower)).toEqual(servedByAttic)
    await attic.end('SIGKILL')
    await tower.until(/member attic .*is lost/)
  })
})
