import { Writable } from 'node:stream'
import { expect, test } from 'vitest'
import { createStallWatch } from '../../src/gateway/stall.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'

/** A client that takes one piece at a time, when the test says so. */
function openClient() {
  const taken: (() => void)[] = []
  const client = new Writable({ highWaterMark: 1, write: (_piece, _encoding, done) => taken.push(done) })
  const clock = createVirtualClock()
  return { client, clock, watch: createStallWatch(client, clock, 1_000), take: () => taken.shift()?.() }
}

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve))

test('a client that takes nothing is cut off, and one that takes everything is not', async () => {
  const slow = openClient()
  if (!slow.client.write('a')) slow.watch()
  await slow.clock.advanceTo(999)
  expect(slow.client.destroyed).toBe(false)
  await slow.clock.advanceTo(1_000)
  expect(slow.client.destroyed).toBe(true)

  const quick = openClient()
  if (!quick.client.write('a')) quick.watch()
  quick.take()
  await nextTurn()
  await quick.clock.advanceTo(5_000)
  expect(quick.client.destroyed).toBe(false)
})

test('a client that is given more as soon as it has taken the last piece is watched again', async () => {
  const { client, clock, watch, take } = openClient()
  client.on('drain', () => {
    if (!client.write('more')) watch()
  })
  if (!client.write('a')) watch()
  await clock.advanceTo(500)
  take()
  await nextTurn()
  await clock.advanceTo(1_499)
  expect(client.destroyed).toBe(false)
  await clock.advanceTo(1_500)
  expect(client.destroyed).toBe(true)
})
