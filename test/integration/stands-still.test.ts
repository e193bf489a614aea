// @module-tag proof

import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { GAP_MS } from '../../src/clock.ts'
import type { SupervisorEvent } from '../../src/index.ts'
import { hasProcfs } from '../../src/process/tree.ts'
import { createPlace, type Running } from '../cli/command-line.ts'
import { toText } from './library.ts'

const IDLE_STOP_MS = 5_000

/**
 * Has a process stand still for longer than what its clock takes for a busy host. It is at rest as it stops: a timer that
 * is under way is not late, however long it takes.
 */
async function standStill({ child: { pid = 0 } }: Running) {
  await expect.poll(() => readFileSync(`/proc/${pid}/stat`, 'latin1')).toMatch(/^\d+ \(.*\) S /)
  process.kill(pid, 'SIGSTOP')
  await delay(GAP_MS + 1_000)
  process.kill(pid, 'SIGCONT')
}

test.skipIf(!hasProcfs)(
  'a gateway that stood still keeps its stream and its server, and the idle time counts anew (fault 110, race R15)',
  {
    timeout: 120_000,
  },
  async () => {
    await using place = await createPlace()
    const options = {
      flags: ['--token-delay-ms', '50'],
      service: { idleStopMs: IDLE_STOP_MS },
      provider: { stallTimeoutMs: GAP_MS },
      leasehold: { heartbeatMs: 500 },
    }
    place.write('leasehold.json5', toText(place.modelPort, options))
    const gateway = place.start('serve', '--port', '0', '--json')
    const [, url] = await gateway.until(/"url":"(http:[^"]+)"/)
    const answer = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'demo/demo',
        stream: true,
        messages: [{ role: 'user', content: 'count to 100' }],
      }),
    })
    await standStill(gateway)
    expect(await answer.text()).toMatch(/ 100"[\s\S]*data: \[DONE\]\s*$/)
    await gateway.until(/"lease\.released"/)
    await standStill(gateway)
    await gateway.until(/"process\.settled"/)
    gateway.child.kill('SIGTERM')
    const lines = (await gateway.ended).stdout.trim().split('\n')
    const events: SupervisorEvent[] = lines.slice(1).map((line) => JSON.parse(line))

    const all = (name: string) =>
      events.filter((event) =>
        (event.type === 'machine.event' ? event.event.type : event.type).startsWith(name),
      )
    expect([all('process.spawned'), all('leases.revoked'), all('xstate.after.idleStop')]).toMatchObject([
      [{}],
      [],
      [{}],
    ])
    const order = ['lease.released', 'host.resumed', 'xstate.after.idleStop', 'process.signalled'].flatMap(
      (name) => all(name).at(-1) ?? [],
    )
    expect(order).toEqual(order.toSorted((a, b) => a.seq - b.seq))
    const [, resumed, idle] = order
    // What it stood still for is longer than the difference.
    expect((idle?.atMs ?? 0) - (resumed?.atMs ?? 0)).toBeGreaterThan(IDLE_STOP_MS - GAP_MS)
  },
)
