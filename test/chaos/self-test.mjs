import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findFreePort } from '../../dist/src/testing/real-host.js'
import { runCampaign } from './campaign.mjs'
import { ask } from './gateway.mjs'
import { lookUntil } from './processes.mjs'
import { OUTSIDE, SLEEPER, SLEEPER_NEEDS, sleepingServer } from './services.mjs'
import { readSleeps, watchBooks } from './sleep.mjs'

const BROKEN = fileURLToPath(new URL('broken-gateway.mjs', import.meta.url))

/** What each mischief of the broken gateway must be found out by. */
const MISCHIEFS = {
  truncates: /a clean end, but truncated/,
  doubles: /a clean end, but another text/,
  swaps: /holds the answer to chatcmpl-/,
  repeats: /executed again by \w+ after \w+ had answered/,
  invents: /complete, although no server executed it/,
  swallows: /a clean end, but truncated: 0 of/,
  cuts: /a stream that was cut without an error event/,
  orphans: /a process is left: .*demo-server/,
  litters: /the file leasehold-left is left/,
  dies: /ended by itself \(3\)/,
  fails: /ended with 1 on SIGTERM/,
  murders: /the server that is not leasehold's was ended/,
  misroutes: /executed by outside, which has nothing to do with it/,
}

const TARGETS = { requests: 120, childKills: 0, supervisorKills: 1 }

/**
 * Tests the test: a gateway that does nothing wrong must pass, one that does must be found out, and leasehold whose
 * watchdogs die with it must leave a process. Prints a line for each.
 * @param only names of the mischiefs to play; all when absent
 * @returns whether everything was found out
 */
export async function testTheTest(only) {
  const isChosen = (name) => only === undefined || only.length === 0 || only.includes(name)
  let isGood = true
  const tell = (name, isFoundOut, text) => {
    isGood &&= isFoundOut
    console.log(`${isFoundOut ? 'ok      ' : 'NOT OK  '}  ${name.padEnd(12)} ${text}`)
  }
  const play = (gateway) => runCampaign({ seed: 1, targets: TARGETS, gateway })
  const toBroken = (name) => ({ program: BROKEN, args: [name], models: ['alpha', OUTSIDE] })
  if (isChosen('honest')) {
    const { violations } = await play(toBroken('honest'))
    tell('honest', violations.length === 0, violations[0] ?? 'passes')
  }
  for (const [name, pattern] of Object.entries(MISCHIEFS)) {
    if (!isChosen(name)) continue
    const { violations } = await play(toBroken(name))
    const found = violations.find((violation) => pattern.test(violation))
    tell(name, found !== undefined, found ?? `not found out: ${violations.join('; ') || 'no violation'}`)
  }
  if (isChosen('sleep')) {
    const violations = await disturbSleep()
    for (const pattern of [/the books count 2 of 10/, /GET \/health came while it was asleep/]) {
      const found = violations.find((violation) => pattern.test(violation))
      tell('sleep', found !== undefined, found ?? `not found out: ${violations.join('; ') || 'no violation'}`)
    }
  }
  if (isChosen('unwatched')) {
    const { violations } = await play({ killsWatchdogs: true })
    const found = violations.find((violation) => /a process is left|is still held/.test(violation))
    tell('unwatched', found !== undefined, found ?? 'leasehold without a watchdog left nothing')
  }
  return isGood
}

/** A sleeper whose books count it as asleep while it is awake, and that is asked for its health while it sleeps. */
async function disturbSleep() {
  const home = await mkdtemp(join(tmpdir(), 'chaos-sleep-'))
  const file = join(home, 'sleeps.ndjson')
  const port = await findFreePort()
  const server = spawn(process.execPath, [sleepingServer, '--sleep-log', file, '--port', String(port)], {
    stdio: 'ignore',
  })
  const exited = once(server, 'exit')
  const holds = [{ service: SLEEPER, amount: SLEEPER_NEEDS.asleep }]
  const snapshot = {
    services: [{ providers: [SLEEPER], pid: server.pid }],
    budgets: [{ name: 'weights', holds }],
  }
  const gateway = createServer((_request, response) => response.end(JSON.stringify(snapshot)))
  try {
    await once(gateway.listen(0, '127.0.0.1'), 'listening')
    const origin = `http://127.0.0.1:${port}`
    const state = async () => (await ask(`${origin}/is_sleeping`))?.state
    await lookUntil(async () => (await state()) === 'awake', 20_000)
    const violations = []
    let looks = 0
    await watchBooks({
      url: `http://127.0.0.1:${gateway.address().port}`,
      ports: { [SLEEPER]: port },
      blame: (violation) => violations.push(violation),
      count: () => {
        looks += 1
      },
      isOver: () => looks > 0,
    })
    await ask(`${origin}/sleep?level=1`, { method: 'POST' })
    await lookUntil(async () => (await state()) === 'asleep', 20_000)
    await ask(`${origin}/health`)
    await exited
    return [...violations, ...readSleeps(file).violations]
  } finally {
    server.kill('SIGKILL')
    gateway.close()
    gateway.closeAllConnections()
    await rm(home, { recursive: true, force: true })
  }
}
