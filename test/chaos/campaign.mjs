import { fork, spawn } from 'node:child_process'
import { mkdirSync, readdirSync, rmSync, truncateSync } from 'node:fs'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { openContainerEngine } from './container.mjs'
import { ask, startGateway } from './gateway.mjs'
import { joinLedgers, readJournals, readLedger } from './ledgers.mjs'
import { describe, isAlive, isListening, listMarked, lookUntil, signalMarked } from './processes.mjs'
import { createRandom, deriveSeed } from './random.mjs'
import { startSaboteur } from './saboteur.mjs'
import { createServices, demoServer, OUTSIDE } from './services.mjs'
import { readSleeps, watchBooks } from './sleep.mjs'

/** Gateways that follow each other on one configuration before everything is looked at, at most. */
const MAX_ROUNDS = 5
/** How long processes of a gateway that has ended may live on, in milliseconds. What it took is in the table. */
const GONE_LIMIT_MS = 10_000
/** The same where one of them has ordered a container: its watchdog has half a minute for the stop commands. */
const CONTAINER_GONE_LIMIT_MS = 40_000
/** How long leases and queues may take to empty when the clients are done, in milliseconds. */
const QUIET_LIMIT_MS = 120_000
/**
 * One chapter in so many has a container, the first one always: a container takes a second to start, and the watchdog of a
 * gateway that was killed looks for two seconds whether it is gone.
 */
const CONTAINER_EVERY = 6
/** The looks at the books while the sleeper was awake. */
const LOOKS = 'books of the sleeper compared'
/** How long a gateway that was asked to end may take, in milliseconds. */
const END_LIMIT_MS = 60_000

/**
 * Runs chapters until the targets are reached: each is a few gateways one after the other on the same configuration,
 * all but the last killed while they work, and then a look at everything: ledgers, processes, ports, files.
 * @param targets `{ requests, childKills, supervisorKills }`
 * @param gateway to test the test: what to start in place of `leasehold serve`, which models it has, and whether to
 *   kill its watchdogs with it
 * @param hasContainer whether one of the services runs in a container, where an engine can be had
 * @param onStage told why there is no container, or which engine runs it
 * @param onChapter told the totals after each chapter
 */
export async function runCampaign({
  seed,
  targets,
  gateway = {},
  first = 0,
  hasContainer = false,
  onStage = () => {},
  onChapter = () => {},
}) {
  const startedAtMs = performance.now()
  const totals = {
    requests: 0,
    supervisorKills: 0,
    gateways: 0,
    slowestGoneMs: 0,
    counts: {},
    deeds: {},
    violations: [],
  }
  const { engine, obstacle } = hasContainer ? await openContainerEngine() : {}
  if (hasContainer) onStage({ engine: engine?.name, obstacle })
  const stage = await openStage(engine)
  const isReached = () =>
    totals.requests >= targets.requests &&
    totals.supervisorKills >= targets.supervisorKills &&
    (totals.deeds['server killed'] ?? 0) >= targets.childKills
  try {
    for (let chapter = first; !isReached() && totals.violations.length < 20; chapter += 1) {
      const before = totals.violations.length
      await playChapter({ chapter, seed: deriveSeed(seed, chapter), targets, gateway, stage, totals })
      for (let index = before; index < totals.violations.length; index += 1)
        totals.violations[index] = `chapter ${chapter}: ${totals.violations[index]}`
      totals.seconds = (performance.now() - startedAtMs) / 1000
      onChapter({ chapter, ...totals })
    }
  } finally {
    await stage.close()
    await engine?.close()
  }
  return totals
}

/** What all chapters share: a directory whose name marks every process, ports, a client, and a server of our own. */
async function openStage(engine) {
  const home = await mkdtemp(join(tmpdir(), 'chaos-'))
  const temporary = join(home, 'tmp')
  mkdirSync(temporary)
  const journals = join(home, 'journals')
  mkdirSync(journals)
  const sleepLog = join(home, 'sleeps.ndjson')
  const services = await createServices({ journals, sleepLog, temporary, engine })
  const config = join(home, 'leasehold.json5')
  // Ours alone: a configuration names programs to run.
  let variant = 0
  let hasContainer = false
  const changeConfig = async () => {
    variant += 1
    const draft = `${config}.${variant}`
    await writeFile(draft, services.toConfigText(variant, hasContainer), { mode: 0o600 })
    await rename(draft, config)
  }
  const env = { ...process.env, TMPDIR: temporary, XDG_STATE_HOME: join(home, 'state'), HOME: home }
  const client = fork(new URL('client.mjs', import.meta.url), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const outside = spawn(process.execPath, [demoServer, ...services.outsideFlags], { stdio: 'ignore' })
  await lookUntil(() => isListening(services.ports[OUTSIDE]), 20_000)
  return {
    ...services,
    /** Begins a chapter, with a container or without: the services and models that it has. */
    async begin(isContained) {
      hasContainer = isContained
      await changeConfig()
      return { owned: services.toOwned(hasContainer), models: services.toModels(hasContainer) }
    },
    goneLimitMs: () => (hasContainer && engine !== undefined ? CONTAINER_GONE_LIMIT_MS : GONE_LIMIT_MS),
    /** Containers in any state. */
    listContainers: () => engine?.list() ?? [],
    config,
    changeConfig,
    env,
    journals,
    temporary,
    client,
    outside,
    mark: `TMPDIR=${temporary}`,
    /** Begins a chapter's ledgers with nothing in them; the server of our own keeps its file open, and begins with them. */
    ledger: join(home, 'client.ndjson'),
    sleepLog,
    async close() {
      client.disconnect()
      outside.kill('SIGKILL')
      for (const pid of listMarked(`TMPDIR=${temporary}`)) process.kill(pid, 'SIGKILL')
      await rm(home, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

async function playChapter({ chapter, seed, targets, gateway, stage, totals }) {
  const random = createRandom(seed)
  const blame = (text) => totals.violations.push(text)
  const ends = new Map()
  const forcedStops = []
  const rounds = toRounds(targets)
  const has = await stage.begin(chapter % CONTAINER_EVERY === 0)
  for (let index = 0; index < rounds; index += 1) {
    const isLast = index === rounds - 1
    const round = chapter * MAX_ROUNDS + index
    const quota = toQuota(targets, random)
    const plan = {
      round,
      seed: deriveSeed(seed, index),
      quota,
      kills: toKills(targets, quota, random),
      isKilled: !isLast || gateway.killsWatchdogs === true,
      isKilledCold: random.chance(0.3),
      coldMs: random.whole(0, 400),
      killAt: 0.2 + random.next() * 0.8,
    }
    const end = await playRound({ plan, has, gateway, stage, totals, forcedStops, blame })
    if (end !== undefined) ends.set(round, end)
    // The next one mostly begins beside what the last one left, as it does under a service manager.
    if (isLast || random.chance(0.3))
      await untilGone(stage, { killedAt: isLast ? undefined : end, totals, blame })
  }
  if (!(await lookUntil(() => stage.listContainers().length === 0, GONE_LIMIT_MS, 100)))
    blame(`a container is left: ${stage.listContainers().join(', ')}`)
  for (const name of stage.owned)
    if (await isListening(stage.ports[name])) blame(`port ${stage.ports[name]} of ${name} is still held`)
  for (const name of readdirSync(stage.temporary)) blame(`the file ${name} is left`)
  if (!isAlive(stage.outside.pid)) blame("the server that is not leasehold's was ended")
  const { counts, violations } = joinLedgers(
    readLedger(stage.ledger),
    readJournals(stage.journals, [...stage.owned, OUTSIDE]),
    ends,
    forcedStops,
  )
  const sleeps = readSleeps(stage.sleepLog)
  for (const [name, number] of Object.entries({ ...counts, ...sleeps.counts }))
    totals.counts[name] = (totals.counts[name] ?? 0) + number
  totals.violations.push(...violations, ...sleeps.violations)
  forgetLedgers(stage)
}

function toRounds({ supervisorKills }) {
  return Math.min(MAX_ROUNDS, supervisorKills + 1)
}

/** Requests of one gateway: its share, more or less. */
function toQuota(targets, random) {
  const { requests, supervisorKills } = targets
  const rounds = toRounds(targets)
  const share = rounds === 1 ? requests : requests / ((supervisorKills * rounds) / (rounds - 1))
  // A killed gateway does not get through its quota, so that each is given more than its share.
  return Math.max(10, Math.round(share * (0.9 + random.next())))
}

/** Servers to kill in a round: a bit more than its share, because a gateway that is killed early spares some. */
function toKills({ requests, childKills }, quota, random) {
  return childKills === 0
    ? 0
    : Math.max(1, Math.round((childKills / requests) * quota * (0.8 + random.next())))
}

/** One life of a gateway. Gives the moment it was told to end. */
async function playRound({ plan, has, gateway, stage, totals, forcedStops, blame }) {
  const { config, changeConfig, env, ports, mark, client, ledger } = stage
  const { round, quota, seed } = plan
  const running = await startGateway({ ...gateway, config, env })
  if (running.url === undefined) {
    blame(`gateway ${round} did not start: ${running.said()}`)
    return undefined
  }
  totals.gateways += 1
  let sent = 0
  let endAt
  const ended = new Promise((resolve) => {
    const hear = (message) => {
      sent = message.sent ?? sent
      if (message.ended === undefined) return
      client.off('message', hear)
      resolve(message.ended)
    }
    client.on('message', hear)
  })
  const { models = has.models } = gateway
  client.send({ round, url: running.url, models, quota, seed: deriveSeed(seed, 1), file: ledger })
  const saboteur = startSaboteur({
    ...{
      url: running.url,
      ports,
      owned: has.owned,
      mark,
      changeConfig,
      kills: plan.kills,
      seed: deriveSeed(seed, 2),
    },
    quota,
    sent: () => sent,
    done: (deed, service, running) => {
      totals.deeds[deed] = (totals.deeds[deed] ?? 0) + 1
      if (deed !== 'forced stop asked') return
      const stop = { service, askedAt: Date.now(), answeredAt: Number.POSITIVE_INFINITY }
      forcedStops.push(stop)
      void running.finally(() => {
        stop.answeredAt = Date.now()
      })
    },
  })
  void running.exited.then(({ code, signal, at }) => {
    if (endAt !== undefined) return
    endAt = at
    blame(`gateway ${round} ended by itself (${signal ?? code}): ${running.said()}`)
  })
  let isEnded = false
  void ended.then(() => {
    isEnded = true
  })
  const books = watchBooks({
    ...{ url: running.url, ports, blame },
    count: () => {
      totals.counts[LOOKS] = (totals.counts[LOOKS] ?? 0) + 1
    },
    isOver: () => isEnded || !running.isRunning(),
  })
  if (plan.isKilled) {
    if (plan.isKilledCold) await delay(plan.coldMs)
    else while (!isEnded && running.isRunning() && sent < quota * plan.killAt) await delay(5)
    if (running.isRunning()) {
      endAt = Date.now()
      if (gateway.killsWatchdogs) killWatchdogs(mark, running)
      running.kill('SIGKILL')
      totals.supervisorKills += 1
    }
    client.send({ halt: true })
    await Promise.all([running.exited, saboteur.end(), books])
    totals.requests += (await ended).sent
    return endAt
  }
  totals.requests += (await ended).sent
  await Promise.all([saboteur.end(), books])
  await expectQuiet({ url: running.url, stage, blame })
  endAt = Date.now()
  running.kill('SIGTERM')
  const exit = await Promise.race([running.exited, delay(END_LIMIT_MS, undefined, { ref: false })])
  if (exit === undefined) {
    blame(`gateway ${round} did not end within ${END_LIMIT_MS} ms of SIGTERM: ${running.said()}`)
    running.kill('SIGKILL')
  } else if (exit.code !== 0) blame(`gateway ${round} ended with ${exit.signal ?? exit.code} on SIGTERM`)
  return endAt
}

/** When the clients are done no lease is held, no request waits, and no server works on one. */
async function expectQuiet({ url, stage, blame }) {
  let busy = []
  const isQuiet = async () => {
    const snapshot = await ask(`${url}/api/services`)
    busy = (snapshot?.services ?? [{ service: 'the gateway', leases: NaN, queue: [] }])
      .filter(({ leases, queue }) => leases !== 0 || queue.length > 0)
      .map(
        ({ service, state, leases, queue }) =>
          `${service} (${state}): ${leases} leases, ${queue.length} waiting`,
      )
    for (const name of stage.owned) {
      const control = await ask(`http://127.0.0.1:${stage.ports[name]}/__control`, { limitMs: 1_000 })
      // Health probes come and go.
      const models = Object.entries(control?.counts ?? {}).some(([path]) => path.startsWith('/v1/'))
      if (models && control.inFlight > 1)
        busy.push(`${name}: ${control.inFlight} requests in flight at its server`)
    }
    return busy.length === 0
  }
  if (!(await lookUntil(isQuiet, QUIET_LIMIT_MS, 50)))
    blame(`the clients are done, and yet: ${busy.join('; ')}`)
}

/** Kills what would clean up behind a gateway, which stands still meanwhile: it would replace it. */
function killWatchdogs(mark, gateway) {
  gateway.kill('SIGSTOP')
  for (const pid of listMarked(mark)) {
    if (/watchdog|watchSupervisor/.test(describe(pid))) signalMarked(pid, 'SIGKILL', mark)
  }
}

/** Waits until no process of a gateway is left; a process that is left is a violation. */
async function untilGone({ mark, goneLimitMs }, { killedAt, totals, blame }) {
  if (await lookUntil(() => listMarked(mark).length === 0, goneLimitMs(), 30)) {
    if (killedAt !== undefined) totals.slowestGoneMs = Math.max(totals.slowestGoneMs, Date.now() - killedAt)
    return
  }
  for (const pid of listMarked(mark)) {
    blame(`a process is left: ${describe(pid)}`)
    signalMarked(pid, 'SIGKILL', mark)
  }
}

/** The lines of one chapter must not meet those of the next; the server of our own goes on in a file it has open. */
function forgetLedgers({ ledger, sleepLog, journals, owned }) {
  for (const file of [ledger, sleepLog]) rmSync(file, { force: true })
  for (const name of owned) rmSync(join(journals, name), { recursive: true, force: true })
  for (const file of readdirSync(join(journals, OUTSIDE))) truncateSync(join(journals, OUTSIDE, file))
}
