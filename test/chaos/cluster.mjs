// Chaos over three machines: see the README beside this file.
import { spawn } from 'node:child_process'
import { mkdirSync, readdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { runnerImport } from 'vite'
import { expectNoNetwork, RECOVERY_LIMIT_MS, untilGone, untilQuiet, untilWell } from './cluster-end.mjs'
import { joinClusterLedgers } from './cluster-ledgers.mjs'
import { readJournals, readLedger } from './ledgers.mjs'
import { describe, isAlive, listMarked, lookUntil, signalMarked } from './processes.mjs'
import { createRandom, deriveSeed } from './random.mjs'
import { sleepingServer } from './services.mjs'
import { readSleeps } from './sleep.mjs'

const NAMES = ['tower', 'attic', 'cellar']

/**
 * The providers of every machine. `llama` takes any number of requests, so that one server is enough; `quick` takes few
 * and stops soon, so that it runs on several machines at times; the server of `drowsy` sleeps when it is not used. Each
 * machine has one more that no other has.
 */
const SERVICES = {
  llama: { flags: ['--load-ms', '400', '--token-delay-ms', '20'], localService: {} },
  quick: {
    flags: ['--load-ms', '100', '--first-token-ms', '100'],
    localService: { idleStopMs: 300, maxConcurrent: 3, maxQueueMs: 20_000 },
  },
  drowsy: {
    flags: ['--load-ms', '300', '--token-delay-ms', '5'],
    localService: {
      sleep: {
        afterMs: 100,
        request: [{ path: '/sleep?level=1' }],
        wake: [{ path: '/wake_up' }],
        check: { path: '/is_sleeping', field: 'is_sleeping' },
      },
    },
  },
}

/** What is done to the machines, and how often. */
const DEEDS = {
  'machine killed': 3,
  'machine ended and started': 2,
  'machine stood still': 2,
  'server killed': 3,
  'server stood still': 2,
  'cable pulled': 3,
  'path to NATS cut': 2,
  'NATS killed': 2,
  'NATS killed and its store lost': 1,
  'NATS stood still': 2,
  'machine drained': 3,
  'service stopped': 2,
}

/** Deeds that are under way at the same time, at most. */
const MOST_AT_ONCE = 2
/** How long a client waits for the end of an answer, in milliseconds. */
const ANSWER_LIMIT_MS = 60_000
const LANES = 6
/** Nonce of the requests that this process sends itself. */
const LAST = 'last'

/** Why this host cannot have three machines with cables between them; `undefined`: it can. */
export async function findClusterObstacle() {
  const { hasNatsServer } = await importTest('nats-server')
  const { hasNamespaces } = await importTest('namespaces')
  if (!hasNatsServer) return 'there is no nats-server (test/cluster/setup-nats-server.sh).'
  return hasNamespaces ? undefined : 'this host allows no network namespaces.'
}

/**
 * One run: load at each of three machines, harm to all of them, and a look at everything.
 * @returns counts of what happened, and a sentence for each thing that must not have
 */
export async function runClusterChaos({ seed, seconds, isVerbose }) {
  const { createBoxes, key } = await importTest('boxes')
  const { hasNatsServer, startNatsServer } = await importTest('nats-server')
  const { hasNamespaces, createNetwork } = await importTest('namespaces')
  if (!hasNatsServer) throw new Error('There is no nats-server: run test/cluster/setup-nats-server.sh.')
  const random = createRandom(seed)
  const home = await mkdtemp(join(tmpdir(), 'chaos-cluster-'))
  const journals = join(home, 'journals')
  const ledger = join(home, 'clients.ndjson')
  const sleepLog = (name) => join(home, `sleeps-${name}.ndjson`)
  const violations = []
  const deeds = {}
  const network = hasNamespaces ? createNetwork(NAMES.length) : undefined
  const nats = await startNatsServer(network === undefined ? {} : { host: network.hub })
  const boxes = await createBoxes([], {}, nats)
  const startedAtMs = performance.now()
  const tell = (text) => {
    if (isVerbose) console.log(`${new Date().toISOString().slice(14, 23)} ${text}`)
  }
  const blame = (text) => {
    violations.push(text)
    tell(`VIOLATION ${text}`)
  }
  /** Of each machine, or `NATS`: `{ deed, target, from, to }`, on the wall clock. */
  const harms = []
  /** What earlier runs of a machine's gateway have printed. */
  const earlier = new Map()
  const startAgain = (box) => {
    earlier.set(box, `${earlier.get(box) ?? ''}${box.log}\n- again\n`)
    return box.start()
  }
  const clients = []
  let runs
  try {
    for (const [index, name] of NAMES.entries()) {
      const machine = network?.machines[index]
      const services = Object.fromEntries(
        [...Object.entries(SERVICES), [`own-${name}`, SERVICES.quick]].map(
          ([id, { flags, localService }]) => {
            const journal = join(journals, name, id)
            mkdirSync(journal, { recursive: true })
            const given = [...flags, '--journal', journal]
            if (id !== 'drowsy') return [id, { flags: given, localService }]
            const args = [
              sleepingServer,
              '--sleep-log',
              sleepLog(name),
              '--port',
              '${PORT}',
              '--models',
              'demo',
            ]
            const command = { command: process.execPath, args: [...args, ...given] }
            return [id, { localService: { ...localService, ...command } }]
          },
        ),
      )
      await boxes.add(name, {
        ...{ services, providers: Object.keys(services), models: ['demo'] },
        ...(machine === undefined ? {} : { host: machine.address, prefix: machine.prefix }),
        leasehold: { backoffMs: 50, backoffMaxMs: 500, breakerCooldownMs: 500, coldStartCommentsMs: 200 },
      })
    }
    const { all } = boxes
    await Promise.all(all.map((box) => box.start()))
    await boxes.untilJoined()
    runs = watchRuns(journals)
    const models = [...Object.keys(SERVICES), 'llama', ...NAMES.map((name) => `own-${name}`), 'attic:quick']
    for (const [index, box] of all.entries()) {
      const client = startClient(network?.machines[index].prefix ?? [])
      clients.push(client)
      client.send({
        ...{ round: box.name, url: box.url, models, quota: 1e9, seed: deriveSeed(seed, 1, index) },
        ...{
          file: `${ledger}.${box.name}`,
          lanes: LANES,
          longest: 120,
          limitMs: ANSWER_LIMIT_MS,
          restMs: 200,
        },
        headers: { authorization: `Bearer ${key}` },
      })
    }
    const saboteur = createSaboteur({
      ...{ random, boxes, network, nats, key, harms, deeds, startAgain, tell, blame },
    })
    await saboteur.work(seconds * 1000)
    tell('the harm is over')
    await untilWell({ all, blame })
    const sent = {}
    await Promise.all(
      clients.map(async (client, index) => {
        const { name } = all[index]
        sent[name] = await client.halt()
        if (sent[name] === undefined) blame(`the clients of ${name} ended by themselves`)
      }),
    )
    await untilQuiet({ all, blame })
    await expectOneStart({ all, key, runs, blame, tell })
    for (const box of all) {
      const { child } = box
      await box.end('SIGTERM')
      if (child?.exitCode !== 0)
        blame(`${box.name} ended with ${child?.signalCode ?? child?.exitCode} on SIGTERM`)
    }
    for (const box of all) await untilGone(box, { blame })
    runs.end()
    const joined = joinClusterLedgers({
      records: all.flatMap(({ name }) =>
        readLedger(`${ledger}.${name}`).map((record) => ({ ...record, box: name })),
      ),
      lines: readJournals(
        journals,
        all.flatMap(({ name }) => readdirSync(join(journals, name)).map((id) => join(name, id))),
      ).filter(({ nonce }) => nonce !== LAST),
      runs: runs.all,
      ...{ harms, sent, isVerbose },
    })
    for (const violation of joined.violations) blame(violation)
    const counts = { ...joined.counts }
    for (const { name } of all) {
      const slept = readSleeps(sleepLog(name))
      for (const violation of slept.violations) blame(`at ${name}: ${violation}`)
      for (const [what, number] of Object.entries(slept.counts)) counts[what] = (counts[what] ?? 0) + number
    }
    return { counts, deeds, violations, seconds: (performance.now() - startedAtMs) / 1000 }
  } finally {
    runs?.end()
    for (const client of clients) client.end()
    if (isVerbose)
      for (const box of boxes.all) console.log(`--- ${box.name}\n${earlier.get(box) ?? ''}${box.log}`)
    await boxes[Symbol.asyncDispose]()
    for (const box of boxes.all)
      for (const pid of listMarked(`HOME=${box.folder}`)) signalMarked(pid, 'SIGKILL', `HOME=${box.folder}`)
    network?.[Symbol.dispose]()
    if (network !== undefined) expectNoNetwork(network, { blame })
    await rm(home, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** A module of the tests beside, which are TypeScript. */
async function importTest(name) {
  const { module } = await runnerImport(fileURLToPath(new URL(`../cluster/${name}.ts`, import.meta.url)))
  return module
}

/** The clients of one machine, on that machine: a cable that is pulled does not part them from their gateway. */
function startClient(prefix) {
  const file = fileURLToPath(new URL('client.mjs', import.meta.url))
  const [program, ...args] = [...prefix, process.execPath, file]
  const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const ended = new Promise((resolve) => {
    child.on('message', (message) => {
      if (message.ended !== undefined) resolve(message.ended.sent)
    })
    child.once('exit', () => resolve(undefined))
  })
  return {
    send: (message) => child.send(message),
    /** Settles when each of its requests has ended, with their number. `undefined`: the process is gone. */
    halt: async () => {
      if (child.connected) child.send({ halt: true })
      return ended
    },
    end: () => child.kill('SIGKILL'),
  }
}

/** Every run of a model server, by its journal: `{ service, box, pid, from, to }`. A run that goes on has no `to`. */
function watchRuns(journals) {
  const all = new Map()
  const look = () => {
    for (const box of readdirSync(journals))
      for (const service of readdirSync(join(journals, box)))
        for (const file of readdirSync(join(journals, box, service))) {
          const [pid, from] = file.split(/[-.]/).map(Number)
          const id = join(box, service, file)
          if (!all.has(id)) all.set(id, { service, box, pid, from, to: undefined })
        }
    for (const run of all.values()) if (run.to === undefined && !isAlive(run.pid)) run.to = Date.now()
  }
  const timer = setInterval(look, 50)
  return {
    get all() {
      look()
      return [...all.values()]
    },
    end: () => clearInterval(timer),
  }
}

function createSaboteur({ random, boxes, network, nats, key, harms, deeds, startAgain, tell, blame }) {
  const { all } = boxes
  /** Machines, or `NATS`, to which something is being done. */
  const busy = new Set()
  const post = (box, path, body) =>
    fetch(box.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(5_000),
    }).then(
      (answer) => answer.text(),
      () => {},
    )
  const pickServer = (box) => {
    const servers = listMarked(`HOME=${box.folder}`).filter((pid) => /demo-server\.m?js/.test(describe(pid)))
    return servers.length === 0 ? undefined : random.pick(servers)
  }
  const hasEnded = ({ child }) => child === undefined || child.exitCode !== null || child.signalCode !== null

  const act = async (deed, box, machine) => {
    const mark = `HOME=${box.folder}`
    switch (deed) {
      case 'machine killed':
        await box.end('SIGKILL')
        await delay(random.whole(0, 1_500))
        return startAgain(box)
      case 'machine ended and started':
        await box.end('SIGTERM')
        await delay(random.whole(0, 500))
        return startAgain(box)
      case 'machine stood still':
        box.signal('SIGSTOP')
        await delay(random.whole(100, 4_000))
        return box.signal('SIGCONT')
      case 'server killed': {
        const server = pickServer(box)
        if (server !== undefined) signalMarked(server, 'SIGKILL', mark)
        return
      }
      case 'server stood still': {
        const server = pickServer(box)
        if (server === undefined || !signalMarked(server, 'SIGSTOP', mark)) return
        await delay(random.whole(50, 2_000))
        signalMarked(server, 'SIGCONT', mark)
        return
      }
      case 'cable pulled':
        machine.plug(false)
        await delay(random.whole(200, 5_000))
        return machine.plug(true)
      case 'path to NATS cut':
        machine.cutFrom(network.hub)
        await delay(random.whole(200, 5_000))
        return machine.mend(network.hub)
      case 'NATS killed':
      case 'NATS killed and its store lost':
        await nats.kill({ keepsStore: deed === 'NATS killed' })
        await delay(random.whole(0, 4_000))
        return nats.start()
      case 'NATS stood still':
        await nats.stop()
        await delay(random.whole(100, 4_000))
        return nats.signal('SIGCONT')
      case 'machine drained':
        await post(box, '/api/drain', {})
        await delay(random.whole(300, 3_000))
        return post(box, '/api/drain', { undo: true })
      default:
        return post(box, `/api/services/${random.pick(Object.keys(SERVICES))}/stop`, {})
    }
  }

  return {
    /** Does harm for so long, and has undone it all then. */
    async work(forMs) {
      const under = new Set()
      const endAtMs = performance.now() + forMs
      while (performance.now() < endAtMs) {
        await delay(random.whole(200, 1_500))
        const deed = random.weighted(DEEDS)
        const index = random.whole(0, all.length - 1)
        const box = all[index]
        const machine = network?.machines[index]
        const target = deed.startsWith('NATS') ? 'NATS' : box.name
        if (busy.has(target) || (machine === undefined && /cable|path/.test(deed))) continue
        if (hasEnded(box) && target !== 'NATS') {
          blame(`${box.name} ended by itself: ${box.log.slice(-2_000)}`)
          await startAgain(box)
        }
        const harm = { deed, target, from: Date.now(), to: Number.POSITIVE_INFINITY }
        harms.push(harm)
        busy.add(target)
        deeds[deed] = (deeds[deed] ?? 0) + 1
        tell(`${deed}: ${target}`)
        const running = act(deed, box, machine)
          .catch((error) => blame(`${deed} at ${target}: ${error.stack}`))
          .finally(() => {
            tell(`  over: ${deed}: ${target}`)
            harm.to = Date.now()
            busy.delete(target)
            under.delete(running)
          })
        under.add(running)
        if (under.size >= MOST_AT_ONCE) await Promise.race(under)
      }
      await Promise.all(under)
    },
  }
}

/** All is well again: a cold model that every machine is asked for at once starts on one, and every model is served. */
async function expectOneStart({ all, key, runs, blame, tell }) {
  const post = (box, path) =>
    fetch(box.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      body: '{}',
    })
  await Promise.all(all.map((box) => post(box, '/api/services/llama/stop')))
  const isCold = async () => {
    const answers = await Promise.all(all.map((box) => box.json('/api/members')))
    return answers.every(({ members }) =>
      members.every(({ services }) => ['cold', 'failed'].includes(services.llama?.state)),
    )
  }
  if (!(await lookUntil(isCold, RECOVERY_LIMIT_MS, 100))) return blame('llama did not stop everywhere')
  const isLlama = ({ service }) => service === 'llama'
  const before = runs.all.filter(isLlama).length
  const models = ['llama', 'llama', 'llama', 'quick', ...all.map(({ name }) => `own-${name}`)]
  const answers = await Promise.all(
    all.flatMap((box) =>
      models.map(async (model) => {
        const headers = { 'x-demo-nonce': LAST }
        const answer = await box.ask({ model: `${model}/demo`, text: 'count to 3', headers })
        return { box: box.name, model, status: answer.status, text: await answer.text() }
      }),
    ),
  )
  for (const { box, model, status, text } of answers)
    if (status !== 200) blame(`all is well, and yet ${box} answers ${status} for ${model}: ${text}`)
  const starts = runs.all.filter(isLlama).length - before
  tell(`in the end llama was started ${starts} times`)
  if (starts !== 1) blame(`all is well, and yet llama was started ${starts} times at once`)
}
