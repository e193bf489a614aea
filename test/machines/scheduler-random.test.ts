import fc from 'fast-check'
import { test } from 'vitest'
import { playWorkload, workloads } from './workload.ts'

/** Half a minute of a quiet host; `RUNS=5000` looks longer. */
const numRuns = Number(process.env.RUNS ?? 1_000)

// A failure prints the seed and the path that replay it, and the shortest workload that still fails.
test('1,000 random workloads over six services, three budgets and a group break no invariant of the scheduler (fault 80)', async () => {
  await fc.assert(
    fc.asyncProperty(workloads, (workload) => playWorkload(workload)),
    { numRuns },
  )
}, 1_800_000)
