// @module-tag proof
import { test } from 'vitest'
import { type Box, type Boxes, createBoxes } from './boxes.ts'
import { describeWithNats } from './nats-server.ts'

/** Rounds of T3: `LEASEHOLD_CLUSTER_ROUNDS=20` for a long run, `LEASEHOLD_CLUSTER_SEED` for other moments. */
const rounds = Number(process.env.LEASEHOLD_CLUSTER_ROUNDS ?? 2)
const seed = Number(process.env.LEASEHOLD_CLUSTER_SEED ?? 16)
const LOAD_MS = 600
const patience = { timeout: 120_000 + rounds * 60_000 }

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function createRandom(start: number): () => number {
  let state = start
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

interface Members {
  readonly members: readonly {
    readonly state: string
    readonly services: Readonly<Record<string, { readonly state: string }>>
  }[]
}

/** Waits until each machine sees three that are there, and the model is up at none. */
async function untilCold({ all }: Boxes): Promise<void> {
  const endsAtMs = performance.now() + 60_000
  for (;;) {
    const seen = await Promise.all(
      all.map(async (box) => {
        const { members } = (await box.json('/api/members')) as Members
        return members.map(({ state, services }) => `${state} ${services.llama?.state}`)
      }),
    )
    const flat = seen.flat()
    if (flat.length === 9 && flat.every((one) => /^(?:open|settling) cold$/.test(one))) return
    if (performance.now() > endsAtMs) throw new Error(`not all are cold: ${JSON.stringify(seen)}`)
    await pause(50)
  }
}

async function readOutcome(asked: Promise<Response>): Promise<string> {
  try {
    const answer = await asked
    const text = await answer.text()
    return answer.ok ? 'ok' : `${answer.status} ${text}`
  } catch (error) {
    return String(error)
  }
}

describeWithNats('three machines', () => {
  test(
    'whose starter is killed at a random moment start the model once more, and answer all requests (T3)',
    patience,
    async ({ expect }) => {
      const random = createRandom(seed)
      await using boxes = await createBoxes(['tower', 'attic', 'cellar'], {
        flags: ['--load-ms', String(LOAD_MS)],
      })
      await Promise.all(boxes.all.map((box) => box.start()))
      await boxes.untilJoined()
      for (let round = 0; round < rounds; round += 1) {
        const before = boxes.all.map((box) => box.starts())
        const asked = Array.from({ length: 30 }, (_, index) => boxes.all[index % 3] as Box)
        const outcomes = asked.map((box) => readOutcome(box.ask()))
        let starter: Box | undefined
        while (starter === undefined) {
          await pause(5)
          starter = boxes.all.find((box, index) => box.starts() > (before[index] ?? 0))
        }
        const afterMs = Math.round(random() * LOAD_MS * 1.5)
        await pause(afterMs)
        await starter.end('SIGKILL')
        const answers = await Promise.all(outcomes)
        // The clients of the gateway that dies are cut off with it.
        const failed = answers.filter((answer, index) => asked[index] !== starter && answer !== 'ok')
        const starts = boxes.all.reduce((sum, box, index) => sum + box.starts() - (before[index] ?? 0), 0)
        const others = boxes.all.filter((box) => box !== starter)
        const story = `seed ${seed}, round ${round}: killed ${starter.name} ${afterMs} ms after its start`
        expect([story, failed, starts <= 2]).toEqual([story, [], true])
        if (round + 1 === rounds) break
        await Promise.all(others.map((box) => box.run('stop', 'llama')))
        await starter.start()
        await untilCold(boxes)
      }
    },
  )

  test(
    'let a request of priority 10 pass those of priority 0 of another gateway, at the owner (T12)',
    patience,
    async ({ expect }) => {
      await using boxes = await createBoxes([])
      const owner = await boxes.add('owner', {
        flags: ['--first-token-ms', '800'],
        localService: { maxConcurrent: 1 },
      })
      const tower = await boxes.add('tower', { providers: ['other'] })
      const attic = await boxes.add('attic', { providers: ['other'] })
      await Promise.all(boxes.all.map((box) => box.start()))
      await boxes.untilJoined()
      const order: string[] = []
      const ask = async (box: Box, priority: string) => {
        const outcome = await readOutcome(box.ask({ headers: { 'x-leasehold-priority': priority } }))
        order.push(outcome === 'ok' ? priority : outcome)
      }
      const countWaiting = async () => {
        const { services } = (await owner.json('/api/services')) as {
          services: { service: string; queue: unknown[] }[]
        }
        return services.find(({ service }) => service === 'llama')?.queue.length ?? 0
      }
      const low = Array.from({ length: 6 }, () => ask(tower, '0'))
      await expect.poll(countWaiting, { timeout: 15_000, interval: 20 }).toBeGreaterThan(2)
      await Promise.all([...low, ask(attic, '10')])
      expect(order.filter((one) => one !== '0')).toEqual(['10'])
      // It was asked last, and others waited before it.
      expect(order.at(-1)).toBe('0')
    },
  )
})
