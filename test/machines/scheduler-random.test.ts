import fc from 'fast-check'
import { test } from 'vitest'
import { listRandomRuns } from '../random-runs.ts'
import { playWorkload, workloads } from './workload.ts'

// A failure prints the seed and the path that replay it, and the shortest workload that still fails.
for (const { numRuns, tags } of listRandomRuns(25, 1_000))
  test(`${numRuns} random workloads over six services, three budgets and a group break no invariant of the scheduler (fault 80)`, {
    tags,
    timeout: 30_000 + numRuns * 1_800,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(workloads, (workload) => playWorkload(workload)),
      { numRuns },
    )
  })
