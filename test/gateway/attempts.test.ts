import { describe, expect, test } from 'vitest'
import { createAttempts } from '../../src/gateway/attempts.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'
import { openHouseWithServer, openSocket } from './house.ts'

const bad = (port: number, key: string) =>
  `GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nX-Api-Key: ${key}\r\n\r\n`

describe('a client that guesses', () => {
  test('waits longer each time, up to a limit, and is forgiven after a minute', async () => {
    const clock = createVirtualClock()
    const attempts = createAttempts(clock)
    const waits = Array.from({ length: 20 }, () => attempts.fail('a'))
    expect(waits.slice(0, 10)).toEqual(Array.from({ length: 10 }, () => 0))
    expect(waits.slice(10, 17)).toEqual([100, 200, 400, 800, 1_600, 3_200, 5_000])
    await clock.advanceTo(clock.now() + 60_000)
    expect(attempts.fail('a')).toBe(5_000)
    await clock.advanceTo(clock.now() + 60_001)
    expect(attempts.fail('a')).toBe(0)
  })

  test('needs more than twelve hours for ten thousand keys, one after the other (fault 117)', () => {
    const attempts = createAttempts(createVirtualClock())
    let waitedMs = 0
    for (let guess = 0; guess < 10_000; guess += 1) waitedMs += attempts.fail('a')
    expect(waitedMs).toBeGreaterThan(12 * 3_600_000)
  })

  test('gains little by many addresses, and costs bounded memory (fault 117)', () => {
    const attempts = createAttempts(createVirtualClock())
    let waitedMs = 0
    for (let guess = 0; guess < 10_000; guess += 1) waitedMs += attempts.fail(`client ${guess}`)
    expect(waitedMs).toBeGreaterThan(12 * 3_600_000)
  })
})

describe('a gateway under attack from this host', () => {
  test('makes wrong keys wait and right ones not (fault 117)', async () => {
    const clock = createVirtualClock()
    await using house = await openHouseWithServer({ clock, leasehold: { apiKeys: ['the-right-key'] } })
    const ask = async (key: string) =>
      (await fetch(`${house.url}/v1/models`, { headers: { 'x-api-key': key } })).status
    for (let guess = 0; guess < 10; guess += 1) expect(await ask(`wrong ${guess}`)).toBe(401)
    const before = clock.pending
    const late = ask('wrong again')
    await expect.poll(() => clock.pending).toBe(before + 1)
    expect(await ask('the-right-key')).toBe(200)
    expect(await ask('')).toBe(401)
    await clock.advanceTo(clock.now() + 100)
    expect(await late).toBe(401)
  })

  test('learns nothing of who asks from the one who asks, nor from a right key that came from there (peers A-4, A-6)', async () => {
    const clock = createVirtualClock()
    await using house = await openHouseWithServer({ clock, leasehold: { apiKeys: ['the-right-key'] } })
    const ask = async (key: string, guess = 0) => {
      const claims = {
        'x-forwarded-for': `10.0.0.${guess}`,
        'x-real-ip': '127.0.0.1',
        forwarded: `for=10.0.0.${guess};proto=https`,
        'x-device-token': `device ${guess}`,
        cookie: `token=device-${guess}`,
      }
      return (await fetch(`${house.url}/v1/models`, { headers: { 'x-api-key': key, ...claims } })).status
    }
    expect(await ask('the-right-key')).toBe(200)
    for (let guess = 0; guess < 10; guess += 1) expect(await ask(`wrong ${guess}`, guess)).toBe(401)
    const before = clock.pending
    const late = ask('wrong again', 11)
    await expect.poll(() => clock.pending).toBe(before + 1)
    await clock.advanceTo(clock.now() + 100)
    expect(await late).toBe(401)
  })

  test('answers one guess per connection, however many come in one write (fault 117)', async () => {
    await using house = await openHouseWithServer({ leasehold: { apiKeys: ['the-right-key'] } })
    const socket = await openSocket(house.port)
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
    })
    socket.write(bad(house.port, 'wrong') + bad(house.port, 'the-right-key'))
    await new Promise((resolve) => socket.once('close', resolve))
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 401'])
  })
})
