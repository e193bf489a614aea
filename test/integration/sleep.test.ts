// @module-tag waits

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { test } from 'vitest'
import { createSupervisor } from '../../src/index.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { isRunning, listen, writeAndLoad } from './library.ts'

const sleeper = fileURLToPath(new URL('../fixtures/sleeper.mjs', import.meta.url))

interface Asleep {
  readonly is_sleeping: boolean
}

interface HouseOptions {
  /** Flags of each service's server. */
  readonly flags?: Readonly<Record<string, readonly string[]>>
  readonly service?: Readonly<Record<string, unknown>>
  readonly sleep?: Readonly<Record<string, unknown>>
  readonly leasehold?: Readonly<Record<string, unknown>>
}

/** A supervisor of services whose servers sleep, each with what its server has seen. */
async function createHouse({
  flags = { a: [] },
  service = {},
  sleep = {},
  leasehold = {},
}: HouseOptions = {}) {
  const ids = Object.keys(flags)
  const ports = await Promise.all(ids.map(() => findFreePort()))
  const providers = ids.map((id, index) => {
    const origin = `http://127.0.0.1:${ports[index]}`
    const localService = {
      command: process.execPath,
      args: ['--expose-gc', sleeper, '--port', String(ports[index]), ...(flags[id] ?? [])],
      healthUrl: `${origin}/health`,
      ...service,
      sleep: {
        afterMs: 50,
        request: [{ path: '/sleep?level=1' }],
        wake: [{ path: '/wake_up' }],
        check: { path: '/is_sleeping', field: 'is_sleeping' },
        ...sleep,
      },
    }
    return [id, { baseUrl: `${origin}/v1`, models: [{ id: 'demo' }], localService }]
  })
  const config = await writeAndLoad(
    JSON.stringify({
      models: { mode: 'replace', providers: Object.fromEntries(providers) },
      leasehold: { backoffMs: 10, heartbeatMs: 50, ...leasehold },
    }),
  )
  const supervisor = createSupervisor({ config })
  const hearing = listen(supervisor)
  return {
    supervisor,
    ...hearing,
    hearing,
    ports,
    /** Settles when a service was in a state this many times. */
    until: (id: string, state: string, times = 1) => {
      let count = 0
      return hearing.until('service.state', ({ service, to }) => {
        if (service === id && to === state) count += 1
        return count === times
      })
    },
    /** Uses a service once; what its server has seen, asked under the lease. */
    use: async (id: string) => {
      const lease = await supervisor.acquire(`${id}/demo`)
      const seen = await fetch(`${lease.baseUrl}/seen`)
      lease.release()
      return (await seen.json()) as { readonly pid: number; readonly seen: readonly string[] }
    },
    held: (budget: string) =>
      Object.fromEntries(
        (supervisor.snapshot().budgets.find(({ name }) => name === budget)?.holds ?? []).map(
          ({ service: name, amount }) => [name, amount],
        ),
      ),
    [Symbol.asyncDispose]: () => supervisor.close({ force: true }),
  }
}

test('an idle server sleeps, and the next request wakes it: the same process, and nothing was asked of it in between', async ({
  expect,
}) => {
  await using house = await createHouse({ service: { idleStopMs: 60_000 } })
  const before = await house.use('a')
  await house.until('a', 'ready.asleep')
  expect(house.supervisor.service('a')).toMatchObject({
    state: 'ready.asleep',
    pid: before.pid,
    explanation: { title: 'Asleep', tone: 'rest' },
  })
  // A few heartbeats.
  await new Promise((resolve) => setTimeout(resolve, 200))
  const after = await house.use('a')
  expect(after.pid).toBe(before.pid)
  const asked = new Set(after.seen.filter((line) => !line.endsWith(' awake')))
  for (const passing of ['falling', 'rising']) asked.delete(`GET /is_sleeping ${passing}`)
  expect([...asked]).toEqual(['GET /is_sleeping asleep', 'POST /wake_up asleep'])
})

test('a request that comes between the request to sleep and its end waits for the wake (fault E-18)', async ({
  expect,
}) => {
  await using house = await createHouse({ flags: { a: ['--sleep-ms', '200'] } })
  const { pid } = await house.use('a')
  await house.until('a', 'ready.falling-asleep')
  const after = await house.use('a')
  expect(after.pid).toBe(pid)
  expect(house.all('process.exited')).toEqual([])
  expect(after.seen).toContain('POST /wake_up asleep')
})

test('an answer of 200 to the request to sleep is not believed: the server is stopped, and the waiter gets a new one (fault E-17)', async ({
  expect,
}) => {
  const request = [{ path: '/sleep?level=1', timeoutMs: 300 }]
  await using house = await createHouse({ flags: { a: ['--deaf'] }, sleep: { request } })
  const { pid } = await house.use('a')
  await house.until('a', 'ready.falling-asleep')
  const after = await house.use('a')
  expect(after.pid).not.toBe(pid)
  const stop = await house.until('a', 'idle-stopping.terminating')
  expect(stop.why).toMatchObject({ kind: 'sleep-failed', during: 'sleep' })
  expect(house.all('service.state').map(({ to }) => to)).not.toContain('ready.asleep')
  expect(isRunning(pid)).toBe(false)
})

test('a server that closes its port on the way to sleep and back stays the same process, and no request fails', async ({
  expect,
}) => {
  const times = ['--sleep-ms', '300', '--wake-ms', '300']
  await using house = await createHouse({ flags: { a: ['--closes', ...times] } })
  const { pid } = await house.use('a')
  await house.until('a', 'ready.falling-asleep')
  // One that comes while the port is closed, and one that wakes it.
  expect((await house.use('a')).pid).toBe(pid)
  await house.until('a', 'ready.asleep', 2)
  expect((await house.use('a')).pid).toBe(pid)
  expect(house.all('process.exited')).toEqual([])
  expect(house.all('lease.refused')).toEqual([])
})

test('a server that another program put to sleep is woken before the next request, however good its health check is', async ({
  expect,
}) => {
  await using house = await createHouse({ flags: { a: ['--empty'] }, sleep: { afterMs: 0 } })
  const { pid } = await house.use('a')
  await fetch(`http://127.0.0.1:${house.ports[0]}/sleep?level=1`, { method: 'POST' })
  await house.until('a', 'ready.asleep')
  const after = await house.use('a')
  expect(after.pid).toBe(pid)
  expect(after.seen.filter((line) => line.startsWith('GET /v1/seen '))).toEqual([
    'GET /v1/seen awake',
    'GET /v1/seen awake',
  ])
  expect(house.all('process.exited')).toEqual([])
})

test('a wake that fails is a stop and a cold start, and the waiter keeps its place (fault E-19)', async ({
  expect,
}) => {
  await using house = await createHouse({ flags: { a: ['--wake-fails'] } })
  const { pid } = await house.use('a')
  await house.until('a', 'ready.asleep')
  const after = await house.use('a')
  expect(after.pid).not.toBe(pid)
  const stop = await house.until('a', 'idle-stopping.terminating')
  expect(stop.why).toMatchObject({
    kind: 'sleep-failed',
    during: 'wake',
    detail: 'POST /wake_up answered 500 {"error":"CUDA out of memory"}',
  })
  expect(house.all('lease.refused')).toEqual([])
  expect(house.supervisor.service('a').failures).toBe(0)
})

test('a server that ends while it sleeps is started again, and its room is free at the receipt only (fault E-20)', async ({
  expect,
}) => {
  await using house = await createHouse({
    service: { needs: { vramMiB: 20 } },
    sleep: { needs: { vramMiB: 2 } },
    leasehold: { budgets: { vramMiB: 24 } },
  })
  const { pid } = await house.use('a')
  await house.until('a', 'ready.asleep')
  expect(house.held('vramMiB')).toEqual({ a: 2 })
  process.kill(pid, 'SIGKILL')
  await house.until('a', 'down.backoff')
  await house.hearing.until('process.settled')
  expect(house.held('vramMiB')).toEqual({})
  const after = await house.use('a')
  expect(after.pid).not.toBe(pid)
  expect(house.held('vramMiB')).toEqual({ a: 20 })
})

test('two services that do not fit together take turns by sleep, and neither is started twice', async ({
  expect,
}) => {
  await using house = await createHouse({
    flags: { a: [], b: [] },
    service: { needs: { vramMiB: 20 }, minResidencyMs: 0 },
    sleep: { afterMs: 0, needs: { vramMiB: 2 } },
    leasehold: { budgets: { vramMiB: 24 } },
  })
  const pids: Record<string, number[]> = { a: [], b: [] }
  for (const id of ['a', 'b', 'a', 'b', 'a']) {
    pids[id]?.push((await house.use(id)).pid)
    const total = Object.values(house.held('vramMiB')).reduce((sum, amount) => sum + amount, 0)
    expect(total).toBeLessThanOrEqual(24)
    expect(house.held('vramMiB')[id]).toBe(20)
  }
  expect(new Set(pids.a).size).toBe(1)
  expect(new Set(pids.b).size).toBe(1)
  expect(house.all('process.signalled')).toEqual([])
  const decided = house.all('scheduler.decided')
  expect(
    decided.filter(({ choice }) => choice.type === 'evict').map(({ choice }) => choice.taken[0]?.how),
  ).toEqual(['sleep', 'sleep', 'sleep', 'sleep'])
  expect(house.supervisor.service('b').whyText).toBe('its check says that it sleeps')
})

test('a server that another client woke is stopped before its room is used, by a start and by a wake', async ({
  expect,
}) => {
  await using house = await createHouse({
    flags: { a: [], b: [] },
    service: { needs: { vramMiB: 20 }, minResidencyMs: 0 },
    sleep: { needs: { vramMiB: 2 } },
    // No heartbeat tells of it in time.
    leasehold: { budgets: { vramMiB: 24 }, heartbeatMs: 600_000 },
  })
  const wake = async (index: number) => {
    const origin = `http://127.0.0.1:${house.ports[index]}`
    await fetch(`${origin}/wake_up`, { method: 'POST' })
    const sleeps = async () => ((await (await fetch(`${origin}/is_sleeping`)).json()) as Asleep).is_sleeping
    await expect.poll(sleeps, { timeout: 15_000 }).toBe(false)
  }
  const listLives = () =>
    house.hearing.events.flatMap((event) =>
      event.type === 'process.spawned' || event.type === 'process.settled'
        ? [`${event.service} ${event.type}`]
        : [],
    )

  await house.use('a')
  await house.until('a', 'ready.asleep')
  await wake(0)
  await house.use('b')
  const first = ['a process.spawned', 'a process.settled', 'b process.spawned']
  expect(listLives()).toEqual(first)

  await house.until('b', 'ready.asleep')
  const { pid } = await house.use('a')
  await house.until('a', 'ready.asleep', 2)
  await wake(1)
  expect((await house.use('a')).pid).toBe(pid)
  expect(listLives()).toEqual([...first, 'a process.spawned', 'b process.settled'])
  expect(house.all('lease.refused')).toEqual([])
})

test('what a server needs asleep is measured 2 s after it fell asleep, where it is not stated', async ({
  expect,
}) => {
  await using house = await createHouse({ leasehold: { budgets: { ramMiB: 4000 } } })
  await house.use('a')
  await house.until('a', 'ready.asleep')
  const before = house.held('ramMiB').a ?? 0
  await expect.poll(() => house.held('ramMiB').a, { timeout: 6_000 }).toBeLessThan(before)
  expect(house.held('ramMiB').a).toBeGreaterThan(0)
})

test('what a server is asked beside its requests is not asked while it sleeps', async ({ expect }) => {
  await using house = await createHouse({ flags: { a: ['--list-ms', '200'] } })
  const { pid } = await house.use('a')
  await house.until('a', 'ready.asleep')
  // Its list would have come by now, and with it the next question.
  await new Promise((resolve) => setTimeout(resolve, 300))
  const after = await house.use('a')
  expect(after.pid).toBe(pid)
  expect(after.seen.filter((line) => line.startsWith('GET /props') && !line.endsWith(' awake'))).toEqual([])
  expect(house.all('process.exited')).toEqual([])
})

test('a server that leasehold did not start is asked nothing while it sleeps, and used as soon as it is awake', async ({
  expect,
}) => {
  await using house = await createHouse()
  const origin = `http://127.0.0.1:${house.ports[0]}`
  const server = spawn(process.execPath, [sleeper, '--port', String(house.ports[0]), '--asleep'])
  try {
    await expect
      .poll(() =>
        fetch(`${origin}/is_sleeping`).then(
          ({ ok }) => ok,
          () => false,
        ),
      )
      .toBe(true)
    const lease = house.supervisor.acquire('a/demo')
    lease.catch(() => {})
    await house.until('a', 'starting.warming')
    // A few polls.
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(house.supervisor.service('a')).toMatchObject({
      state: 'starting.warming',
      verdict: { kind: 'loading', detail: expect.stringContaining('it sleeps') },
    })
    await fetch(`${origin}/wake_up`, { method: 'POST' })
    const { baseUrl, release } = await lease
    const { pid } = (await (await fetch(`${baseUrl}/seen`)).json()) as { readonly pid: number }
    expect(pid).toBe(server.pid)
    release()
  } finally {
    server.kill()
    if (server.exitCode === null) await once(server, 'exit')
  }
})

test('a server that was in use when another one starved sleeps when its last lease ends, and is not started again', async ({
  expect,
}) => {
  await using house = await createHouse({
    flags: { a: [], b: [] },
    service: { needs: { vramMiB: 20 }, minResidencyMs: 0, maxStarveMs: 100 },
    sleep: { afterMs: 0, needs: { vramMiB: 2 } },
    leasehold: { budgets: { vramMiB: 24 } },
  })
  const { pid } = await house.use('a')
  const lease = await house.supervisor.acquire('a/demo')
  const other = house.use('b')
  await house.until('a', 'leased.draining')
  lease.release()
  await other
  expect(house.supervisor.service('a')).toMatchObject({ state: 'ready.asleep', pid })
  expect(house.held('vramMiB')).toEqual({ a: 2, b: 20 })
  expect(house.all('process.signalled')).toEqual([])
  expect((await house.use('a')).pid).toBe(pid)
})
