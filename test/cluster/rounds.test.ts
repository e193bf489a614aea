// @module-tag proof
import { test } from 'vitest'
import { type Box, createBoxes } from './boxes.ts'
import { describeWithNats, startNatsServer } from './nats-server.ts'

const patience = { timeout: 240_000 }

interface Members {
  readonly members: readonly {
    readonly isSelf: boolean
    readonly services: Readonly<Record<string, { readonly state: string }>>
  }[]
}

async function statesAt(box: Box): Promise<string[]> {
  const { members } = (await box.json('/api/members')) as Members
  return members.map(({ services }) => services.llama?.state ?? '')
}

describeWithNats('again and again', () => {
  test(
    '30 clients over three machines, 20 cold rounds: one start each (T2)',
    patience,
    async ({ expect }) => {
      await using boxes = await createBoxes(['tower', 'attic', 'cellar'], { flags: ['--load-ms', '300'] })
      await Promise.all(boxes.all.map((box) => box.start()))
      await boxes.untilJoined()
      const rounds: number[] = []
      const failures: string[] = []
      let before = 0
      for (let round = 0; round < 20; round += 1) {
        const answers = await Promise.all(
          Array.from({ length: 30 }, (_, index) => (boxes.all[index % 3] as Box).ask()),
        )
        for (const answer of answers) {
          const text = await answer.text()
          if (!answer.ok) failures.push(text)
        }
        const starts = boxes.all.reduce((sum, box) => sum + box.starts(), 0)
        rounds.push(starts - before)
        before = starts
        await Promise.all(boxes.all.map((box) => box.run('stop', '--all')))
        for (const box of boxes.all) await expect.poll(() => statesAt(box)).toEqual(['cold', 'cold', 'cold'])
      }
      expect(failures).toEqual([])
      expect(rounds).toEqual(Array(20).fill(1))
    },
  )

  test(
    'NATS killed and started again and again under load: no request fails (T9)',
    patience,
    async ({ expect }) => {
      await using boxes = await createBoxes(['tower', 'attic', 'cellar'])
      await Promise.all(boxes.all.map((box) => box.start()))
      await boxes.untilJoined()
      let isOver = false
      let ended = 0
      const outcomes: Promise<string>[] = []
      const load = async () => {
        for (let index = 0; !isOver; index += 1) {
          const box = boxes.all[index % 3] as Box
          const outcome = box.ask().then(
            async (answer) => (answer.ok ? 'ok' : `${answer.status} ${await answer.text()}`),
            (error) => String(error),
          )
          outcomes.push(
            outcome.finally(() => {
              ended += 1
            }),
          )
          await new Promise((resolve) => setTimeout(resolve, 50))
        }
      }
      /** Waits until each machine has said something so often, and requests have begun and ended since. */
      const untilTold = async (text: string, times: number) => {
        for (const box of boxes.all) await expect.poll(() => box.log.split(text).length - 1).toBe(times)
        const sent = outcomes.length
        await expect.poll(() => ended).toBeGreaterThanOrEqual(sent + 20)
      }
      const loading = load()
      for (let round = 1; round <= 8; round += 1) {
        await untilTold('connected to NATS', round)
        await boxes.nats.kill()
        await untilTold('NATS is not reached', round)
        await boxes.nats.start()
      }
      isOver = true
      await loading
      expect((await Promise.all(outcomes)).filter((outcome) => outcome !== 'ok')).toEqual([])
      for (const box of boxes.all) expect(box.log).not.toMatch(/is lost/)
    },
  )

  test('members that come and go leave nothing behind at NATS (T16)', patience, async ({ expect }) => {
    const nats = await startNatsServer({ config: 'http: "127.0.0.1:-1"' })
    await using boxes = await createBoxes(['tower', 'attic'], {}, nats)
    const [tower, attic] = boxes.all as [Box, Box]
    await tower.start()
    const look = async () => {
      const read = async (path: string) => (await fetch(`${nats.monitorUrl}${path}`)).json()
      const { connections } = (await read('/connz?subs=1')) as { connections: { subscriptions: number }[] }
      const { consumers, streams } = (await read('/jsz')) as { consumers: number; streams: number }
      return { subscriptions: connections.map(({ subscriptions }) => subscriptions), consumers, streams }
    }
    await expect.poll(look).toMatchObject({ streams: 1 })
    const before = await look()
    for (let round = 0; round < 8; round += 1) {
      await attic.start()
      await attic.until(/member tower .*is there/)
      await attic.end(round % 2 === 0 ? 'SIGTERM' : 'SIGKILL')
    }
    await expect.poll(look).toEqual(before)
    expect(before).toMatchObject({ consumers: 0, streams: 1 })
  })
})
