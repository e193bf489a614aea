import { expect, test } from 'vitest'
import { watchSilence } from '../../src/peers/silence-watch.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'

function open(toLateMs = () => 0) {
  const virtual = createVirtualClock()
  const clock = { ...virtual, now: () => virtual.now() + toLateMs() }
  const told: string[] = []
  const watch = watchSilence({ clock, ping: () => told.push('ping'), onSilent: () => told.push('silent') })
  return { clock, told, watch }
}

test('a peer that answers is asked every second and never silent', async () => {
  const { clock, told, watch } = open()
  for (let second = 1; second <= 20; second += 1) {
    await clock.advanceTo(second * 1_000)
    watch.hear()
  }
  expect(told).toEqual(Array(20).fill('ping'))
})

test('a question that is open for five seconds is silence, said every second until something comes', async () => {
  const { clock, told, watch } = open()
  await clock.advanceTo(5_999)
  expect(told).toEqual(['ping'])
  await clock.advanceTo(8_000)
  expect(told).toEqual(['ping', 'silent', 'silent', 'silent'])
  watch.hear()
  await clock.advanceTo(9_000)
  expect(told.slice(4)).toEqual(['ping'])
})

test('what was not answered while we stood still ourselves is asked again', async () => {
  let lateMs = 0
  const { clock, told } = open(() => lateMs)
  await clock.advanceTo(1_000)
  // The timer of the next second fires an hour late.
  lateMs = 3_600_000
  await clock.advanceTo(2_000)
  expect(told).toEqual(['ping', 'ping'])
})

test('a watch that is closed asks nothing more', async () => {
  const { clock, told, watch } = open()
  watch.close()
  await clock.advanceTo(60_000)
  expect(told).toEqual([])
})
