// @module-tag proof
import { describe, test } from 'vitest'
import { type Box, type Boxes, createBoxes } from './boxes.ts'
import { createNetwork, hasNamespaces, type Network } from './namespaces.ts'
import { hasNatsServer, startNatsServer } from './nats-server.ts'

const canRun = hasNatsServer && hasNamespaces

interface Wired extends AsyncDisposable {
  readonly network: Network
  readonly boxes: Boxes
  readonly tower: Box
  readonly attic: Box
  readonly cellar: Box
}

/** Three machines, each with a cable of its own; NATS is at the hub. */
async function createWired(flags: readonly string[] = [], cluster: object = {}): Promise<Wired> {
  const network = createNetwork(3)
  const nats = await startNatsServer({ host: network.hub })
  const boxes = await createBoxes([], {}, nats)
  for (const [index, name] of ['tower', 'attic', 'cellar'].entries()) {
    const machine = network.machines[index]
    if (machine === undefined) throw new Error('there is no such machine')
    await boxes.add(name, { flags, cluster, host: machine.address, prefix: machine.prefix })
  }
  const [tower, attic, cellar] = boxes.all as [Box, Box, Box]
  await Promise.all(boxes.all.map((box) => box.start()))
  await boxes.untilJoined()
  return {
    network,
    boxes,
    tower,
    attic,
    cellar,
    [Symbol.asyncDispose]: async () => {
      await boxes[Symbol.asyncDispose]()
      network[Symbol.dispose]()
    },
  }
}

/** The machine whose server runs, and two others. */
function findOwner({ boxes }: Wired): { owner: Box; ownerIndex: number; others: readonly Box[] } {
  const ownerIndex = boxes.all.findIndex((box) => box.starts() > 0)
  const owner = boxes.all[ownerIndex]
  if (owner === undefined) throw new Error('no machine has started the server')
  return { owner, ownerIndex, others: boxes.all.filter((box) => box !== owner) }
}

describe.skipIf(!canRun)(
  `cables${canRun ? '' : ' (skipped: no nats-server, or no network namespaces)'}`,
  () => {
    test('of an owner is pulled: requests that wait there are answered elsewhere, and it comes back (row 6)', async ({
      expect,
    }) => {
      await using wired = await createWired(['--first-token-ms', '6000'])
      expect((await wired.attic.ask({ text: 'hello' })).status).toBe(200)
      const { owner, ownerIndex, others } = findOwner(wired)
      const [asked] = others as [Box, Box]
      const waiting = Array.from({ length: 8 }, () => asked.ask())
      await new Promise((resolve) => setTimeout(resolve, 500))
      const pulledAtMs = performance.now()
      wired.network.machines[ownerIndex]?.plug(false)
      await asked.until(new RegExp(`member ${owner.name} is lost`))
      const lostMs = performance.now() - pulledAtMs
      const answers = await Promise.all(waiting)
      expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200))
      expect(lostMs).toBeLessThan(4000)
      wired.network.machines[ownerIndex]?.plug(true)
      await asked.until(new RegExp(`is lost[\\s\\S]*member ${owner.name} .*is there`))
    })

    test('of a gateway is pulled: the leases of its requests end at the owner (row 7)', async ({
      expect,
    }) => {
      await using wired = await createWired(['--token-delay-ms', '200'])
      expect((await wired.attic.ask({ text: 'hello' })).status).toBe(200)
      const { owner, others } = findOwner(wired)
      const [gateway] = others as [Box, Box]
      const leaving = new AbortController()
      const gatewayIndex = wired.boxes.all.indexOf(gateway)
      const streams = Array.from({ length: 4 }, async () => {
        const answer = await gateway.ask({
          text: 'count to 500',
          stream: true,
          signal: leaving.signal,
        })
        await answer.text()
      })
      for (const stream of streams) stream.catch(() => {})
      const leasesOf = async () => {
        const { services } = (await owner.json('/api/services')) as {
          services: { service: string; leases: number }[]
        }
        return services.find(({ service }) => service === 'llama')?.leases
      }
      await expect.poll(leasesOf).toBe(4)
      const pulledAtMs = performance.now()
      wired.network.machines[gatewayIndex]?.plug(false)
      await expect.poll(leasesOf, { timeout: 8000 }).toBe(0)
      expect(performance.now() - pulledAtMs).toBeLessThan(4000)
      // Their cable is pulled, too: they would wait for ever.
      leaving.abort()
      await Promise.allSettled(streams)
    })

    test('to NATS alone is cut: streams are whole, the member is muted, and its own models are served (row 8)', async ({
      expect,
    }) => {
      await using wired = await createWired(['--token-delay-ms', '50'])
      expect((await wired.attic.ask({ text: 'hello' })).status).toBe(200)
      const { owner, ownerIndex, others } = findOwner(wired)
      const [asked] = others as [Box, Box]
      const stream = asked.ask({ text: 'count to 100', stream: true }).then((answer) => answer.text())
      await new Promise((resolve) => setTimeout(resolve, 500))
      wired.network.machines[ownerIndex]?.cutFrom(wired.network.hub)
      await asked.until(new RegExp(`member ${owner.name} is muted`))
      expect(await stream).toMatch(/ 100"[\s\S]*data: \[DONE\]\s*$/)
      expect((await asked.ask({ text: 'hello' })).status).toBe(200)
      expect(asked.log).not.toMatch(/is lost/)
    })

    test('that flaps loses no request (row 17)', { timeout: 120_000 }, async ({ expect }) => {
      await using wired = await createWired()
      expect((await wired.attic.ask({ text: 'hello' })).status).toBe(200)
      const { ownerIndex, others } = findOwner(wired)
      let isOver = false
      const outcomes: Promise<string>[] = []
      const load = async () => {
        for (let index = 0; !isOver; index += 1) {
          outcomes.push(
            (others[index % 2] as Box).ask({ text: 'hello' }).then(
              async (answer) => (answer.ok ? 'ok' : `${answer.status} ${await answer.text()}`),
              (error) => String(error),
            ),
          )
          await new Promise((resolve) => setTimeout(resolve, 100))
        }
      }
      const loading = load()
      for (let round = 0; round < 12; round += 1) {
        wired.network.machines[ownerIndex]?.plug(false)
        await new Promise((resolve) => setTimeout(resolve, 250))
        wired.network.machines[ownerIndex]?.plug(true)
        await new Promise((resolve) => setTimeout(resolve, 500))
      }
      isOver = true
      await loading
      expect((await Promise.all(outcomes)).filter((outcome) => outcome !== 'ok')).toEqual([])
    })
  },
)
