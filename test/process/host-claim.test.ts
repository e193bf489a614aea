import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Clock, systemClock } from '../../src/clock.ts'
import { createHostClaims, type HostClaimsOptions } from '../../src/peers/host-claims.ts'
import {
  MAX_LINE_BYTES,
  type PeerConnection,
  type PeerMessage,
  shakeHands,
} from '../../src/peers/peer-wire.ts'
import { createFileLocks } from '../../src/process/file-lock.ts'
import { createKernelLocks, MAX_GUESTS, toClaimName } from '../../src/process/host-lock.ts'
import { openStateDirectory } from '../../src/process/state-directory.ts'
import { toFixturePath } from './world.ts'

const ADDRESS = 'http://127.0.0.1:1'
/** `CLAIM_ROUNDS=40` by hand takes a while. */
const ROUNDS = Number(process.env.CLAIM_ROUNDS ?? 1)

let folder = ''
const open: { close(): unknown }[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'leasehold-claim-'))
})
afterEach(() => {
  for (const one of open.splice(0)) one.close()
  rmSync(folder, { recursive: true, force: true })
})

/** A supervisor's claims, and the guests that came to them. */
function createAnyHouse(name: string, options: Partial<HostClaimsOptions> = {}) {
  const guests: PeerConnection[] = []
  const heard: PeerMessage[] = []
  const claims = createHostClaims({
    name,
    clock: systemClock,
    stateDirectory: () => openStateDirectory(folder),
    onGuest: (_, guest) => {
      guests.push(guest)
      guest.listen({ message: (message) => heard.push(message), closed: () => heard.push({ closed: true }) })
    },
    ...options,
  })
  const take = async () => {
    const result = await claims.claim(ADDRESS)
    if (result.outcome !== 'claimed') throw new Error('it is held')
    open.push({ close: result.claim.release })
    return result.claim
  }
  return { claims, guests, heard, take }
}

const forms = [
  ['held by the kernel', createKernelLocks],
  ['held by a file', createFileLocks],
] as const

describe.each(forms)('a claim on this host, %s,', (_, toLocks) => {
  const createHouse = (name: string, options: Partial<HostClaimsOptions> = {}) =>
    createAnyHouse(name, { toLocks, ...options })

  test('is held by one supervisor, and free again when it is released (race R8)', async () => {
    const [a, b] = [createHouse('a'), createHouse('b')]
    const mine = await a.take()
    expect(await b.claims.claim(ADDRESS)).toEqual({ outcome: 'held' })
    expect(await b.claims.claim('http://127.0.0.1:2')).toMatchObject({ outcome: 'claimed' })
    mine.release()
    await b.take()
    expect(await a.claims.claim(ADDRESS)).toEqual({ outcome: 'held' })
  })

  test('is had by exactly one of many that ask at once (fault 89)', async () => {
    const houses = Array.from({ length: 20 }, (_, index) => createHouse(String(index)))
    const results = await Promise.all(houses.map(({ claims }) => claims.claim(ADDRESS)))
    const claimed = results.flatMap((result) => (result.outcome === 'claimed' ? [result.claim] : []))
    expect(claimed).toHaveLength(1)
    claimed[0]?.release()
  })

  test('is passed on within a supervisor in the order of asking, before another supervisor learns that it is held', async () => {
    const a = createHouse('a')
    const first = await a.take()
    const second = a.claims.claim(ADDRESS)
    first.release()
    expect(await second).toMatchObject({ outcome: 'claimed' })
  })

  test('is not to be had without a state directory, and can be had once there is one (fault 92)', async () => {
    const file = join(folder, 'file')
    writeFileSync(file, '')
    let path = file
    const house = createHouse('a', { stateDirectory: () => openStateDirectory(path) })
    await expect(house.claims.claim(ADDRESS)).rejects.toMatchObject({ code: 'LEASEHOLD_STATE_UNUSABLE' })
    path = folder
    await house.take()
  })

  test('is another one for another state directory', () => {
    expect(toClaimName('/a', ADDRESS)).not.toBe(toClaimName('/b', ADDRESS))
  })

  test('goes to exactly one of eight contenders when its holder is killed (fault 90, race R9)', {
    timeout: 120_000 * ROUNDS,
  }, async () => {
    const form = toLocks === createFileLocks ? 'file' : 'kernel'
    for (let round = 0; round < ROUNDS; round += 1) {
      const holder = await startClaimants(form, 1)
      expect(await holder.outcomes()).toEqual(['claimed'])
      const rivals = await startClaimants(form, 8)
      expect(await rivals.outcomes()).toEqual(Array(8).fill('held'))
      holder.kill()
      rivals.again()
      expect((await rivals.outcomes()).toSorted()).toEqual(['claimed', ...Array(7).fill('held')])
      rivals.kill()
    }
  })

  test('of a holder that is gone leaves its guests to find it out', async () => {
    const [owner, guest] = [createHouse('owner'), createHouse('guest')]
    const mine = await owner.take()
    const peer = await guest.claims.meet(ADDRESS)
    const closed = new Promise<void>((resolve) => peer.listen({ message: () => {}, closed: resolve }))
    mine.release()
    await closed
    await expect(guest.claims.meet(ADDRESS)).rejects.toMatchObject({ reason: 'closed' })
  })
})

/** Processes that claim the address, and claim it anew when they are told to until one of them has it. */
async function startClaimants(form: string, count: number) {
  const children = Array.from({ length: count }, () => {
    const child = spawn(process.execPath, [toFixturePath('claims'), form, folder, ADDRESS], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    open.push({ close: () => child.kill('SIGKILL') })
    return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() }
  })
  return {
    outcomes: () => Promise.all(children.map(async ({ lines }) => String((await lines.next()).value))),
    again: () => {
      for (const { child } of children) child.stdin.write('again\n')
    },
    kill: () => {
      for (const { child } of children) child.kill('SIGKILL')
    },
  }
}

describe('a guest', () => {
  const createHouse = createAnyHouse
  test('knows who the owner is and is known to it; lines pass both ways; it is sent away with the release', async () => {
    const [owner, guest] = [createHouse('owner'), createHouse('guest')]
    const mine = await owner.take()
    const peer = await guest.claims.meet(ADDRESS)
    expect(peer.peer).toEqual({ name: 'owner', pid: process.pid })
    const answers: PeerMessage[] = []
    const closed = new Promise<void>((resolve) => {
      peer.listen({ message: (message) => answers.push(message), closed: resolve })
    })
    peer.send({ type: 'want', id: 'ä\n' })
    await expect.poll(() => owner.heard).toEqual([{ type: 'want', id: 'ä\n' }])
    expect(owner.guests.map((one) => one.peer)).toEqual([{ name: 'guest', pid: process.pid }])
    owner.guests[0]?.send({ type: 'granted' })
    mine.release()
    await closed
    expect(answers).toEqual([{ type: 'granted' }])
    await expect.poll(() => owner.heard.at(-1)).toEqual({ closed: true })
  })

  // Elsewhere there is no name that another user can reach.
  test.runIf(process.platform === 'linux')(
    'gets in although strangers have taken every place at the name of the claim',
    async () => {
      const [owner, guest] = [createHouse('owner'), createHouse('guest')]
      await owner.take()
      const strangers = Array.from({ length: 150 }, () => connect({ path: toAbstractName() }))
      for (const stranger of strangers) {
        stranger.on('error', () => {})
        open.push({ close: () => stranger.destroy() })
      }
      // Some are held, the others have been sent away.
      await expect.poll(() => strangers.filter(({ closed }) => closed).length).toBe(150 - MAX_GUESTS)
      const { peer } = await guest.claims.meet(ADDRESS)
      expect(peer).toEqual({ name: 'owner', pid: process.pid })
    },
  )

  test.runIf(process.getuid?.() === 0 && existsSync('/usr/bin/setpriv'))(
    'of another user reaches the name only, not the door, and keeps no guest of ours out',
    async () => {
      const [owner, guest] = [createHouse('owner'), createHouse('guest')]
      await owner.take()
      const [door = ''] = readdirSync(join(folder, 'claims')).filter((name) => name.endsWith('.door'))
      const script = `
        const { connect } = require('node:net')
        const [, door, name] = process.argv
        for (let count = 0; count < 150; count += 1) connect({ path: '\\0' + name }).on('error', () => {})
        connect({ path: door }).on('error', ({ code }) => console.log(code))
      `
      const args = ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, '-e', script]
      const stranger = spawn('setpriv', [...args, join(folder, 'claims', door), toAbstractName().slice(1)], {
        cwd: '/',
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      open.push({ close: () => stranger.kill('SIGKILL') })
      const [line] = await once(createInterface({ input: stranger.stdout }), 'line')
      expect(line).toBe('EACCES')
      const { peer } = await guest.claims.meet(ADDRESS)
      expect(peer).toEqual({ name: 'owner', pid: process.pid })
    },
  )

  test.runIf(process.platform === 'linux')('finds the owner although its door is gone', async () => {
    const [owner, guest] = [createHouse('owner'), createHouse('guest')]
    await owner.take()
    rmSync(join(folder, 'claims'), { recursive: true })
    await expect(guest.claims.meet(ADDRESS)).resolves.toMatchObject({ peer: { name: 'owner' } })
  })

  test.runIf(process.platform === 'linux')('leaves no door behind, and a dead one is replaced', async () => {
    const holder = await startClaimants('kernel', 1)
    expect(await holder.outcomes()).toEqual(['claimed'])
    holder.kill()
    expect(readdirSync(join(folder, 'claims'))).toHaveLength(1)
    const [owner, guest] = [createHouse('owner'), createHouse('guest')]
    await expect.poll(async () => (await owner.claims.claim(ADDRESS)).outcome).toBe('claimed')
    await expect(guest.claims.meet(ADDRESS)).resolves.toMatchObject({ peer: { name: 'owner' } })
  })

  test('learns that the claim is free again', async () => {
    await expect(createHouse('a').claims.meet(ADDRESS)).rejects.toMatchObject({ reason: 'closed' })
  })

  test.each([
    ['says nothing sensible', (socket: Socket) => void socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')],
    [
      'greets, but knows no key',
      (socket: Socket) => {
        socket.write(`${JSON.stringify({ leasehold: 1, nonce: 'a'.repeat(64) })}\n`)
        socket.on('data', () =>
          socket.write(`${JSON.stringify({ pid: 1, name: 'x', mac: 'b'.repeat(64) })}\n`),
        )
      },
    ],
  ])('does not trust a squatter that %s (fault 92)', async (_, play) => {
    await squat(play)
    const house = createHouse('a')
    expect(await house.claims.claim(ADDRESS)).toEqual({ outcome: 'held' })
    await expect(house.claims.meet(ADDRESS)).rejects.toMatchObject({ reason: 'unproven' })
  })

  test('does not wait for a squatter that is silent', async () => {
    await squat(() => {})
    const clock: Clock = { ...systemClock, setTimeout: (fn) => void setImmediate(fn) }
    const house = createHouse('a', { clock })
    await expect(house.claims.meet(ADDRESS)).rejects.toMatchObject({ reason: 'timeout' })
  })
})

describe('a handshake', () => {
  const identity = (hostKey: Buffer, claim = 'claim') => ({ hostKey, claim, name: 'a', clock: systemClock })
  const key = randomBytes(32)

  test.each([
    ['another key', identity(randomBytes(32))],
    ['another claim', identity(key, 'other')],
  ])('fails on both sides with %s', async (_, other) => {
    const [owner, guest] = await connectPair()
    const results = await Promise.allSettled([
      shakeHands(owner, 'owner', identity(key)),
      shakeHands(guest, 'guest', other),
    ])
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  })

  test('is not passed by an owner that repeats what the guest proved', async () => {
    const [owner, guest] = await connectPair()
    const meeting = shakeHands(guest, 'guest', identity(key))
    owner.write(`${JSON.stringify({ leasehold: 1, nonce: 'a'.repeat(64) })}\n`)
    owner.on('data', (data) => owner.write(data))
    await expect(meeting).rejects.toMatchObject({ reason: 'unproven' })
  })

  test('is followed by lines of a bounded length only', async () => {
    const [owner, guest] = await connectPair()
    const [proven] = await Promise.all([
      shakeHands(owner, 'owner', identity(key)),
      shakeHands(guest, 'guest', identity(key)),
    ])
    const closed = new Promise<void>((resolve) => proven.listen({ message: () => {}, closed: resolve }))
    guest.on('error', () => {})
    guest.write('x'.repeat(MAX_LINE_BYTES + 1))
    await closed
  })
})

/** A process that has the name of the claim, and plays its part on every connection. */
async function squat(play: (socket: Socket) => void): Promise<void> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    play(socket)
  })
  server.listen({ path: toAbstractName() })
  await once(server, 'listening')
  open.push({ close: () => server.close() })
}

/** The name of the claim, as any user of this host can reach it. */
function toAbstractName(): string {
  return `\0${toClaimName(openStateDirectory(folder).path, ADDRESS)}`
}

async function connectPair(): Promise<[Socket, Socket]> {
  const server: Server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const accepted = once(server, 'connection')
  const guest = connect({ port: typeof address === 'object' ? (address?.port ?? 0) : 0, host: '127.0.0.1' })
  const [owner] = await accepted
  open.push(
    { close: () => server.close() },
    { close: () => owner.destroy() },
    { close: () => guest.destroy() },
  )
  return [owner, guest]
}
