#!/usr/bin/env node
// The client of a campaign, in a process of its own. Messages in: {round, url, models, quota, seed, file}, {halt: true};
// with a bound for each number: {lanes, longest, limitMs, restMs}, and {headers}.
// Messages out: {sent, served} now and then, {ended: {sent}} when every request of a round has ended.
import { openSync, writeSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { createRandom } from './random.mjs'
import { planRequest, send } from './request.mjs'

const LANES = 48

let current

process.on('message', (message) => {
  if (message.halt) {
    if (current !== undefined) current.isHalted = true
  } else run(message)
})
process.on('disconnect', () => process.exit(0))

async function run({ round, url, models, quota, seed, file, lanes = LANES, longest, restMs = 0, ...more }) {
  const random = createRandom(seed)
  const ledger = openSync(file, 'a')
  const mine = { isHalted: false }
  current = mine
  let sent = 0
  let served = 0
  const lane = async () => {
    while (sent < quota && !mine.isHalted) {
      sent += 1
      const plan = { ...planRequest(random, `${round}-${sent}`, models), ...more }
      if (longest !== undefined) plan.count = Math.min(plan.count, longest)
      const record = await send(url, plan)
      served += 1
      writeSync(ledger, `${JSON.stringify({ round, ...record })}\n`)
      if (served % 10 === 0) process.send({ sent, served })
      // A gateway that is down refuses at once.
      if (restMs > 0) await delay(record.outcome === 'cut' ? 2 * restMs : random.whole(0, restMs))
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane))
  process.send({ ended: { round, sent } })
}
