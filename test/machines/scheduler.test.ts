import { afterEach, describe, expect, test } from 'vitest'
import type { Share } from '../../machines/scheduler.ts'
import { build, closeHouses, defaultShare, type HouseOptions } from './house.ts'

afterEach(closeHouses)

const exclusive = { limits: { 'group:gpu': 1 } }
const oneEach = { needs: { 'group:gpu': 1 } }
const vram = (amount: number, rest: Partial<Share> = {}) => ({ needs: { vramMiB: amount }, ...rest })

/** A house in which some services are up and idle, in this order. */
async function buildUp(up: readonly string[], options: HouseOptions) {
  const house = build(options)
  for (const key of up) {
    house.request(key, `first-${key}`)
    await house.advanceTo(house.clock.now() + 500)
    house.release(key, `first-${key}`)
    await house.advanceTo(house.clock.now() + 500)
  }
  house.said.splice(0)
  return house
}

describe('room', () => {
  test('is made by the idle service that is the cheapest to bring back', async () => {
    const house = await buildUp(['a', 'b'], {
      keys: ['a', 'b', 'c'],
      limits: { vramMiB: 24 },
      shares: { a: vram(10, { evictCost: 900 }), b: vram(10, { evictCost: 100 }), c: vram(12) },
    })
    house.request('c', 'r1')
    await house.advanceTo(house.clock.now() + 500)
    expect(house.states()).toEqual({ a: 'ready', b: 'down.cold', c: 'leased.open' })
    expect(house.decisions()).toEqual(['c: evict b (idle-cheapest)', 'c: start after evict b (room-made)'])
  })

  test('is reserved for an unmeasured service as a whole, until it is measured', async () => {
    const house = build({
      keys: ['a', 'b'],
      limits: { vramMiB: 24 },
      shares: { a: { unmeasured: ['vramMiB'] }, b: vram(4) },
    })
    house.request('a', 'r1')
    await house.advanceTo(house.clock.now() + 500)
    house.request('b', 'r2')
    await house.advanceTo(house.clock.now() + 500)
    expect(house.states()).toEqual({ a: 'leased.open', b: 'starting.claiming' })
    expect(house.said.find(({ type }) => type === 'scheduler.decided')).toMatchObject({
      because: {
        cause: 'fits',
        needed: [{ limit: 'vramMiB', amount: 24, capacity: 24, free: 24, isUnmeasured: true }],
      },
    })
    const share = { service: 'a', ...defaultShare, ...vram(20) }
    house.actor.send({ type: 'share.measured', key: 'a', share })
    await house.advanceTo(house.clock.now() + 500)
    expect(house.states()).toEqual({ a: 'leased.open', b: 'leased.open' })
  })

  test('is made by the one that was used the longest time ago when they cost the same', async () => {
    const house = await buildUp(['a', 'b'], {
      keys: ['a', 'b', 'c'],
      limits: { vramMiB: 24 },
      shares: { a: vram(10), b: vram(10), c: vram(12) },
    })
    house.request('a', 'again')
    house.release('a', 'again')
    house.request('c', 'r1')
    await house.advanceTo(house.clock.now() + 500)
    expect(house.states()).toMatchObject({ a: 'ready', b: 'down.cold', c: 'leased.open' })
  })

  test('is made by no more services than have to go', async () => {
    const house = await buildUp(['a', 'b', 'c'], {
      keys: ['a', 'b', 'c', 'd'],
      limits: { vramMiB: 24 },
      shares: {
        a: vram(4, { evictCost: 1 }),
        b: vram(16, { evictCost: 2 }),
        c: vram(4, { evictCost: 3 }),
        d: vram(12),
      },
    })
    house.request('d', 'r1')
    await house.advanceTo(house.clock.now() + 500)
    expect(house.states()).toEqual({ a: 'ready', b: 'down.cold', c: 'ready', d: 'leased.open' })
    // Afterwards it is still told how little was free, which is why a service had to stop.
    expect(house.context().decisions).toMatchObject({
      b: { choice: { type: 'start' }, because: { cause: 'room-made', needed: [{ amount: 12, free: 0 }] } },
    })
  })

  test('comes with the receipt, not with the signal and not with the exit', async () => {
    const house = await buildUp(['a'], {
      keys: ['a', 'b'],
      ...exclusive,
      shares: { a: oneEach, b: oneEach },
      world: { termMs: 100, sweepMs: 1_000 },
    })
    const start = house.clock.now()
    house.request('b', 'r1')
    await house.advanceTo(start + 900)
    expect(house.states()).toMatchObject({
      a: expect.stringMatching(/^idle-stopping/),
      b: 'starting.claiming',
    })
    expect([house.world('a').live, house.world('b').spawns]).toEqual([0, 0])
    await house.advanceTo(start + 2_000)
    expect(house.states()).toMatchObject({ a: 'down.cold', b: 'leased.open' })
  })

  test('is never made by a leased service, and not by one that is pinned', async () => {
    const house = await buildUp(['pinned'], {
      keys: ['leased', 'pinned', 'd'],
      limits: { vramMiB: 24 },
      shares: {
        leased: vram(8),
        pinned: vram(8, { isPinned: true }),
        d: vram(12),
      },
    })
    house.request('leased', 'r1')
    await house.advanceTo(house.clock.now() + 500)
    house.request('d', 'r3')
    await house.advanceTo(house.clock.now() + 10)
    expect(house.context().decisions.d).toMatchObject({
      choice: { type: 'wait', taken: [] },
      because: {
        cause: 'no-room',
        needed: [{ limit: 'vramMiB', amount: 12, capacity: 24, free: 8 }],
      },
      rejected: [
        { service: 'pinned', because: 'pinned' },
        { service: 'leased', because: 'leased' },
      ],
    })
  })

  test('that only pinned services hold is refused to a request at once, and it is told which', async () => {
    const house = await buildUp(['a'], {
      keys: ['a', 'b', 'c'],
      limits: { ...exclusive.limits, vramMiB: 24 },
      shares: {
        a: { needs: { 'group:gpu': 1, vramMiB: 8 }, isPinned: true },
        b: oneEach,
        c: vram(20),
      },
    })
    const messages: string[] = []
    for (const key of ['b', 'c'])
      house.provider(key).on('lease.refused', ({ failure }) => messages.push(failure.message))
    house.request('b', 'r1')
    house.request('c', 'r2')
    await house.advanceTo(house.clock.now() + 10)
    expect(house.decisions()).toEqual(['b: decline (pinned)', 'c: decline (pinned)'])
    expect(house.states()).toEqual({ a: 'ready', b: 'down.cold', c: 'down.cold' })
    expect(messages).toEqual([
      'it needs the place of the group gpu, and a holds that room and is pinned: stop a, or remove pinned there',
      'it needs 20 of 24 of vramMiB, and a holds that room and is pinned: stop a, or remove pinned there',
    ])
    // Its stop gives the room to the next request.
    house.send('a', { type: 'service.stop', reason: 'asked' })
    await house.advanceTo(house.clock.now() + 5_000)
    house.request('b', 'r3')
    await house.advanceTo(house.clock.now() + 500)
    expect(house.states()).toEqual({ a: 'down.cold', b: 'leased.open', c: 'down.cold' })
  })

  test('that a pinned service holds is waited for when that one stops by itself', async () => {
    const house = await buildUp(['a'], {
      keys: ['a', 'b'],
      ...exclusive,
      policy: { idleStopMs: 5_000 },
      shares: { a: { ...oneEach, isPinned: true, stopsIdle: true }, b: oneEach },
    })
    house.request('b', 'r1')
    await house.advanceTo(house.clock.now() + 10)
    expect(house.decisions()).toEqual(['b: wait (no-room)'])
    await house.advanceTo(house.clock.now() + 10_000)
    expect(house.states()).toEqual({ a: 'down.cold', b: 'leased.open' })
  })

  test('is held by a service that was removed until it is gone, and under its own name', async () => {
    const house = build({
      keys: ['a', 'b'],
      ...exclusive,
      shares: { a: { ...oneEach, service: 'llama', isPinned: true }, b: oneEach },
    })
    house.request('a', 'r1')
    await house.advanceTo(500)
    house.configure(['b'])
    house.request('b', 'r2')
    await house.advanceTo(1_000)
    expect(house.context().decisions.b?.rejected).toMatchObject([{ service: 'llama', because: 'leased' }])
    house.release('a', 'r1')
    await house.advanceTo(2_000)
    expect(house.states()).toEqual({ b: 'leased.open' })
    house.configure(['b'])
    expect(Object.keys(house.context().shares)).toEqual(['b'])
  })

  test('is left to a start that fails only until it has failed', async () => {
    const house = build({ keys: ['a', 'b'], ...exclusive, shares: { a: oneEach, b: oneEach } })
    house.world('a').set({ exitAfterMs: 50 })
    house.request('a', 'r1')
    house.request('b', 'r2')
    await house.advanceTo(500)
    expect(house.states()).toMatchObject({ b: 'leased.open' })
    expect(house.context().residents.map(({ key }) => key)).toEqual(['b'])
  })

  test('of a program that cannot be spawned is free again', async () => {
    const house = build({ keys: ['a', 'b'], ...exclusive, shares: { a: oneEach, b: oneEach } })
    house.world('a').set({ canSpawn: false })
    house.request('a', 'r1')
    house.request('b', 'r2')
    await house.advanceTo(500)
    expect(house.states()).toMatchObject({ b: 'leased.open' })
  })

  test('of an idle or used process that crashed comes with its receipt, and makes nothing stop', async () => {
    for (const isUsed of [false, true]) {
      const house = await buildUp(['a'], {
        keys: ['a', 'b'],
        ...exclusive,
        shares: { a: oneEach, b: oneEach },
        world: { sweepMs: 300 },
      })
      if (isUsed) house.request('a', 'r1')
      house.world('a').crash({ exitCode: 3 })
      await house.advanceTo(house.clock.now() + 10)
      house.request('b', 'r2')
      await house.advanceTo(house.clock.now() + 1_000)
      expect(house.states()).toMatchObject({ a: 'down.cold', b: 'leased.open' })
      expect(house.decisions().filter((line) => line.startsWith('b'))).toEqual([
        'b: wait (receipts)',
        'b: start (fits)',
      ])
    }
  })

  test('of a stop that leaves survivors is not free', async () => {
    const house = await buildUp(['a'], { keys: ['a', 'b'], ...exclusive, shares: { a: oneEach, b: oneEach } })
    house.world('a').set({ survivors: 1 })
    house.request('b', 'r1')
    await house.advanceTo(house.clock.now() + 1_000)
    expect(house.states()).toMatchObject({ a: 'down.tripped', b: 'starting.claiming' })
    expect(house.context().decisions.b).toMatchObject({ rejected: [{ service: 'a', because: 'survivor' }] })
    const [stray] = house.context().residents
    house.actor.send({ type: 'run.ended', generation: stray?.generation ?? '', survivors: 0 })
    await house.advanceTo(house.clock.now() + 500)
    expect(house.states()).toMatchObject({ b: 'leased.open' })
  })

  test('is not taken by a server that was there already', async () => {
    const house = await buildUp(['a'], { keys: ['a', 'b'], ...exclusive, shares: { a: oneEach, b: oneEach } })
    house.world('b').set({ probe: 'ready' })
    house.request('b', 'r1')
    await house.advanceTo(house.clock.now() + 500)
    expect(house.states()).toEqual({ a: 'ready', b: 'leased.open' })
  })
})

describe('a minimum residency', () => {
  const settled = { ...oneEach, minResidencyMs: 5_000 }
  const three = { keys: ['a', 'b', 'c'], ...exclusive, shares: { a: settled, b: settled, c: settled } }
  /** One client: each request is sent when the answer to the last one is complete. Settles with each wait. */
  const tryInTurn = async (house: Awaited<ReturnType<typeof buildUp>>, order: string) => {
    const waits: number[] = []
    for (const [index, key] of [...order].entries()) {
      const sinceMs = house.clock.now()
      house.request(key, `${key}-${index}`)
      while (house.states()[key] !== 'leased.open') await house.advanceTo(house.clock.now() + 5)
      waits.push(house.clock.now() - sinceMs)
      house.release(key, `${key}-${index}`)
    }
    return waits
  }

  test('keeps no client from trying one model after another, there and back', async () => {
    const waits = await tryInTurn(build(three), 'abcabacbbac')
    expect(Math.max(...waits)).toBeLessThan(1_000)
  })

  test('keeps no client waiting whose three requests come at once', async () => {
    const house = build(three)
    house.provider('a').on('lease.granted', ({ id }) => house.release('a', id))
    house.provider('b').on('lease.granted', ({ id }) => house.release('b', id))
    for (const key of ['a', 'b', 'c', 'b']) house.request(key, `r-${key}-${house.heard.length}`)
    await house.advanceTo(1_000)
    expect(house.states()).toEqual({ a: 'down.cold', b: 'down.cold', c: 'leased.open' })
  })

  test('is not spent on an unused service: its client left before it was up', async () => {
    const house = await buildUp(['a'], { ...three, world: { readyAfterMs: 2_000 } })
    house.request('b', 'regretted')
    await house.advanceTo(house.clock.now() + 500)
    house.cancel('b', 'regretted')
    // It gave way to b, and is wanted back before b is up.
    house.request('a', 'r2')
    await house.advanceTo(house.clock.now() + 4_500)
    expect(house.states()).toMatchObject({ a: 'leased.open', b: 'down.cold' })
  })

  test('keeps a service up that gets its room from one that is wanted back at once', async () => {
    const house = await buildUp(['a'], three)
    house.request('b', 'r1')
    await house.advanceTo(house.clock.now() + 15)
    house.request('a', 'r2')
    await house.advanceTo(house.clock.now() + 500)
    house.release('b', 'r1')
    const freeMs = house.clock.now()
    await house.advanceTo(freeMs + 4_000)
    expect(house.states()).toMatchObject({ a: 'starting.claiming', b: 'ready' })
    expect(house.context().decisions.a).toMatchObject({
      because: { cause: 'no-room' },
      rejected: [{ service: 'b', because: 'settling' }],
    })
    // A third one does not overtake the one that returns.
    house.request('c', 'r3')
    await house.advanceTo(freeMs + 6_000)
    expect(house.states()).toMatchObject({ a: 'leased.open', b: 'down.cold', c: 'starting.claiming' })
  })

  test('is over at once when the one that gave way is not wanted any more', async () => {
    const house = await buildUp(['a'], three)
    house.request('b', 'r1')
    await house.advanceTo(house.clock.now() + 15)
    house.request('a', 'r2')
    await house.advanceTo(house.clock.now() + 500)
    house.release('b', 'r1')
    house.request('c', 'r3')
    await house.advanceTo(house.clock.now() + 500)
    expect(house.states()).toMatchObject({ b: 'ready' })
    house.cancel('a', 'r2')
    await house.advanceTo(house.clock.now() + 500)
    expect(house.states()).toMatchObject({ a: 'down.cold', b: 'down.cold', c: 'leased.open' })
  })

  test('counts for one that gave way to a wake, when the server that slept is stopped before it is woken', async () => {
    const house = await buildUp(['a', 'b'], {
      keys: ['a', 'b', 'c'],
      policy: { sleep: { afterMs: 0, isSelf: false, requestMs: 500, wakeMs: 500 }, stopGraceMs: 2_000 },
      limits: { 'group:gpu': 1, slots: 3 },
      shares: {
        a: {
          needs: { 'group:gpu': 1, slots: 2 },
          asleepNeeds: { slots: 2 },
          canSleep: true,
          minResidencyMs: 5_000,
        },
        b: oneEach,
        c: { needs: { slots: 2 } },
      },
    })
    expect(house.states()).toEqual({ a: 'ready.asleep', b: 'ready', c: 'down.cold' })
    house.world('b').set({ termMs: 1_000 })
    house.request('a', 'r1')
    house.request('c', 'r2', 5)
    await house.advanceTo(house.clock.now() + 500)
    house.release('c', 'r2')
    // `b` is still being stopped for the wake, which has become a start.
    house.request('b', 'r3')
    expect(house.states()).toMatchObject({ a: 'starting.claiming', b: 'idle-stopping.terminating' })
    await house.advanceTo(house.clock.now() + 1_500)
    house.release('a', 'r1')
    await house.advanceTo(house.clock.now() + 3_000)
    expect(house.states()).toEqual({ a: 'ready', b: 'starting.claiming', c: 'down.cold' })
    await house.advanceTo(house.clock.now() + 2_000)
    expect(house.states()).toEqual({ a: 'ready.asleep', b: 'leased.open', c: 'down.cold' })
  })

  test('counts for one that waits to be woken, when its server that sleeps is stopped for a third', async () => {
    const house = await buildUp(['a'], {
      keys: ['a', 'b', 'c'],
      policy: { sleep: { afterMs: 0, isSelf: false, requestMs: 500, wakeMs: 500 } },
      limits: { 'group:gpu': 1, slots: 3 },
      shares: {
        a: { needs: { 'group:gpu': 1, slots: 2 }, asleepNeeds: { slots: 2 }, canSleep: true },
        b: { ...oneEach, minResidencyMs: 10_000 },
        c: { needs: { slots: 2 } },
      },
    })
    house.world('a').set({ termMs: 1_000 })
    house.request('b', 'r1')
    await house.advanceTo(house.clock.now() + 20)
    house.request('a', 'r2')
    expect(house.states()).toEqual({ a: 'ready.asleep', b: 'starting.warming', c: 'down.cold' })
    await house.advanceTo(house.clock.now() + 500)
    house.release('b', 'r1')
    house.request('c', 'r3')
    await house.advanceTo(house.clock.now() + 500)
    expect(house.states()).toMatchObject({ a: 'idle-stopping.terminating', c: 'starting.claiming' })
    house.cancel('c', 'r3')
    house.send('c', { type: 'service.stop', reason: 'asked' })
    await house.advanceTo(house.clock.now() + 5_000)
    expect(house.states()).toEqual({ a: 'starting.claiming', b: 'ready', c: 'down.cold' })
    await house.advanceTo(house.clock.now() + 5_000)
    expect(house.states()).toEqual({ a: 'leased.open', b: 'down.cold', c: 'down.cold' })
  })

  test('does not count for one whose stop was called off', async () => {
    const house = await buildUp(['a'], three)
    house.actor.on('scheduler.decided', ({ choice }) => {
      if (choice.type === 'evict') house.request('a', 'r2')
    })
    house.request('b', 'r1')
    await house.advanceTo(house.clock.now() + 500)
    expect(house.states()).toMatchObject({ a: 'leased.open', b: 'starting.claiming' })
    expect(house.context().gaveWayTo).toEqual({})
  })
})

describe('a service that waits', () => {
  const shares = {
    a: { ...oneEach, maxStarveMs: 10_000 },
    b: { ...oneEach, maxStarveMs: 10_000 },
  }
  /** `a` is in use all the time: a new lease begins before the last one ends. */
  const keepBusy = (house: Awaited<ReturnType<typeof buildUp>>, key: string, untilMs: number) => {
    let n = 0
    house.provider(key).on('lease.granted', ({ id }) => {
      if (id.includes('busy')) house.clock.setTimeout(() => house.release(key, id), 900)
    })
    const next = () => {
      if (house.clock.now() >= untilMs) return
      n += 1
      const id = `${key}-busy-${n}`
      house.request(key, id)
      house.clock.setTimeout(next, 500)
    }
    next()
  }

  test('gets its turn when it has waited long enough behind the traffic of another, and no stream is cut (fault 80)', async () => {
    const house = await buildUp(['a'], { keys: ['a', 'b'], ...exclusive, shares })
    const start = house.clock.now()
    keepBusy(house, 'a', start + 60_000)
    house.request('b', 'r1')
    await house.advanceTo(start + 10_000)
    expect(house.states()).toEqual({ a: 'leased.open', b: 'starting.claiming' })
    await house.advanceTo(start + 10_010)
    expect(house.states()).toEqual({ a: 'leased.draining', b: 'starting.claiming' })
    await house.advanceTo(start + 12_000)
    expect(house.states()).toEqual({ a: 'starting.claiming', b: 'leased.open' })
    expect(house.heard.filter(({ type }) => type === 'leases.revoked')).toEqual([])
    expect(house.decisions()).toContain('b: yield a (starved)')
  })

  test('alternates with another under traffic on both', async () => {
    const house = await buildUp(['a'], { keys: ['a', 'b'], ...exclusive, shares })
    const start = house.clock.now()
    keepBusy(house, 'a', start + 60_000)
    keepBusy(house, 'b', start + 60_000)
    await house.advanceTo(start + 120_000)
    const granted = (key: string) =>
      house.heard.filter((one) => one.key === key && one.type === 'lease.granted').length
    expect([granted('a'), granted('b')]).toEqual([121, 120])
    expect(house.heard.filter(({ type }) => type === 'lease.refused' || type === 'leases.revoked')).toEqual(
      [],
    )
    const yields = house.decisions().filter((line) => line.includes('(starved)'))
    expect(yields.slice(0, 3)).toEqual([
      'b: yield a (starved)',
      'a: yield b (starved)',
      'b: yield a (starved)',
    ])
  })

  test.each([
    ['sleeps where that is enough', 6, 0],
    ['stops where its sleep is not enough', 9, 3],
  ])('under traffic on both a service that can sleep %s', async (_, asleepMiB, stops) => {
    const sleeper = vram(16, { maxStarveMs: 10_000, asleepNeeds: { vramMiB: asleepMiB }, canSleep: true })
    let settled = 0
    const house = await buildUp(['a'], {
      keys: ['a', 'b'],
      limits: { vramMiB: 24 },
      shares: { a: sleeper, b: sleeper },
      onFact: (_key, { type }) => {
        if (type === 'process.settled') settled += 1
      },
      policy: { sleep: { afterMs: 0, isSelf: false, requestMs: 500, wakeMs: 500 } },
    })
    const start = house.clock.now()
    keepBusy(house, 'a', start + 30_000)
    keepBusy(house, 'b', start + 30_000)
    await house.advanceTo(start + 60_000)
    const countOf = (type: string) => house.heard.filter((one) => one.type === type).length
    expect(countOf('lease.granted')).toBe(121)
    expect(countOf('lease.refused')).toBe(0)
    expect(settled).toBe(stops)
    const taken = house.said.flatMap((said) => (said.type === 'scheduler.decided' ? said.choice.taken : []))
    const yields = taken.filter(({ how }) => how === 'yield')
    expect(yields.length).toBeGreaterThan(1)
    expect(yields.every(({ sleeps = false }) => sleeps === (stops === 0))).toBe(true)
  })

  test('does not hold up requests that fit beside it', async () => {
    const house = await buildUp(['a'], {
      keys: ['a', 'b', 'c'],
      limits: { vramMiB: 24 },
      shares: { a: vram(16), b: vram(16), c: vram(8) },
    })
    house.request('a', 'r1')
    house.request('b', 'r2')
    house.request('c', 'r3')
    await house.advanceTo(house.clock.now() + 500)
    expect(house.states()).toMatchObject({ b: 'starting.claiming', c: 'leased.open' })
  })

  test('keeps what becomes free for itself once it is starved', async () => {
    const house = await buildUp(['a'], {
      keys: ['a', 'b', 'c'],
      limits: { vramMiB: 24 },
      shares: { a: vram(16), b: vram(24, { maxStarveMs: 1_000 }), c: vram(8) },
    })
    house.request('a', 'r1')
    house.request('b', 'r2')
    await house.advanceTo(house.clock.now() + 1_500)
    house.request('c', 'r3')
    await house.advanceTo(house.clock.now() + 500)
    expect(house.states()).toEqual({ a: 'leased.draining', b: 'starting.claiming', c: 'starting.claiming' })
    expect(house.context().decisions.c).toMatchObject({ because: { cause: 'promised', ahead: ['b'] } })
    house.release('a', 'r1')
    await house.advanceTo(house.clock.now() + 500)
    expect(house.states()).toMatchObject({ b: 'leased.open' })
  })

  test('goes first with a higher priority, and every 10 s of waiting raise it by one', async () => {
    const many = { a: oneEach, b: oneEach, c: oneEach, d: oneEach }
    const busy = {
      ...exclusive,
      shares: Object.fromEntries(Object.keys(many).map((key) => [key, { ...oneEach, maxStarveMs: 600_000 }])),
    }
    const house = await buildUp(['a'], {
      keys: ['a', 'b', 'c', 'd'],
      policy: { maxQueueMs: 600_000 },
      ...busy,
    })
    house.request('a', 'r1')
    house.request('b', 'old', 0)
    await house.advanceTo(house.clock.now() + 35_000)
    house.request('c', 'middle', 2)
    house.request('d', 'high', 5)
    house.release('a', 'r1')
    const order: string[] = []
    for (const key of ['d', 'b', 'c']) {
      await house.advanceTo(house.clock.now() + 500)
      order.push(
        ...Object.entries(house.states()).flatMap(([name, state]) => (state === 'leased.open' ? [name] : [])),
      )
      house.release(key, { b: 'old', c: 'middle', d: 'high' }[key] ?? '')
    }
    expect(order).toEqual(['d', 'b', 'c'])
  })

  test('evicts no service in use for a request of low priority', async () => {
    const house = await buildUp(['a'], { keys: ['a', 'b'], ...exclusive, shares })
    const start = house.clock.now()
    house.request('a', 'r1')
    house.request('b', 'r2', -2)
    await house.advanceTo(start + 19_000)
    expect(house.states()).toMatchObject({ a: 'leased.open' })
    await house.advanceTo(start + 21_000)
    expect(house.states()).toMatchObject({ a: 'leased.draining' })
  })

  test('evicts nothing when all waiters have left', async () => {
    const house = await buildUp(['a'], { keys: ['a', 'b'], ...exclusive, shares })
    house.request('a', 'r1')
    house.request('b', 'r2')
    await house.advanceTo(house.clock.now() + 100)
    house.cancel('b', 'r2')
    await house.advanceTo(house.clock.now() + 100)
    expect(house.states()).toEqual({ a: 'leased.open', b: 'down.cold' })
    expect(house.decisions().at(-1)).toBe('b: decline (nobody-waits)')
  })

  test('and leaves blocks no service: the one that yielded takes new requests again', async () => {
    const house = await buildUp(['a'], { keys: ['a', 'b'], ...exclusive, shares })
    const start = house.clock.now()
    house.request('a', 'long')
    house.request('b', 'r2')
    await house.advanceTo(start + 10_010)
    house.request('a', 'late')
    expect(house.states()).toEqual({ a: 'leased.draining', b: 'starting.claiming' })
    house.cancel('b', 'r2')
    await house.advanceTo(start + 10_020)
    expect(house.states()).toEqual({ a: 'leased.open', b: 'down.cold' })
    expect(house.decisions().at(-1)).toBe('b: decline (nobody-waits)')
    expect(house.heard.filter(({ key, type }) => key === 'a' && type === 'lease.granted')).toHaveLength(3)
    // It is in use, and must make room again when another service has starved again.
    house.request('b', 'r3')
    await house.advanceTo(start + 20_030)
    expect(house.states()).toEqual({ a: 'leased.draining', b: 'starting.claiming' })
  })

  test('and whose requests all expire blocks no service', async () => {
    const policies = { policy: { maxQueueMs: 15_000 } }
    const house = await buildUp(['a'], { keys: ['a', 'b'], ...exclusive, shares, ...policies })
    house.request('a', 'long')
    house.request('b', 'r2')
    await house.advanceTo(house.clock.now() + 14_000)
    expect(house.states()).toMatchObject({ a: 'leased.draining' })
    await house.advanceTo(house.clock.now() + 1_100)
    expect(house.states()).toEqual({ a: 'leased.open', b: 'down.cold' })
  })

  test('and leaves when what yielded is being stopped already does not bring it back', async () => {
    const world = { termMs: 1_000 }
    const house = await buildUp(['a'], { keys: ['a', 'b'], ...exclusive, shares, world })
    house.request('a', 'long')
    house.request('b', 'r2')
    await house.advanceTo(house.clock.now() + 11_000)
    house.release('a', 'long')
    await house.advanceTo(house.clock.now() + 100)
    house.cancel('b', 'r2')
    expect(house.states()).toMatchObject({ a: 'idle-stopping.terminating' })
    await house.advanceTo(house.clock.now() + 5_000)
    expect(house.states()).toMatchObject({ a: 'down.cold' })
  })

  test('lets what yields to it wait on while another starves for the same room', async () => {
    const three = { ...shares, c: { ...oneEach, maxStarveMs: 10_000 } }
    const house = await buildUp(['a'], { keys: ['a', 'b', 'c'], ...exclusive, shares: three })
    house.request('a', 'long')
    house.request('b', 'r2')
    house.request('c', 'r3')
    await house.advanceTo(house.clock.now() + 11_000)
    house.cancel('b', 'r2')
    await house.advanceTo(house.clock.now() + 100)
    expect(house.states()).toMatchObject({ a: 'leased.draining', b: 'down.cold' })
    house.cancel('c', 'r3')
    await house.advanceTo(house.clock.now() + 100)
    expect(house.states()).toEqual({ a: 'leased.open', b: 'down.cold', c: 'down.cold' })
  })

  test('is served at once by a server that is up, whatever else is stopping', async () => {
    const house = await buildUp(['a', 'c'], {
      keys: ['a', 'b', 'c'],
      ...exclusive,
      shares: { a: oneEach, b: oneEach, c: {} },
      world: { termMs: null },
      policy: { stopGraceMs: 5_000 },
    })
    house.request('b', 'r1')
    await house.advanceTo(house.clock.now() + 100)
    expect(house.states()).toMatchObject({ a: 'idle-stopping.terminating' })
    house.request('c', 'r2')
    expect(house.states()).toMatchObject({ c: 'leased.open' })
  })
})

describe('a service that follows another run', () => {
  test('has its place in the queue while its own earlier run still drains', async () => {
    const house = build({ keys: ['a', 'b'], ...exclusive, shares: { a: oneEach, b: oneEach } })
    house.request('a', 'r1')
    await house.advanceTo(500)
    house.send('a', { type: 'service.stop', reason: 'asked' })
    house.request('a', 'r2')
    house.request('b', 'r3')
    await house.advanceTo(1_000)
    expect(house.states()).toEqual({ a: 'leased.draining', b: 'starting.claiming' })
    house.release('a', 'r1')
    await house.advanceTo(1_500)
    expect(house.states()).toEqual({ a: 'leased.open', b: 'starting.claiming' })
    house.release('a', 'r2')
    await house.advanceTo(2_000)
    expect(house.states()).toEqual({ a: 'down.cold', b: 'leased.open' })
  })

  test('has its place in the queue while the service that it replaces still drains', async () => {
    const shares = {
      a: { ...oneEach, address: 'http://127.0.0.1:1' },
      successor: { ...oneEach, address: 'http://127.0.0.1:1' },
      c: oneEach,
    }
    const house = build({ keys: ['a', 'c'], ...exclusive, shares })
    house.request('a', 'r1')
    await house.advanceTo(500)
    house.configure(['successor', 'c'])
    // Its look waits until the address is free.
    house.world('successor').set({ probeMs: 700 })
    house.request('successor', 'r2')
    house.request('c', 'r3')
    await house.advanceTo(1_000)
    expect(house.states()).toMatchObject({ successor: 'probing', c: 'starting.claiming' })
    house.release('a', 'r1')
    await house.advanceTo(1_100)
    expect(house.states()).toEqual({ successor: 'probing', c: 'starting.claiming' })
    expect(house.decisions().at(-1)).toBe('c: wait (promised)')
    await house.advanceTo(1_600)
    expect(house.states()).toEqual({ successor: 'leased.open', c: 'starting.claiming' })
  })

  test('keeps no room for a request that has left', async () => {
    const house = build({ keys: ['a', 'b'], ...exclusive, shares: { a: oneEach, b: oneEach } })
    house.request('a', 'r1')
    await house.advanceTo(500)
    house.send('a', { type: 'service.stop', reason: 'asked' })
    house.request('a', 'r2')
    house.request('b', 'r3')
    house.cancel('a', 'r2')
    house.release('a', 'r1')
    await house.advanceTo(1_000)
    expect(house.states()).toEqual({ a: 'down.cold', b: 'leased.open' })
    expect(house.turns()).toEqual({ starting: [], queuedStarts: [] })
  })

  test('keeps no room for waiters that a second stop has refused', async () => {
    const house = build({ keys: ['a', 'b'], ...exclusive, shares: { a: oneEach, b: oneEach } })
    house.request('a', 'r1')
    await house.advanceTo(500)
    house.send('a', { type: 'service.stop', reason: 'asked' })
    house.request('a', 'r2')
    house.send('a', { type: 'service.stop', reason: 'asked' })
    expect(house.context().queuedStarts).toMatchObject([{ key: 'a', isForeseen: true, waiting: 0 }])
  })

  test('keeps no more room than the earlier run frees', async () => {
    const house = build({
      keys: ['a', 'b'],
      limits: { vramMiB: 24 },
      shares: { a: vram(16), b: vram(8) },
    })
    house.request('a', 'r1')
    await house.advanceTo(500)
    house.send('a', { type: 'service.stop', reason: 'asked' })
    house.request('a', 'r2')
    house.request('b', 'r3')
    await house.advanceTo(1_000)
    expect(house.states()).toEqual({ a: 'leased.draining', b: 'leased.open' })
  })

  test('goes to the end of its wait when it may stay', async () => {
    const house = await buildUp(['a'], {
      keys: ['a', 'b'],
      ...exclusive,
      shares: { a: oneEach, b: { ...oneEach, maxStarveMs: 1_000 } },
    })
    house.request('a', 'r1')
    house.request('b', 'r2')
    await house.advanceTo(house.clock.now() + 1_500)
    house.request('a', 'r3')
    expect(house.states()).toMatchObject({ a: 'leased.draining' })
    expect(house.turns().queuedStarts).toEqual(['b', 'a'])
    house.cancel('b', 'r2')
    await house.advanceTo(house.clock.now() + 100)
    expect(house.states()).toEqual({ a: 'leased.open', b: 'down.cold' })
    expect(house.turns()).toEqual({ starting: [], queuedStarts: [] })
    expect(house.provider('a').getSnapshot().context.leases).toBe(2)
  })
})

describe('warm before asked', () => {
  test('what is to be preloaded is wanted as soon as it is there, in the order that was given', () => {
    const house = build({ keys: ['a', 'b', 'c'], sharing: { preload: ['c', 'a'] } })
    expect(house.said.filter(({ type }) => type === 'service.wanted')).toEqual([
      { type: 'service.wanted', key: 'c', cause: 'preload' },
      { type: 'service.wanted', key: 'a', cause: 'preload' },
    ])
  })

  test('what is preloaded takes free room only: no idle service leaves for it, and its waiter is told', async () => {
    const house = await buildUp(['a'], { keys: ['a', 'b'], ...exclusive, shares: { a: oneEach, b: oneEach } })
    house.request('b', 'early', -100, 'preload')
    await house.advanceTo(house.clock.now() + 500)
    expect(house.states()).toEqual({ a: 'ready', b: 'down.cold' })
    expect(house.decisions()).toEqual(['b: decline (preload)'])
    expect(house.heard).toContainEqual({ key: 'b', type: 'lease.refused' })
    // A request that comes beside it is no preload.
    house.request('b', 'again', -100, 'preload')
    house.request('b', 'r1')
    await house.advanceTo(house.clock.now() + 500)
    expect(house.states()).toEqual({ a: 'down.cold', b: 'leased.open' })
  })

  test('what a new configuration preloads is wanted once, whether it was there before or not', () => {
    const sharing = { preload: ['a'] }
    const house = build({ keys: ['a', 'b'], sharing })
    house.said.splice(0)
    sharing.preload = ['a', 'b', 'c']
    house.configure(['a', 'b', 'c'])
    house.configure(['a', 'b', 'c'])
    expect(house.said.filter(({ type }) => type === 'service.wanted')).toEqual([
      { type: 'service.wanted', key: 'b', cause: 'preload' },
      { type: 'service.wanted', key: 'c', cause: 'preload' },
    ])
  })

  const withDefault = {
    keys: ['a', 'b'],
    ...exclusive,
    shares: { a: oneEach, b: oneEach },
    sharing: { defaultKey: 'a', returnToDefaultMs: 5_000 },
  }

  test('the default service is wanted back when the one that took its room has been idle', async () => {
    const house = await buildUp(['a'], withDefault)
    house.request('b', 'r1')
    await house.advanceTo(house.clock.now() + 60_000)
    expect(house.said.filter(({ type }) => type === 'service.wanted')).toEqual([])
    house.release('b', 'r1')
    await house.advanceTo(house.clock.now() + 4_999)
    expect(house.said.filter(({ type }) => type === 'service.wanted')).toEqual([])
    await house.advanceTo(house.clock.now() + 1)
    expect(house.said).toContainEqual({ type: 'service.wanted', key: 'a', cause: 'default' })
  })

  test('the default service is not wanted back when it stopped for being idle', async () => {
    const house = await buildUp(['a'], { ...withDefault, policy: { idleStopMs: 1_000 } })
    await house.advanceTo(house.clock.now() + 60_000)
    expect(house.states()).toMatchObject({ a: 'down.cold' })
    expect(house.said.filter(({ type }) => type === 'service.wanted')).toEqual([])
  })

  const sleeping = { ...withDefault, shares: { a: { ...oneEach, asleepNeeds: {} }, b: oneEach } }
  const sleep = { afterMs: 0, isSelf: false, requestMs: 500, wakeMs: 500 }

  test('the default service is woken when the one that took its room has been idle', async () => {
    const house = await buildUp(['a'], {
      ...sleeping,
      shares: { ...sleeping.shares, a: { ...sleeping.shares.a, canSleep: true } },
      policy: { sleep: { ...sleep, afterMs: 20_000 } },
    })
    house.request('b', 'r1')
    await house.advanceTo(house.clock.now() + 1_000)
    expect(house.states()).toMatchObject({ a: 'ready.asleep', b: 'leased.open' })
    house.release('b', 'r1')
    await house.advanceTo(house.clock.now() + 5_000)
    expect(house.said).toContainEqual({ type: 'service.wanted', key: 'a', cause: 'default' })
    house.request('a', 'r2', 0, 'default')
    await house.advanceTo(house.clock.now() + 1_000)
    expect(house.states()).toMatchObject({ a: 'leased.open' })
    // Its own sleep when it is idle is no reason to wake it.
    house.release('a', 'r2')
    await house.advanceTo(house.clock.now() + 60_000)
    expect(house.states()).toMatchObject({ a: 'ready.asleep' })
    expect(house.said.filter(({ type }) => type === 'service.wanted')).toHaveLength(1)
  })

  test('the default service is left asleep when it sleeps and wakes by itself', async () => {
    const house = await buildUp(['a'], {
      ...sleeping,
      policy: { sleep: { ...sleep, isSelf: true } },
    })
    house.world('a').set({ isAsleep: true })
    await house.advanceTo(house.clock.now() + 20_000)
    house.request('b', 'r1')
    await house.advanceTo(house.clock.now() + 1_000)
    expect(house.states()).toMatchObject({ a: 'ready.asleep', b: 'leased.open' })
    house.release('b', 'r1')
    await house.advanceTo(house.clock.now() + 60_000)
    expect(house.said.filter(({ type }) => type === 'service.wanted')).toEqual([])
  })
})

test('an actor that dies of a bug holds its room until its process is known to be gone', async () => {
  const house = await buildUp(['a'], { keys: ['a', 'b'], ...exclusive, shares: { a: oneEach, b: oneEach } })
  const [before] = house.context().residents
  house.breakProvider('a')
  house.request('b', 'r1')
  await house.advanceTo(house.clock.now() + 500)
  expect(house.states()).toMatchObject({ a: 'down.cold', b: 'starting.claiming' })
  house.actor.send({ type: 'run.ended', generation: before?.generation ?? '', survivors: 0 })
  await house.advanceTo(house.clock.now() + 500)
  expect(house.states()).toMatchObject({ b: 'leased.open' })
})
