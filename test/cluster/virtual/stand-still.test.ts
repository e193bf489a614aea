import { expect, test } from 'vitest'
import { type Box, charts, createBox, type World } from './box.ts'
import { createNetwork, createRandom, createTimeline } from './network.ts'

test('a start whose claim was taken over in a stand-still is given up, however short that was', () => {
  let takeovers = 0
  for (let seed = 1; seed <= 40; seed += 1) {
    const ms = 1_600 + seed * 20
    const random = createRandom(seed)
    const timeline = createTimeline()
    const calm = { lost: 0, late: 0, doubled: 0, unanswered: 0 }
    // The claim outlives the history, so that only its holder's loss can move it.
    const network = createNetwork({ timeline, random, weather: () => calm, claimTtlMs: 60_000 })
    const spawned: string[] = []
    const nothing = () => {}
    const watch: World['watch'] = {
      spawned: (box) => spawned.push(box.name),
      met: nothing,
      lost: nothing,
      granted: nothing,
      sent: nothing,
      ended: nothing,
    }
    const world = { timeline, network, random, watch }
    const boxes = ['attic', 'barn', 'cellar'].map((name) =>
      createBox(world, name, `${name}-1`, ['a/x'], charts, 30_000),
    )
    for (const box of boxes) box.start()
    const until = (timeMs: number) => timeline.runUntil(timeMs, nothing)
    until(3_000)
    boxes[0]?.request('r1', 'a/x')
    until(3_100)
    const first = boxes.find(({ name }) => name === spawned[0]) as Box
    const other = boxes.find((box) => box !== first) as Box
    first.stop()
    for (let at = 700; at < ms; at += 100)
      timeline.after(at, () => other.request(`r${at}`, 'a/x', other.name))
    timeline.after(ms, () => first.resume())
    until(3_100 + ms + 1_500)
    if (spawned.length > 1) takeovers += 1
    const starting = boxes.filter(({ own }) => own.get('a/x')?.state === 'starting')
    expect({ seed, ms, starting: starting.length }).toEqual({ seed, ms, starting: 1 })
  }
  expect(takeovers).toBeGreaterThan(5)
})
