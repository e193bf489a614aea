import { describe, expect, test } from 'vitest'
import { findFreePort } from '../../src/testing/real-host.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'
import { takeFreePort } from '../transport/raw-server.ts'
import { openHouse, openHouseWithServer, toLocalService } from './house.ts'

const chat = { model: 'local/demo', messages: [{ role: 'user', content: 'count to 9' }] }

/** A house on a virtual clock whose service takes one request at a time and lets `maxQueue` of them wait. */
async function openNarrowHouse(maxQueue: number, leasehold: object = {}) {
  const clock = createVirtualClock()
  const port = await takeFreePort()
  const localService = toLocalService(port, [], { maxConcurrent: 1, maxQueue })
  const house = await openHouse({
    serverUrl: `http://127.0.0.1:${port}`,
    clock,
    provider: { localService },
    leasehold,
  })
  /** The probes of a start wait on the clock, the server does not. */
  const acquire = async () => {
    const lease = house.supervisor.acquire('local/demo')
    let isHeld = false
    void lease.then(() => {
      isHeld = true
    })
    await expect
      .poll(
        async () => {
          await clock.advanceTo(clock.now() + 20)
          return isHeld
        },
        { interval: 5, timeout: 20_000 },
      )
      .toBe(true)
    return lease
  }
  return {
    ...house,
    clock,
    acquire,
    [Symbol.asyncDispose]: async () => {
      const closing = house[Symbol.asyncDispose]()
      await expect
        .poll(
          async () => {
            await clock.advanceTo(clock.now() + 20)
            return house.events.at(-1)?.type
          },
          { interval: 5, timeout: 20_000 },
        )
        .toBe('supervisor.closed')
      await closing
    },
  }
}

describe('a request that has to wait', () => {
  test('is told its place and how long that may take, and afterwards how long it took', async () => {
    await using house = await openNarrowHouse(10)
    const first = await house.acquire()
    await house.clock.advanceTo(house.clock.now() + 30_000)
    first.release()
    const holder = await house.acquire()
    const answers = [1, 2].map(() => house.post('/v1/chat/completions', chat))
    await expect.poll(() => house.service().queue.length).toBe(2)
    await house.clock.advanceTo(house.clock.now() + 7_000)
    expect(house.service().queue).toMatchObject([
      { position: 1, priority: 0, waitedMs: 7_000, estimatedMs: expect.any(Number) },
      { position: 2, priority: 0, waitedMs: 7_000, estimatedMs: expect.any(Number) },
    ])
    const [next, last] = house.service().queue.map(({ estimatedMs }) => estimatedMs ?? 0)
    expect(next).toBeGreaterThanOrEqual(30_000)
    expect(last).toBe((next ?? 0) * 2)
    holder.release()
    const [one] = await Promise.all(answers)
    expect(one?.headers.get('x-leasehold-queue-position')).toMatch(/^[12]$/)
    expect(Number(one?.headers.get('x-leasehold-wait-estimated-ms'))).toBeGreaterThanOrEqual(30_000)
    expect(one?.headers.get('x-leasehold-wait-ms')).toBe('7000')
    expect(house.events.filter(({ type }) => type === 'lease.queued').slice(-2)).toMatchObject([
      { position: 1, estimatedMs: next },
      { position: 2, estimatedMs: last },
    ])
  })

  test('and one that has not: only the former is told about it', async () => {
    await using house = await openHouseWithServer()
    const cold = await house.post('/v1/chat/completions', chat)
    const warm = await house.post('/v1/chat/completions', chat)
    expect(cold.headers.get('x-leasehold-queue-position')).toBe('1')
    expect([...warm.headers.keys()].filter((name) => /queue|wait/.test(name))).toEqual([])
    await Promise.all([cold.text(), warm.text()])
  })

  test('sees in the comments of its stream where it stands', async () => {
    await using house = await openNarrowHouse(10, { coldStartCommentsMs: 3_000 })
    const holder = await house.acquire()
    const answer = house.post('/v1/chat/completions', { ...chat, stream: true })
    await expect.poll(() => house.service().queue.length).toBe(1)
    await house.clock.advanceTo(house.clock.now() + 3_000)
    const stream = await answer
    expect(stream.headers.get('x-leasehold-queue-position')).toBe('1')
    holder.release()
    expect(await stream.text()).toMatch(
      /^: leasehold local is leased\.open for 3 s.*; number 1 of 1 in the queue for 3 s\ndata: .*\[DONE\]\n\n$/s,
    )
  })

  test('sees in them who has the room that it waits for', async () => {
    const toProvider = (port: number) => ({
      baseUrl: `http://127.0.0.1:${port}/v1`,
      models: [{ id: 'demo' }],
      localService: toLocalService(port, [], { minResidencyMs: 0 }),
    })
    const providers = { local: toProvider(await findFreePort()), other: toProvider(await findFreePort()) }
    await using house = await openHouse({
      serverUrl: 'http://127.0.0.1:1',
      leasehold: { coldStartCommentsMs: 50, groups: { gpu: ['local', 'other'] } },
      rest: { models: { providers } },
    })
    const holder = await house.supervisor.acquire('other/demo')
    const stream = await house.post('/v1/chat/completions', { ...chat, stream: true })
    let text = ''
    for await (const chunk of stream.body ?? []) {
      text += Buffer.from(chunk)
      if (text.includes('starting.claiming')) holder.release()
    }
    expect(text).toMatch(
      /^: leasehold local is starting\.claiming for \d+ s: Waits for room that other has; number 1 of 1 .*\n/m,
    )
    expect(text).toMatch(/\[DONE\]\n\n$/)
  })

  test('and leaves delays no other request: the next one moves up and is served', async () => {
    await using house = await openNarrowHouse(10)
    const holder = await house.acquire()
    const leaving = new AbortController()
    const left = house.post('/v1/chat/completions', chat, { signal: leaving.signal }).catch(() => 'left')
    await expect.poll(() => house.service().queue.length).toBe(1)
    const stays = house.post('/v1/chat/completions', chat)
    await expect.poll(() => house.service().queue.length).toBe(2)
    const behind = house.service().queue[1]?.id
    leaving.abort()
    await expect.poll(() => house.service().queue).toMatchObject([{ id: behind, position: 1 }])
    holder.release()
    expect([await left, (await stays).status]).toEqual(['left', 200])
    expect(house.service()).toMatchObject({ queue: [], failures: 0 })
  })
})

describe('a queue that is full', () => {
  test('refuses with the time in which a place becomes free, by how long leases are held', async () => {
    await using house = await openNarrowHouse(1)
    const first = await house.acquire()
    await house.clock.advanceTo(house.clock.now() + 42_000)
    first.release()
    const holder = await house.acquire()
    const waiting = house.post('/v1/chat/completions', chat)
    await expect.poll(() => house.service().queue.length).toBe(1)
    const medianMs = house.service().leaseTimes?.medianMs ?? 0
    expect(medianMs).toBeGreaterThanOrEqual(42_000)
    const refused = await house.post('/v1/chat/completions', chat)
    expect(refused.status).toBe(429)
    expect(refused.headers.get('retry-after')).toBe(String(Math.ceil(medianMs / 1_000)))
    holder.release()
    expect((await waiting).status).toBe(200)
  })

  test('during a start refuses with what is left of the usual time of a start', async () => {
    await using house = await openNarrowHouse(1)
    const first = await house.acquire()
    first.release()
    const stopping = house.supervisor.stop('local')
    await expect
      .poll(async () => {
        await house.clock.advanceTo(house.clock.now() + 20)
        return house.service().state
      })
      .toBe('down.cold')
    await stopping
    const { medianMs = 0 } = house.service().startTimes ?? {}
    expect(medianMs).toBeGreaterThan(0)
    const waiting = house.supervisor.acquire('local/demo')
    await expect.poll(() => house.service().queue.length).toBe(1)
    const refused = await house.post('/v1/chat/completions', chat)
    expect(refused.status).toBe(429)
    expect(refused.headers.get('retry-after')).toBe(String(Math.ceil(medianMs / 1_000)))
    await expect
      .poll(async () => {
        await house.clock.advanceTo(house.clock.now() + 20)
        return house.service().state
      })
      .toBe('leased.open')
    ;(await waiting).release()
  })
})

test('a start that only clients who have left asked for is given up after abandonStartMs, process and all', async () => {
  const port = await takeFreePort()
  const localService = toLocalService(port, ['--load-ms', '600000'], { abandonStartMs: 50 })
  await using house = await openHouse({ serverUrl: `http://127.0.0.1:${port}`, provider: { localService } })
  const leaving = new AbortController()
  const left = house.post('/v1/chat/completions', chat, { signal: leaving.signal }).catch(() => 'left')
  await expect.poll(() => house.service().pid, { timeout: 20_000 }).not.toBeNull()
  leaving.abort()
  await left
  await expect.poll(() => house.service().receipt, { timeout: 20_000 }).toMatchObject({ survivors: [] })
  await expect.poll(() => house.service().state).toBe('down.cold')
  const stop = house.events.find(
    (event) => event.type === 'service.state' && event.to.startsWith('idle-stopping'),
  )
  expect(stop).toMatchObject({ reason: 'abandoned' })
})
