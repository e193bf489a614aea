import fc from 'fast-check'
import { expect, test } from 'vitest'
import { AGEING_MS } from '../../machines/waiting-line.ts'
import { createStage } from '../../src/testing/stage.ts'
import { listRandomRuns } from '../random-runs.ts'

const SERVE_MS = 500
const plans = fc.record({
  /** Requests that come from time to time, of any priority. */
  patient: fc.array(fc.record({ atMs: fc.nat({ max: 60_000 }), priority: fc.integer({ min: -3, max: 3 }) }), {
    minLength: 1,
    maxLength: 12,
  }),
  /** A stream of urgent ones, more than the service can take. */
  everyMs: fc.integer({ min: 200, max: SERVE_MS }),
  urgency: fc.integer({ min: 0, max: 4 }),
})

for (const { numRuns, tags } of listRandomRuns(5, 50))
  test(`in ${numRuns} random plans a waiter is passed only by requests that came less than 10 s later per level of urgency`, {
    tags,
    timeout: 120_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(plans, async ({ patient, everyMs, urgency }) => {
        const stage = createStage({ policy: { maxConcurrent: 1, maxQueueMs: 600_000 } })
        const asked = new Map<string, { atMs: number; priority: number }>()
        const granted: { id: string; atMs: number }[] = []
        const ask = (id: string, priority: number) => {
          asked.set(id, { atMs: stage.clock.now(), priority })
          stage.send({ type: 'lease.requested', id, priority })
        }
        for (const [n, { atMs, priority }] of patient.entries())
          stage.clock.setTimeout(() => ask(`p${n}`, priority), atMs)
        for (let atMs = 0; atMs < 60_000; atMs += everyMs)
          stage.clock.setTimeout(() => ask(`u${atMs}`, urgency), atMs)
        try {
          for (let seen = 0; granted.length < asked.size || stage.clock.now() <= 60_000; ) {
            await stage.advanceTo(stage.clock.now() + SERVE_MS / 2)
            for (const fact of stage.facts.slice(seen))
              if (fact.type === 'lease.granted') granted.push({ id: fact.id, atMs: fact.atMs })
            seen = stage.facts.length
            const [id] = stage.ledger.held
            const { generation } = stage.view().context
            const since = granted.at(-1)?.atMs ?? 0
            if (id !== undefined && generation !== null && stage.clock.now() - since >= SERVE_MS)
              stage.send({ type: 'lease.released', id, generation })
          }
        } finally {
          stage.stop()
        }
        const unfair = granted.flatMap(({ id: first, atMs }, index) => {
          const winner = asked.get(first)
          return granted.slice(index + 1).flatMap(({ id }) => {
            const loser = asked.get(id)
            if (winner === undefined || loser === undefined || loser.atMs > atMs) return []
            const levels = winner.priority - loser.priority
            return winner.atMs - loser.atMs > levels * AGEING_MS ? [`${first} before ${id}`] : []
          })
        })
        expect(unfair).toEqual([])
      }),
      { numRuns },
    )
  })
