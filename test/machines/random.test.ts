import fc from 'fast-check'
import { test } from 'vitest'
import { listRandomRuns } from '../random-runs.ts'
import { playSchedule, schedules } from './schedule.ts'

// A failure prints the seed and the path that replay it, and the shortest schedule that still fails.
for (const { numRuns, tags } of listRandomRuns(500, 10_000))
  test(`${numRuns} random schedules of up to 60 moves break no invariant and answer every request (fault 66, promise P1, peer L-2)`, {
    tags,
    timeout: 30_000 + numRuns * 60,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(schedules, (schedule) => playSchedule(schedule)),
      { numRuns },
    )
  })
