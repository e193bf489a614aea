// @module-tag waits

import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import OpenAI from 'openai'
import { expect, test } from 'vitest'
import { createSupervisor } from '../../src/index.ts'
import { hasProcfs } from '../../src/process/tree.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { ask, isRunning, listen, writeAndLoad } from './library.ts'

const program = fileURLToPath(new URL('../../dist/src/testing/demo-server.js', import.meta.url))

const daemon = fileURLToPath(new URL('../fixtures/daemon.py', import.meta.url))

/** A supervisor of demo servers that share one place, and everything it says. */
async function createShared(
  ids: readonly string[],
  leasehold: object,
  service: object = {},
  {
    port: fixedPort,
    special = {},
    ...options
  }: {
    readonly port?: number
    readonly stateDir?: string
    readonly special?: Readonly<Record<string, object>>
  } = {},
) {
  const providers = await Promise.all(
    ids.map(async (id) => {
      const port = fixedPort ?? (await findFreePort())
      const localService = {
        command: process.execPath,
        args: [program, '--port', String(port)],
        healthUrl: `http://127.0.0.1:${port}/health`,
        minResidencyMs: 0,
        ...service,
        ...special[id],
      }
      return [id, { baseUrl: `http://127.0.0.1:${port}/v1`, models: [{ id: 'demo' }], localService }]
    }),
  )
  const config = await writeAndLoad(
    JSON.stringify({ models: { mode: 'replace', providers: Object.fromEntries(providers) }, leasehold }),
  )
  const supervisor = createSupervisor({ config, ...options })
  const openai = new OpenAI({
    baseURL: 'http://leasehold/v1',
    apiKey: 'unused',
    fetch: supervisor.fetch,
    maxRetries: 0,
  })
  return {
    supervisor,
    hearing: listen(supervisor),
    chat: async (id: string) => {
      const stream = await openai.chat.completions.create({
        model: `${id}/demo`,
        messages: ask('What is 17 * 3?'),
        stream: true,
      })
      let text = ''
      for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
      return text
    },
    [Symbol.asyncDispose]: () => supervisor.close({ force: true }),
  }
}

test('two exclusive services are never alive together under ABAB traffic, and every stream is whole (fault 80)', async () => {
  await using house = await createShared(['a', 'b'], { groups: { gpu: ['a', 'b'] } }, { maxStarveMs: 200 })
  const { hearing, supervisor } = house
  const pids = new Map<string, number>()
  const together: string[] = []
  supervisor.events$.subscribe((event) => {
    if (event.type !== 'process.spawned') return
    for (const [key, pid] of pids)
      if (key !== event.key && isRunning(pid)) together.push(`${pid} ${event.pid}`)
    pids.set(event.key, event.pid)
  })
  const answers = []
  for (const id of ['a', 'b', 'a', 'b']) answers.push(await house.chat(id))
  answers.push(...(await Promise.all(['a', 'b', 'a', 'b', 'a', 'b', 'a', 'b'].map(house.chat))))

  expect(answers).toEqual(Array(12).fill('17 * 3 = 51.'))
  expect(together).toEqual([])
  expect(hearing.all('process.spawned').length).toBeGreaterThanOrEqual(4)
  // Between two spawns of different services stands the receipt of the first.
  const runs = hearing.events.filter(({ type }) => type === 'process.spawned' || type === 'process.settled')
  expect(runs.map(({ type }) => type).join(' ')).toMatch(
    /^process\.spawned( process\.settled process\.spawned)*$/,
  )
  const made = hearing.all('scheduler.decided').filter(({ choice }) => choice.type === 'evict')
  expect(made.every(({ choice }) => choice.taken.length === 1)).toBe(true)
  const [evicted] = supervisor.snapshot().services.filter(({ state }) => state === 'down.cold')
  expect(evicted?.whyText).toMatch(/needs the place of the group gpu: [ab] had to stop for it/)
}, 120_000)

test('one client that tries three models of a group in turn waits for no minimum residency', async () => {
  const group = { groups: { gpu: ['a', 'b', 'c'] } }
  await using house = await createShared(['a', 'b', 'c'], group, { minResidencyMs: 600_000 })
  for (const id of ['a', 'b', 'c', 'a', 'c']) expect(await house.chat(id)).toBe('17 * 3 = 51.')
  const causes = house.hearing.all('scheduler.decided').map(({ because }) => because.cause)
  expect(new Set(causes)).toEqual(new Set(['fits', 'idle-cheapest', 'room-made']))
}, 60_000)

test('a start that was asked for says who holds the room instead of waiting for it', async () => {
  await using house = await createShared(['a', 'b'], { groups: { gpu: ['a', 'b'] } })
  const lease = await house.supervisor.acquire('a/demo')
  await expect(house.supervisor.start('b')).rejects.toMatchObject({
    code: 'LEASEHOLD_NO_ROOM',
    message: expect.stringContaining('a is in use'),
  })
  lease.release()
  await expect(house.supervisor.start('b')).resolves.toMatchObject({ state: 'ready' })
}, 60_000)

test.skipIf(!hasProcfs || !existsSync('/usr/bin/python3'))(
  'the room of a service is kept while something listens at its address after its stop, and free when that is gone',
  async ({ expect, onTestFinished }) => {
    const port = await findFreePort()
    const args = [daemon, String(port), 'stays', process.execPath, program, '--port', String(port)]
    const needs = { needs: { vramMiB: 6 } }
    const special = { a: { command: '/usr/bin/python3', args, healthUrl: `http://127.0.0.1:${port}/health` } }
    await using house = await createShared(['a', 'b'], { budgets: { vramMiB: 10 } }, needs, { special })
    const { supervisor, hearing } = house
    await expect(supervisor.start('a')).rejects.toMatchObject({
      code: 'LEASEHOLD_FOREIGN_SERVER',
      message: expect.stringMatching(
        /left the session of its launcher with a cleaned environment, so nothing proves that it is ours\. End it, and have command run the server in the foreground/,
      ),
    })
    const { receipt } = await hearing.until('process.settled')
    const [{ pid } = { pid: 0 }] = receipt.portHolder?.strangers ?? []
    onTestFinished(() => {
      if (isRunning(pid)) process.kill(pid, 'SIGKILL')
    })
    expect(receipt).toMatchObject({ survivors: [], isPortHeld: true, portHolder: { port } })
    expect(hearing.all('stop.incomplete')).toMatchObject([
      { failure: { message: expect.stringContaining(`process ${pid} (`) } },
    ])

    await expect(supervisor.start('b')).rejects.toMatchObject({
      code: 'LEASEHOLD_NO_ROOM',
      message: expect.stringContaining(`did not end when it was stopped (end process ${pid} by hand)`),
    })
    const waiting = supervisor.acquire('b/demo')
    const isWaiting = () => supervisor.service('b').explanation.advice.map(({ text }) => text)
    await expect
      .poll(isWaiting)
      .toContainEqual(`What is left of a after its stop still counts: end process ${pid} by hand.`)
    expect(hearing.all('process.spawned')).toHaveLength(1)

    process.kill(pid, 'SIGKILL')
    const lease = await waiting
    expect(supervisor.service('b')).toMatchObject({ state: 'leased.open', ownership: 'owned' })
    lease.release()
  },
  60_000,
)

test('a start that was asked for takes the room of one that has just come up, whatever stays beside both', async () => {
  const special = { pinned: { needs: { vramMiB: 2 }, pinned: true }, fresh: { minResidencyMs: 2_000 } }
  await using house = await createShared(
    ['pinned', 'fresh', 'next'],
    { budgets: { vramMiB: 24 } },
    { needs: { vramMiB: 20 } },
    { special },
  )
  await house.supervisor.start('pinned')
  await house.supervisor.start('fresh')
  await expect(house.supervisor.start('next')).resolves.toMatchObject({ state: 'ready' })
  expect(house.supervisor.snapshot().services.map(({ state }) => state)).toEqual([
    'ready',
    'down.cold',
    'ready',
  ])
}, 60_000)

test('a request that only a pinned service keeps out is refused at once, with its name and what to do', async () => {
  const special = { kept: { pinned: true } }
  await using house = await createShared(
    ['kept', 'other'],
    { groups: { gpu: ['kept', 'other'] } },
    {},
    { special },
  )
  const { supervisor, hearing } = house
  await supervisor.start('kept')
  const refused = {
    code: 'LEASEHOLD_NO_ROOM',
    message: expect.stringMatching(/kept holds that room and is pinned: stop kept, or remove pinned/),
  }
  await expect(supervisor.acquire('other/demo')).rejects.toMatchObject(refused)
  await expect(supervisor.start('other')).rejects.toMatchObject(refused)
  await expect(house.chat('other')).rejects.toMatchObject({ status: 503, code: 'LEASEHOLD_NO_ROOM' })
  expect(supervisor.service('other')).toMatchObject({
    state: 'down.cold',
    whyText: expect.stringContaining('kept holds that room and is pinned'),
    queue: [],
  })
  expect(hearing.all('process.spawned')).toHaveLength(1)
  await supervisor.stop('kept')
  expect(await house.chat('other')).toBe('17 * 3 = 51.')
}, 60_000)

test('a request that waits for room in use gets no estimate', async ({ expect }) => {
  await using house = await createShared(['a', 'b'], { groups: { gpu: ['a', 'b'] } })
  await house.supervisor.start('b')
  const lease = await house.supervisor.acquire('a/demo')
  const waiting = house.supervisor.acquire('b/demo')
  await expect
    .poll(() => house.supervisor.snapshot().services[1], { timeout: 20_000 })
    .toMatchObject({ state: 'starting.claiming', startTimes: { count: 1 }, queue: [{ estimatedMs: null }] })
  lease.release()
  await expect(waiting).resolves.toMatchObject({ owned: true })
}, 60_000)

test('a request that waited too long for room is told who held it', async () => {
  await using house = await createShared(['a', 'b'], { groups: { gpu: ['a', 'b'] } }, { maxQueueMs: 2_000 })
  await house.supervisor.acquire('a/demo')
  await expect(house.supervisor.acquire('b/demo')).rejects.toMatchObject({
    code: 'LEASEHOLD_QUEUE_TIMEOUT',
    message: expect.stringContaining('a is in use'),
  })
}, 60_000)

test('what is to be preloaded comes up without a request, within the budget', async () => {
  await using house = await createShared(
    ['a', 'b', 'c'],
    { budgets: { vramMiB: 20 }, preload: ['b', 'c'] },
    { needs: { vramMiB: 8 } },
  )
  await house.hearing.until('service.state', ({ service, to }) => service === 'b' && to === 'ready')
  await house.hearing.until('service.state', ({ service, to }) => service === 'c' && to === 'ready')
  expect(house.supervisor.snapshot().services.map(({ state }) => state)).toEqual([
    'down.cold',
    'ready',
    'ready',
  ])
}, 60_000)

test('preloading takes no room of a service that was preloaded before', async () => {
  await using house = await createShared(['a', 'b'], { groups: { gpu: ['a', 'b'] }, preload: ['a', 'b'] })
  await house.hearing.until('scheduler.decided', ({ because }) => because.cause === 'preload')
  await house.hearing.until('service.state', ({ service, to }) => service === 'a' && to === 'ready')
  expect(house.supervisor.snapshot().services).toMatchObject([
    { state: 'ready' },
    { state: 'down.cold', why: { kind: 'declined' }, queue: [] },
  ])
  // A request for it gets it.
  await expect(house.supervisor.acquire('b/demo')).resolves.toMatchObject({ owned: true })
}, 60_000)

test('a request that waits for an unmeasured service gets room as soon as that is measured', async () => {
  await using house = await createShared(
    ['a', 'b'],
    { budgets: { ramMiB: 4_000 }, heartbeatMs: 100 },
    {},
    { special: { b: { needs: { ramMiB: 100 } } } },
  )
  await using first = await house.supervisor.acquire('a/demo')
  await using second = await house.supervisor.acquire('b/demo')
  expect([first.owned, second.owned]).toEqual([true, true])
  expect(
    house.hearing.all('scheduler.decided').map(({ service, because }) => [service, because.cause]),
  ).toEqual([
    ['a', 'fits'],
    ['b', 'no-room'],
    ['b', 'fits'],
  ])
}, 60_000)

test('a service that declares no need is given the room that its earlier runs took', {
  tags: ['proof'],
  timeout: 120_000,
}, async ({ expect }) => {
  const stateDir = await mkdtemp(join(tmpdir(), 'leasehold-learned-'))
  try {
    const budgets = { budgets: { ramMiB: 4_000 }, heartbeatMs: 100 }
    // Another port would be another service.
    const port = await findFreePort()
    const needOf = async () => {
      await using house = await createShared(['a'], budgets, {}, { port, stateDir })
      const lease = await house.supervisor.acquire('a/demo')
      await expect
        .poll(() => house.supervisor.snapshot().services[0]?.memory?.peakBytes ?? 0, { timeout: 30_000 })
        .toBeGreaterThan(10 * 1_048_576)
      expect(house.supervisor.snapshot().services[0]?.startTimes?.count).toBeGreaterThan(0)
      lease.release()
      const [start] = house.hearing.all('scheduler.decided')
      await house.supervisor.stop('a')
      expect(house.supervisor.snapshot().services[0]?.memory).toBeNull()
      return start?.because.needed
    }
    // It was never seen to run.
    expect(await needOf()).toMatchObject([{ limit: 'ramMiB', amount: 4_000, isUnmeasured: true }])
    const [learned] = (await needOf()) ?? []
    expect(learned).toMatchObject({ limit: 'ramMiB', isUnmeasured: false })
    expect(learned?.amount).toBeGreaterThan(10)
    expect(learned?.amount).toBeLessThan(1_000)
  } finally {
    await rm(stateDir, { recursive: true })
  }
})

test('budgets tell who holds their room, and the timeline tells what was decided and how the room changed', async ({
  expect,
}) => {
  await using shared = await createShared(
    ['a', 'b'],
    { budgets: { vramMiB: 100 } },
    {},
    { special: { a: { needs: { vramMiB: 70 } }, b: { needs: { vramMiB: 60 } } } },
  )
  const { supervisor, chat } = shared
  await chat('a')
  const [a, b] = supervisor.snapshot().services
  expect(supervisor.snapshot().budgets).toEqual([
    {
      name: 'vramMiB',
      capacity: 100,
      holds: [
        { key: a?.key, service: 'a', amount: 70, isLearned: false, isUnmeasured: false, phase: 'idle' },
      ],
      wants: [],
    },
  ])
  const asking = chat('b')
  await expect
    .poll(() => supervisor.snapshot().budgets[0]?.wants, { interval: 1, timeout: 20_000 })
    .toEqual([{ key: b?.key, service: 'b', amount: 60, isUnmeasured: false, waiting: 1 }])
  await asking
  const { lanes, decisions, room, atMs } = supervisor.timeline()
  expect(decisions).toMatchObject([
    {
      key: b?.key,
      service: 'b',
      cause: 'idle-cheapest',
      taken: [{ key: a?.key, service: 'a', how: 'evict' }],
    },
  ])
  expect(room.map(({ held }) => held.vramMiB)).toEqual([0, 70, 60])
  const statesOf = (key = '') => lanes.find((lane) => lane.key === key)?.changes.map(([, state]) => state)
  // A stop may sweep.
  expect(statesOf(a?.key)?.filter((state) => state !== 'idle-stopping.sweeping')).toEqual([
    'down.cold',
    'probing',
    'starting.claiming',
    'starting.spawning',
    'starting.warming',
    'leased.open',
    'ready',
    'idle-stopping.terminating',
    'down.cold',
  ])
  expect(statesOf(b?.key)?.at(-1)).toMatch(/^(leased\.open|ready)$/)
  const times = lanes.flatMap(({ changes }) => changes.map(([ms]) => ms))
  expect(Math.max(...times)).toBeLessThanOrEqual(atMs)
})
