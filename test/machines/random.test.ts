import fc from 'fast-check'
import { test } from 'vitest'
import { playSchedule, schedules } from './schedule.ts'

const numRuns = Number(process.env.RUNS ?? 10_000)

// A failure prints the seed and the path that replay it, and the shortest schedule that still fails.
test(
  '10,000 random schedules of up to 60 moves break no invariant and leave nobody waiting (fault 66, promise P1, peer L-2)',
  async () => {
    await fc.assert(
      fc.asyncProperty(schedules, (schedule) => playSchedule(schedule)),
      { numRuns },
    )
  },
  numRuns * 60,
)
