import { afterEach, describe, expect, test } from 'vitest'
import { build, closeHouses } from './house.ts'

describe('start permits', () => {
  test('two services never start at the same time when one may, and the second follows the first', async () => {
    const house = build({ maxConcurrentStarts: 1, keys: ['a', 'b'] })
    house.request('a', 'r1')
    house.request('b', 'r2')
    await house.advanceTo(100)
    expect(house.states()).toEqual({ a: 'starting.warming', b: 'starting.claiming' })
    await house.advanceTo(1_000)
    expect(house.states()).toEqual({ a: 'leased.open', b: 'leased.open' })
    expect(house.heard.map(({ key, type }) => [key, type])).toEqual([
      ['a', 'lease.granted'],
      ['b', 'lease.granted'],
    ])
    expect(house.turns()).toEqual({ starting: [], queuedStarts: [] })
  })

  test('a service that waits for its turn starts as soon as the configuration lets more start', async () => {
    const house = build({ maxConcurrentStarts: 1, keys: ['a', 'b'] })
    house.request('a', 'r1')
    house.request('b', 'r2')
    await house.advanceTo(50)
    house.configure(['a', 'b'], {}, 2)
    await house.advanceTo(90)
    expect(house.states()).toEqual({ a: 'starting.warming', b: 'starting.warming' })
  })

  test('two services start side by side when two may', async () => {
    const house = build({ maxConcurrentStarts: 2, keys: ['a', 'b'] })
    house.request('a', 'r1')
    house.request('b', 'r2')
    await house.advanceTo(100)
    expect(house.states()).toEqual({ a: 'starting.warming', b: 'starting.warming' })
  })

  test('a start that is stopped while it waits for its permit gives its place up', async () => {
    const house = build({ maxConcurrentStarts: 1, keys: ['a', 'b', 'c'] })
    for (const key of ['a', 'b', 'c']) house.request(key, `${key}1`)
    await house.advanceTo(50)
    expect(house.turns()).toEqual({ starting: ['a'], queuedStarts: ['b', 'c'] })
    house.send('b', { type: 'service.stop', reason: 'asked' })
    expect(house.turns()).toEqual({ starting: ['a'], queuedStarts: ['c'] })
    await house.advanceTo(1_000)
    expect(house.states()).toEqual({ a: 'leased.open', b: 'down.cold', c: 'leased.open' })
  })

  test("waiting for another supervisor's start takes no permit, and asking again needs none to be left over", async () => {
    const house = build({ maxConcurrentStarts: 1, keys: ['a', 'b'] })
    house.world('a').set({ claim: 'held', grantMs: 60_000 })
    house.request('a', 'r1')
    await house.advanceTo(500)
    expect(house.states()).toMatchObject({ a: 'starting.warming' })
    house.request('b', 'r2')
    await house.advanceTo(1_000)
    expect(house.states()).toMatchObject({ b: 'leased.open' })
    house.world('a').set({ claim: 'claimed', peer: 'gone' })
    await house.advanceTo(2_000)
    expect(house.states()).toEqual({ a: 'leased.open', b: 'leased.open' })
  })
})

describe('a provider actor that dies of a bug', () => {
  test('is replaced, while its sibling keeps its lease and its permit goes to the next (fault 121)', async () => {
    const house = build({ maxConcurrentStarts: 1, keys: ['a', 'b', 'c'] })
    house.request('b', 'r1')
    await house.advanceTo(500)
    house.request('a', 'r2')
    house.request('c', 'r3')
    await house.advanceTo(550)
    expect(house.states()).toEqual({
      a: 'starting.warming',
      b: 'leased.open',
      c: 'starting.claiming',
    })
    house.breakProvider('a')
    expect(house.said).toContainEqual({ type: 'service.failed', key: 'a', message: 'Error: a bug' })
    expect(house.states()).toMatchObject({ a: 'down.cold', b: 'leased.open' })
    expect(house.provider('b').getSnapshot().context.leases).toBe(1)
    await house.advanceTo(1_000)
    expect(house.states()).toMatchObject({ b: 'leased.open', c: 'leased.open' })
  })

  test('is followed by one whose generations are different', async () => {
    const house = build({ keys: ['a'] })
    house.request('a', 'r1')
    await house.advanceTo(500)
    const before = house.provider('a').getSnapshot().context.generation
    house.breakProvider('a')
    house.request('a', 'r2')
    await house.advanceTo(1_000)
    const after = house.provider('a').getSnapshot().context.generation
    expect(after).not.toBeNull()
    expect(after).not.toBe(before)
  })

  test('is not replaced during a shutdown, which ends all the same', async () => {
    const house = build({ keys: ['a'] })
    house.request('a', 'r1')
    await house.advanceTo(500)
    house.actor.send({ type: 'shutdown' })
    house.breakProvider('a')
    expect(house.actor.getSnapshot().value).toBe('stopped')
  })
})

describe('services that come and go', () => {
  test('a removed service drains before it is retired', async () => {
    const house = build({ keys: ['a', 'b'] })
    house.request('a', 'r1')
    await house.advanceTo(500)
    house.configure(['b'])
    expect(house.states()).toMatchObject({ a: 'leased.draining' })
    house.release('a', 'r1')
    await house.advanceTo(600)
    expect(house.said).toContainEqual({ type: 'service.retired', key: 'a' })
    expect(house.states()).toEqual({ b: 'down.cold' })
  })

  test('a service that is wanted again while it drains is stopped, not retired, and serves who waits', async () => {
    const house = build({ keys: ['a'] })
    house.request('a', 'r1')
    await house.advanceTo(500)
    house.configure([])
    house.request('a', 'r2')
    house.configure(['a'])
    house.request('a', 'r3')
    expect(house.states()).toEqual({ a: 'leased.draining' })
    house.release('a', 'r1')
    await house.advanceTo(1_500)
    expect(house.states()).toEqual({ a: 'leased.open' })
    expect(house.life()).toEqual(['service.added'])
    expect(house.heard.map(({ type }) => type)).toEqual(['lease.granted', 'lease.refused', 'lease.granted'])
    expect(house.world('a').live).toBe(1)
  })

  test('a service that is added again after it was retired lives on as another actor', async () => {
    const house = build({ keys: ['a'] })
    house.configure([])
    expect(house.states()).toEqual({})
    house.configure(['a'])
    expect(house.life()).toEqual(['service.added', 'service.retired', 'service.added'])
  })

  test('a service that stays gets its new policy', async () => {
    const house = build({ keys: ['a'] })
    house.configure(['a'], { idleStopMs: 1_234 })
    expect(house.provider('a').getSnapshot().context.policy.idleStopMs).toBe(1_234)
  })
})

describe('shutdown', () => {
  test('is over at once when there is nothing', () => {
    const house = build({ keys: [] })
    house.actor.send({ type: 'shutdown' })
    expect(house.actor.getSnapshot().value).toBe('stopped')
  })

  test('is over at once when nothing runs', () => {
    const house = build({ keys: ['a', 'b'] })
    house.actor.send({ type: 'shutdown' })
    expect(house.actor.getSnapshot().value).toBe('stopped')
  })

  test('is over only when every service is retired', async () => {
    const house = build({ keys: ['a', 'b'] })
    house.request('a', 'r1')
    house.request('b', 'r2')
    await house.advanceTo(500)
    house.actor.send({ type: 'shutdown' })
    house.release('b', 'r2')
    await house.advanceTo(600)
    expect(house.states()).toEqual({ a: 'leased.draining' })
    expect(house.actor.getSnapshot().value).toBe('draining')
    house.release('a', 'r1')
    await house.advanceTo(700)
    expect(house.actor.getSnapshot().value).toBe('stopped')
    expect([house.world('a').live, house.world('b').live]).toEqual([0, 0])
  })

  test('does not wait for leases when a second one is forced', async () => {
    const house = build({ keys: ['a'], policy: { drainTimeoutMs: 600_000 } })
    house.request('a', 'r1')
    await house.advanceTo(500)
    house.actor.send({ type: 'shutdown' })
    await house.advanceTo(1_000)
    expect(house.actor.getSnapshot().value).toBe('draining')
    house.actor.send({ type: 'shutdown', force: true })
    await house.advanceTo(1_100)
    expect(house.actor.getSnapshot().value).toBe('stopped')
  })
})

afterEach(closeHouses)
