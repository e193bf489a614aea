// @module-tag proof

import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import type { SnapshotFrom } from 'xstate'
import type { supervisorMachine } from '../../machines/supervisor.ts'
import type { SupervisorContext } from '../../machines/supervisor-context.ts'
import {
  AbortedError,
  createSupervisor,
  ServiceError,
  type Supervisor,
  type SupervisorEvent,
} from '../../src/index.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { createSchedulerLedger } from '../../src/testing/scheduler-invariants.ts'
import {
  type Character,
  DEFAULT_KEY,
  keys,
  type Move,
  type Plan,
  TRAFFIC_EVERY_MS,
  TRAFFIC_HOLD_MS,
  toPlan,
  toReloaded,
  type Workload,
  workloads,
} from '../machines/workload.ts'
import { demoServer, isRunning, writeAndLoad } from './library.ts'

/** Times of a workload are divided by this. */
const SCALE = 10
/** A busy host may take its time. */
const STARVE_BOUND_MS = 120_000
/** A load without end. */
const NEVER_MS = 6_000_000
/** A timer may come so much too early. */
const EARLY_MS = 2
/** Enough to overtake whatever else happens. */
const MAX_TRAFFIC = 20

const seed = 12
const sampled = fc.sample(workloads, { seed, numRuns: 4 })
const seen = { started: 0, evicted: 0, served: 0, reloaded: 0 }

test.each(sampled.map((workload, index) => ({ number: index + 1, workload })))(
  `a random workload breaks no invariant of the scheduler with real processes, and leaves nothing (seed ${seed}, $number) (fault 80)`,
  async ({ workload }) => {
    const stage = await createStage(workload)
    try {
      for (const move of workload.moves) await stage.play(move)
      for (const outcome of await stage.outcomes()) {
        expect(outcome).toMatch(/^(served|left|LEASEHOLD_\w+)$/)
        expect(outcome).not.toBe('LEASEHOLD_QUEUE_TIMEOUT')
        if (outcome === 'served') seen.served += 1
      }
      await expect.poll(() => stage.context().queuedStarts, { timeout: STARVE_BOUND_MS }).toEqual([])
    } finally {
      await stage.supervisor.close({ force: true })
    }
    expect(stage.broken).toEqual([])
    expect(stage.pids.filter(isRunning)).toEqual([])
  },
  2 * STARVE_BOUND_MS,
)

// Books about nothing always balance. On a busy host no eviction may be needed: starts take longer than the requests wait.
afterAll(() => {
  const { evicted: _, ...always } = seen
  expect(Object.entries(always).filter(([, count]) => count === 0)).toEqual([])
})

/** A supervisor of six demo servers, with the books kept from its events alone. */
async function createStage(workload: Workload) {
  let plan = toScaled(toPlan(workload))
  const ports = await Promise.all(keys.map(() => findFreePort()))
  const supervisor = createSupervisor({ config: await writeAndLoad(toText(workload, plan, ports)) })
  const root = rootOf(supervisor)
  const context = (): SupervisorContext => root.getSnapshot().context
  const services = new Map(supervisor.snapshot().services.map(({ key, service }) => [key, service]))
  const idOf = (key: string) => services.get(key) ?? key

  const broken: string[] = []
  const pids: number[] = []
  const running = new Map<string, number>()
  const stops = new Map<string, string | null>()
  const heardAtMs = new Map<string, number>()
  let nowMs = 0
  const ledger = createSchedulerLedger({
    sharing: () => ({
      limits: plan.limits,
      shares: Object.fromEntries(
        [...services].flatMap(([key, id]) => {
          const share = plan.shares[id]
          // When its patience began is not among the events.
          return share === undefined
            ? []
            : [[key, { ...share, minResidencyMs: share.minResidencyMs - EARLY_MS, maxStarveMs: 0 }]]
        }),
      ),
    }),
    starveBoundMs: STARVE_BOUND_MS,
    nowMs: () => nowMs,
    stopOf: (key) => {
      const reason = stops.get(key)
      return reason === 'evicted' || reason === 'yielded' ? reason : null
    },
  })
  let isCheckDue = false
  const checkSoon = () => {
    if (isCheckDue) return
    isCheckDue = true
    // Between two events of the root: in the middle of one it knows less than was said already. What outlived its stop
    // holds its room until a check has found it gone, so that here room may be there for a while.
    setImmediate(() => {
      isCheckDue = false
      if (root.getSnapshot().status === 'active')
        for (const name of ledger.check(context()).filter((name) => name !== 'roomIsUsed'))
          broken.push(`${name} at ${nowMs} ms: ${toStanding(context())}`)
    })
  }
  supervisor.events$.subscribe((event) => {
    if (!('service' in event)) return
    const { key, atMs } = event
    nowMs = atMs
    if (event.type === 'machine.event') heardAtMs.set(key, atMs)
    if (event.type === 'service.state') {
      stops.set(key, event.reason)
      // The root heard of it between what the service was told and this.
      if (event.from.startsWith('starting.')) nowMs = heardAtMs.get(key) ?? atMs
    }
    if (event.type === 'process.spawned') {
      pids.push(event.pid)
      running.set(key, event.pid)
      const { exitAfterMs } = characterOf(workload, idOf(key)).world
      if (exitAfterMs != null) void sleep(exitAfterMs / SCALE).then(() => kill(event.pid))
    }
    if (event.type === 'process.exited') running.delete(key)
    const found = event.type === 'scheduler.decided' ? ledger.decide(event) : ledger.record(key, event)
    for (const name of found) broken.push(`${name}: ${JSON.stringify(event)}`)
    nowMs = atMs
    if (event.type === 'scheduler.decided') count(event)
    checkSoon()
  })
  const kill = (pid: number) => {
    // It may be gone already, which is told after its last output.
    if (![...running.values()].includes(pid) || !isRunning(pid)) return
    process.kill(pid, 'SIGKILL')
  }

  const outcomes: Promise<string>[] = []
  const hold = async (id: string, priority: number, holdMs: number, patienceMs: number | null) => {
    try {
      const lease = await supervisor.acquire(`${id}/demo`, {
        priority,
        ...(patienceMs === null ? {} : { signal: AbortSignal.timeout(patienceMs / SCALE) }),
      })
      await sleep(holdMs / SCALE)
      lease.release()
      return 'served'
    } catch (error) {
      if (error instanceof AbortedError) return 'left'
      return error instanceof ServiceError ? error.code : String(error)
    }
  }
  const traffic = (id: string, count: number) =>
    Array.from({ length: Math.min(count, MAX_TRAFFIC) }, async (_, index) => {
      await sleep((index * TRAFFIC_EVERY_MS) / SCALE)
      return hold(id, 0, TRAFFIC_HOLD_MS, null)
    })
  const reload = async (move: Extract<Move, { kind: 'reload' }>) => {
    const wanted = toReloaded(plan, move, [])
    if (wanted === null) return
    const config = await writeAndLoad(toText(workload, wanted, ports))
    const residents = context().residents.map((one) => ({ ...one, key: idOf(one.key) }))
    // Whether it fits can change while the file is read.
    if (toReloaded(plan, move, residents) === null) return
    plan = wanted
    seen.reloaded += 1
    await supervisor.replaceConfig(config)
  }
  const play = async (move: Move) => {
    if (move.kind === 'wait') return sleep(move.ms / SCALE)
    if (move.kind === 'reload') return reload(move)
    const id = keys[move.pick] ?? 'a'
    const key = [...services].find(([, service]) => service === id)?.[0] ?? ''
    if (move.kind === 'traffic') return outcomes.push(...traffic(id, move.count))
    if (move.kind === 'request') return outcomes.push(hold(id, move.priority, move.holdMs, move.patienceMs))
    if (move.kind === 'crash') return kill(running.get(key) ?? 0)
    void supervisor.stop(id).catch(() => {})
  }

  return { supervisor, context, broken, pids, play, outcomes: () => Promise.all(outcomes) }
}

function count({ choice }: Extract<SupervisorEvent, { type: 'scheduler.decided' }>) {
  if (choice.type === 'start') seen.started += 1
  if (choice.type === 'evict') seen.evicted += choice.taken.length
}

/** What the root knows, for the reader of a failure. */
function toStanding({ queuedStarts, residents }: SupervisorContext): string {
  return JSON.stringify({ queuedStarts, residents })
}

function characterOf({ characters }: Workload, id: string): Character {
  const ids: readonly string[] = keys
  const found = characters[ids.indexOf(id)]
  if (found === undefined) throw new RangeError(`no character ${id}`)
  return found
}

function toScaled(plan: Plan): Plan {
  const shares = Object.entries(plan.shares).map(([key, share]) => [
    key,
    { ...share, minResidencyMs: share.minResidencyMs / SCALE, maxStarveMs: share.maxStarveMs / SCALE },
  ])
  return { ...plan, shares: Object.fromEntries(shares) }
}

/** The root of a supervisor, as it is announced to an inspector. */
function rootOf(supervisor: Supervisor) {
  const announced: { getSnapshot(): unknown }[] = []
  const watch = supervisor.inspect((event) => {
    if (event.type === '@xstate.actor' && 'getSnapshot' in event.actorRef)
      announced.push(event.actorRef as (typeof announced)[number])
  })
  watch.unsubscribe()
  return { getSnapshot: () => announced[0]?.getSnapshot() as SnapshotFrom<typeof supervisorMachine> }
}

/** The text of its configuration file. */
function toText(workload: Workload, { limits, shares, preload }: Plan, ports: readonly number[]): string {
  const { maxConcurrentStarts, returnToDefaultMs } = workload
  const providers = keys.map((id, index) => {
    const { idleStopMs, world } = characterOf(workload, id)
    const { readyAfterMs = 0, termMs = 0, canSpawn = true } = world
    const { needs = {}, isPinned, evictCost, minResidencyMs, maxStarveMs } = shares[id] ?? {}
    const { 'group:gpu': _, ...own } = needs
    const baseUrl = `http://127.0.0.1:${ports[index]}`
    const flags = [
      ['--port', String(ports[index])],
      ['--load-ms', String(canSpawn ? (readyAfterMs ?? NEVER_MS) / SCALE : 0)],
      // A program that is missing is refused with its configuration.
      canSpawn ? [] : ['--fail-load', 'exit'],
      termMs === null ? ['--ignore-sigterm'] : ['--exit-on-sigterm-ms', String(termMs / SCALE)],
    ]
    const localService = {
      command: process.execPath,
      args: [demoServer, ...flags.flat()],
      healthUrl: `${baseUrl}/health`,
      readyTimeoutMs: readyAfterMs === null ? 500 : STARVE_BOUND_MS / 2,
      stopGraceMs: 100,
      idleStopMs: idleStopMs / SCALE,
      maxQueueMs: STARVE_BOUND_MS,
      needs: own,
      pinned: isPinned,
      evictCost,
      minResidencyMs,
      maxStarveMs,
    }
    return [id, { baseUrl: `${baseUrl}/v1`, models: [{ id: 'demo' }], localService }]
  })
  const gpu = keys.filter((id) => shares[id]?.needs['group:gpu'] !== undefined)
  const { 'group:gpu': _, ...budgets } = limits
  return JSON.stringify({
    agents: { defaults: { model: { primary: `${DEFAULT_KEY}/demo` } } },
    models: { mode: 'replace', providers: Object.fromEntries(providers) },
    leasehold: {
      budgets,
      groups: { gpu },
      preload,
      maxConcurrentStarts,
      returnToDefaultMs: returnToDefaultMs / SCALE,
      backoffMs: 10,
      breakerFailures: 100,
    },
  })
}
