import { setTimeout as delay } from 'node:timers/promises'
import { ask } from './gateway.mjs'
import { readLedger } from './ledgers.mjs'
import { SLEEPER, SLEEPER_NEEDS } from './services.mjs'

/** Pause between two looks at the books, in milliseconds. */
const LOOK_EVERY_MS = 50

/** What the sleeping servers of a chapter noted: how often they slept and woke, and what they were asked at the wrong time. */
export function readSleeps(file) {
  const lines = readLedger(file)
  const countOf = (state) => lines.filter(({ became }) => became === state).length
  return {
    counts: { 'servers fell asleep': countOf('asleep'), 'servers woke': countOf('awake') },
    violations: lines.flatMap(({ pid, fault }) =>
      fault === undefined ? [] : [`${SLEEPER} (${pid}): ${fault}`],
    ),
  }
}

/**
 * Compares the books of a gateway with its sleeping server until it is over: they must never count less than a server that
 * is awake needs. A look counts where the same run was awake before and after it, and did not sleep in between.
 */
export async function watchBooks({ url, ports, blame, count, isOver }) {
  const look = () => ask(`http://127.0.0.1:${ports[SLEEPER]}/is_sleeping`, { limitMs: 500 })
  while (!isOver()) {
    const before = await look()
    const snapshot = await ask(`${url}/api/services`)
    const after = await look()
    const service = snapshot?.services?.find(({ providers }) => providers?.includes(SLEEPER))
    const isSame = before?.pid === after?.pid && before?.naps === after?.naps && service?.pid === after?.pid
    if (after !== undefined && isSame && before.state !== 'asleep' && after.state !== 'asleep') {
      count()
      const { holds = [] } = snapshot.budgets?.find(({ name }) => name === 'weights') ?? {}
      const held = holds.reduce((sum, { amount }) => sum + amount, 0)
      if (held < SLEEPER_NEEDS.awake)
        blame(`the books count ${held} of ${SLEEPER_NEEDS.awake} for a server that is ${after.state}`)
    }
    await delay(LOOK_EVERY_MS)
  }
}
