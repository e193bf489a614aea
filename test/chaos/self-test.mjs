import { fileURLToPath } from 'node:url'
import { runCampaign } from './campaign.mjs'
import { OUTSIDE } from './services.mjs'

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
  if (isChosen('unwatched')) {
    const { violations } = await play({ killsWatchdogs: true })
    const found = violations.find((violation) => /a process is left|is still held/.test(violation))
    tell('unwatched', found !== undefined, found ?? 'leasehold without a watchdog left nothing')
  }
  return isGood
}
