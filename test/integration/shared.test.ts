import { describe, expect, onTestFinished, test } from 'vitest'
import { createSupervisor, type Supervisor } from '../../src/index.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { type Hearing, isRunning, type LibraryOptions, listen, toText, writeAndLoad } from './library.ts'

/** Supervisors with one configuration and one state directory: as if each were a process of its own. */
async function createHouses(names: readonly string[], options: LibraryOptions = {}) {
  const config = await writeAndLoad(toText(await findFreePort(), options))
  return names.map((name) => {
    const supervisor = createSupervisor({ config, name })
    onTestFinished(() => supervisor.close({ force: true }))
    return { supervisor, ...listen(supervisor) }
  })
}
type House = { readonly supervisor: Supervisor } & Hearing

const service = ({ supervisor }: House) => supervisor.snapshot().services[0]
const spawns = (houses: readonly House[]) => houses.flatMap((house) => house.all('process.spawned'))

describe('two supervisors of one user', () => {
  test('that start together spawn once; each says who owns what (fault 89, promise P15, race R8)', async () => {
    const houses = await createHouses(['one', 'two'])
    const leases = await Promise.all(houses.map(({ supervisor }) => supervisor.acquire('demo/demo')))
    expect(leases.map(({ owned }) => owned).toSorted()).toEqual([false, true])
    expect(spawns(houses)).toHaveLength(1)
    const [owner, guest] = leases[0]?.owned ? houses : houses.toReversed()
    const self = { pid: process.pid, name: expect.stringMatching(/^(one|two)$/) }
    expect(owner && service(owner)).toMatchObject({
      ownership: 'owned',
      holder: null,
      leases: 2,
      guests: [{ ...self, leases: 1, waiting: 0 }],
    })
    expect(guest && service(guest)).toMatchObject({
      ownership: 'borrowed',
      holder: self,
      leases: 1,
      pid: null,
    })
    for (const lease of leases) lease.release()
  })

  test('share the idle clock: it begins when the last guest is done, and ends the server (fault 91, race R10)', async () => {
    const [owner, guest] = (await createHouses(['owner', 'guest'], { service: { idleStopMs: 50 } })) as [
      House,
      House,
    ]
    const own = await owner.supervisor.acquire('demo/demo')
    const borrowed = await guest.supervisor.acquire('demo/demo')
    own.release()
    await owner.until('lease.released')
    expect(service(owner)).toMatchObject({ state: 'leased.open', leases: 1 })
    borrowed.release()
    await guest.until('service.state', ({ to }) => to === 'down.cold')
    await owner.until('process.settled')
    const [left, stopped] = ['guest.left', 'process.signalled'].map((type) =>
      owner.events.findIndex((event) => event.type === type),
    )
    expect(left).toBeLessThan(stopped ?? 0)
    expect(owner.all('leases.revoked')).toEqual([])
  })

  test('keep the server for as long as a request of the guest asks', async () => {
    const [owner, guest] = (await createHouses(['owner', 'guest'], { service: { idleStopMs: 600_000 } })) as [
      House,
      House,
    ]
    await owner.supervisor.start('demo')
    const borrowed = await guest.supervisor.acquire('demo/demo', { keepAliveMs: 0 })
    expect(service(owner)).toMatchObject({ state: 'leased.open', keepAliveMs: 0 })
    borrowed.release()
    await owner.until('process.settled')
    expect(service(owner)?.whyText).toContain('keep_alive: 0')
  })

  test('queue with the owner, by priority, and within its limit', async () => {
    const [owner, guest] = (await createHouses(['owner', 'guest'], { service: { maxConcurrent: 1 } })) as [
      House,
      House,
    ]
    const first = await owner.supervisor.acquire('demo/demo')
    const order: string[] = []
    const ask = async (house: House, name: string, priority: number) => {
      const lease = await house.supervisor.acquire('demo/demo', { priority })
      order.push(name)
      lease.release()
    }
    const borrowing = ask(guest, 'guest', 5)
    await owner.until('lease.requested', ({ id }) => id.startsWith('guest-'))
    expect(service(owner)).toMatchObject({ leases: 1, guests: [{ leases: 0, waiting: 1 }] })
    const owning = ask(owner, 'owner', 0)
    first.release()
    await Promise.all([borrowing, owning])
    expect(order).toEqual(['guest', 'owner'])
  })

  test('tell the guest why the owner’s start failed: code and last output', async () => {
    const [owner, guest] = (await createHouses(['owner', 'guest'], {
      flags: ['--load-ms', '300', '--fail-load', 'exit'],
    })) as [House, House]
    const failing = owner.supervisor.acquire('demo/demo')
    const refused = expect(failing).rejects.toMatchObject({ code: 'LEASEHOLD_EXITED_BEFORE_READY' })
    await owner.until('process.spawned')
    await expect(guest.supervisor.acquire('demo/demo')).rejects.toMatchObject({
      code: 'LEASEHOLD_EXITED_BEFORE_READY',
      failure: {
        exitCode: expect.any(Number),
        tail: expect.arrayContaining([expect.stringMatching(/load/)]),
      },
    })
    await refused
    expect(guest.all('process.spawned')).toEqual([])
  })

  test('a stop at the guest lets go and leaves the owner’s server alone', async () => {
    const [owner, guest] = (await createHouses(['owner', 'guest'])) as [House, House]
    await using own = await owner.supervisor.acquire('demo/demo')
    const borrowed = await guest.supervisor.acquire('demo/demo')
    expect(await guest.supervisor.stop('demo', { force: true })).toMatchObject({ state: 'down.cold' })
    expect(borrowed.signal.reason).toMatchObject({ code: 'LEASEHOLD_STOPPED' })
    await owner.until('guest.left')
    expect(own.signal.aborted).toBe(false)
    expect(service(owner)).toMatchObject({ leases: 1, guests: [] })
    expect(owner.all('process.signalled')).toEqual([])
  })

  test('when the owner closes, it waits for the guest’s lease; who waits at the guest starts anew', async () => {
    const [owner, guest] = (await createHouses(['owner', 'guest'], { service: { maxConcurrent: 1 } })) as [
      House,
      House,
    ]
    await owner.supervisor.start('demo')
    const borrowed = await guest.supervisor.acquire('demo/demo')
    const waiting = guest.supervisor.acquire('demo/demo')
    await owner.until('guest.joined')
    const closing = owner.supervisor.close()
    await owner.until('service.state', ({ to }) => to === 'leased.draining')
    expect(borrowed.signal.aborted).toBe(false)
    borrowed.release()
    await closing
    await using lease = await waiting
    expect(lease.owned).toBe(true)
    expect(guest.all('leases.revoked')).toEqual([])
  })

  test('a guest is refused while the owner runs another service at the address, and told who does', async () => {
    const port = await findFreePort()
    const [one, two] = await Promise.all(
      ['2', '3'].map(async (ms) => {
        const config = await writeAndLoad(toText(port, { flags: ['--token-delay-ms', ms] }))
        const supervisor = createSupervisor({ config, name: 'serve' })
        onTestFinished(() => supervisor.close({ force: true }))
        return supervisor
      }),
    )
    await using lease = await one?.acquire('demo/demo')
    expect(lease?.owned).toBe(true)
    await expect(two?.acquire('demo/demo')).rejects.toMatchObject({
      code: 'LEASEHOLD_CLAIM_FAILED',
      message: expect.stringContaining(`leasehold serve (process ${process.pid})`),
    })
  })

  test('both use a server that neither runs, and neither lends it', async () => {
    const [third, one, two] = (await createHouses(['third', 'one', 'two'])) as [House, House, House]
    await third.supervisor.start('demo')
    const { pid } = await third.until('process.spawned')
    expect(isRunning(pid)).toBe(true)
    // The third is of another state directory, and so a stranger.
    const config = one.supervisor.config
    const strangers = ['a', 'b'].map((name) => {
      const supervisor = createSupervisor({ config, name, stateDir: `${process.env.LEASEHOLD_STATE_DIR}-2` })
      onTestFinished(() => supervisor.close({ force: true }))
      return supervisor
    })
    const leases = await Promise.all(strangers.map((supervisor) => supervisor.acquire('demo/demo')))
    expect(leases.map(({ owned }) => owned)).toEqual([false, false])
    expect(strangers.map((supervisor) => supervisor.snapshot().services[0]?.ownership)).toEqual([
      'adopted',
      'adopted',
    ])
    expect(two.all('process.spawned')).toEqual([])
  })
})
