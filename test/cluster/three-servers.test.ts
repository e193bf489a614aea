// @module-tag proof
import { test } from 'vitest'
import { chooseHome } from '../../machines/cluster/home.ts'
import { type Box, type Boxes, createBoxes } from './boxes.ts'
import { createNetwork, hasNamespaces } from './namespaces.ts'
import { startNatsCluster } from './nats-cluster.ts'
import { describeWithNats } from './nats-server.ts'

const patience = { timeout: 180_000 }
const names = ['tower', 'attic', 'cellar']

/** Asks all machines for the cold model at once: the outcome of each request, and the time of the last. */
async function askAll(
  boxes: readonly Box[],
  count: number,
): Promise<{ readonly outcomes: string[]; readonly ms: number }> {
  const begunAtMs = performance.now()
  const outcomes = await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const answer = await (boxes[index % boxes.length] as Box).ask()
      const text = await answer.text()
      return answer.ok ? 'ok' : `${answer.status} ${text}`
    }),
  )
  return { outcomes: outcomes.filter((outcome) => outcome !== 'ok'), ms: performance.now() - begunAtMs }
}

/** Stops the model wherever it runs, and waits until every machine knows that it is cold. */
async function cool({ all }: Boxes): Promise<void> {
  await Promise.all(all.map((box) => box.run('stop', 'llama')))
  const endsAtMs = performance.now() + 20_000
  for (;;) {
    const seen = await Promise.all(
      all.map(async (box) => {
        const { members } = (await box.json('/api/members')) as {
          members: { services: Record<string, { state: string } | undefined> }[]
        }
        return members.every(({ services }) => (services.llama?.state ?? 'cold') === 'cold')
      }),
    )
    if (seen.every(Boolean)) return
    if (performance.now() > endsAtMs) throw new Error('a model stays up')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

const startsOf = ({ all }: Boxes) => all.reduce((sum, box) => sum + box.starts(), 0)
const noneLost = ({ all }: Boxes) => all.every(({ log }) => !/is lost/.test(log))

describeWithNats('three NATS servers', () => {
  test(
    'one dies, then two, then all are back: one start each time, no stream is cut (rows 13, 14)',
    patience,
    async ({ expect }) => {
      await using nats = await startNatsCluster()
      const { servers } = nats
      await using boxes = await createBoxes([], {}, servers[0])
      const leader = await nats.untilReady()
      for (const [index, name] of names.entries()) {
        const urls = names.map((_, place) => servers[(index + place) % 3]?.url ?? '')
        await boxes.add(name, {
          flags: ['--load-ms', '400', '--token-delay-ms', '50'],
          cluster: { servers: urls, claimReplicas: 3 },
        })
      }
      const streaming = await boxes.add('stream', {
        providers: ['phi'],
        flags: ['--token-delay-ms', '50'],
        cluster: { servers: servers.map(({ url }) => url), claimReplicas: 3 },
      })
      await Promise.all(boxes.all.map((box) => box.start()))
      await boxes.untilJoined()
      const three = boxes.all.slice(0, 3)
      const stream = (three[0] as Box)
        .ask({ model: 'phi/m', text: 'count to 200', stream: true })
        .then((answer) => answer.text())
      const whole: unknown[] = []
      const round = async (what: string) => {
        const before = startsOf(boxes)
        const { outcomes, ms } = await askAll(three, 30)
        whole.push([what, outcomes, startsOf(boxes) - before, ms < 12_000])
        await cool(boxes)
      }
      await expect.poll(() => streaming.starts(), { timeout: 15_000 }).toBe(1)
      await round('all three')
      await servers[leader]?.kill()
      await round('the one that leads is dead')
      const second = (leader + 1) % 3
      await servers[second]?.kill()
      await round('no quorum')
      await Promise.all([leader, second].map((place) => servers[place]?.start()))
      await nats.untilReady()
      await round('all are back')
      expect(whole).toEqual(
        ['all three', 'the one that leads is dead', 'no quorum', 'all are back'].map((what) => [
          what,
          [],
          1,
          true,
        ]),
      )
      expect(await stream).toMatch(/ 200"[\s\S]*data: \[DONE\]\s*$/)
      expect(noneLost(boxes)).toBe(true)
    },
  )

  test.skipIf(!hasNamespaces)(
    `the cable of the one that the preferred machine uses is pulled: one start, no machine is lost${hasNamespaces ? '' : ' (skipped: no network namespaces)'} (rows 9, 13, T10)`,
    patience,
    async ({ expect }) => {
      using network = createNetwork(6)
      const [machines, places] = [network.machines.slice(0, 3), network.machines.slice(3)]
      await using nats = await startNatsCluster(places)
      await using boxes = await createBoxes([], {}, nats.servers[0])
      await nats.untilReady()
      for (const [index, name] of names.entries()) {
        const { address: host, prefix } = machines[index] ?? { address: '', prefix: [] }
        const urls = names.map((_, place) => nats.servers[(index + place) % 3]?.url ?? '')
        await boxes.add(name, {
          flags: ['--load-ms', '400'],
          host,
          prefix,
          cluster: { servers: urls, claimReplicas: 3 },
        })
      }
      await Promise.all(boxes.all.map((box) => box.start()))
      await boxes.untilJoined()
      const preferred = names.indexOf(chooseHome('llama', names) ?? '')
      network.machines[3 + preferred]?.plug(false)
      const { outcomes, ms } = await askAll(boxes.all, 30)
      expect([outcomes, startsOf(boxes)]).toEqual([[], 1])
      expect(ms).toBeLessThan(12_000)
      // It goes on with the next server.
      await boxes.all[preferred]?.until(/NATS is not reached[\s\S]*connected to NATS/)
      network.machines[3 + preferred]?.plug(true)
      expect((await askAll(boxes.all, 6)).outcomes).toEqual([])
      expect(noneLost(boxes)).toBe(true)
    },
  )
})
