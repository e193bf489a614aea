import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type AnyStateMachine, createActor, type InspectionEvent } from 'xstate'
import { borrowingMachine } from '../../machines/borrowing.ts'
import { claimMachine } from '../../machines/claim.ts'
import { memberMachine } from '../../machines/cluster/member.ts'
import { neighbourMachine } from '../../machines/cluster/neighbour.ts'
import { placementMachine } from '../../machines/cluster/placement.ts'
import { providerMachine } from '../../machines/provider/chart.ts'
import { supervisedProviderMachine } from '../../machines/provider/supervised.ts'
import { requestMachine } from '../../machines/request.ts'
import { runMachine } from '../../machines/run.ts'
import { supervisorMachine } from '../../machines/supervisor.ts'
import { watchdogMachine } from '../../machines/watchdog.ts'
import { compile } from '../../src/statechart/compile.ts'
import { runScript } from '../../src/testing/run-script.ts'
import { parseScript } from '../../src/testing/script.ts'
import { playSchedule, schedules } from '../machines/schedule.ts'
import { playWorkload, workloads } from '../machines/workload.ts'
import { listRandomRuns } from '../random-runs.ts'
import { createRecord, findDifference } from './record.ts'

const compiledProvider = compile(providerMachine)
const compiledSupervisor = compile(
  supervisorMachine.provide({ actors: { provider: compile(supervisedProviderMachine) } }),
)

/** Plays the same twice; fails with the first message in which the two runs differ. */
async function compare<Machine extends AnyStateMachine>(
  [source, compiled]: readonly [Machine, Machine],
  play: (machine: Machine, inspect: (event: InspectionEvent) => void) => unknown,
): Promise<void> {
  const [byXstate, byTable] = [createRecord(), createRecord()]
  byXstate.write('ends with', await play(source, byXstate.inspect))
  byTable.write('ends with', await play(compiled, byTable.inspect))
  const difference = findDifference(byXstate.lines, byTable.lines)
  if (difference !== null) throw new Error(difference)
}

test('every chart of leasehold is compiled, and stays so when its effects are provided', () => {
  for (const machine of [
    requestMachine,
    providerMachine,
    supervisedProviderMachine,
    supervisorMachine,
    runMachine,
    borrowingMachine,
    claimMachine,
    placementMachine,
    neighbourMachine,
    memberMachine,
    watchdogMachine,
  ]) {
    const compiled = compile(machine)
    expect(compiled).not.toBe(machine)
    expect(compile(compiled)).toBe(compiled)
    const provided = compiled.provide({})
    expect(compile(provided as AnyStateMachine)).toBe(provided)
  }
})

describe('the same messages, snapshots and actions as in the interpreter of xstate:', () => {
  const folder = new URL('../scripts/', import.meta.url)
  const scripts = readdirSync(folder)
    .filter((file) => file.endsWith('.json5'))
    .map((file) => ({ file, script: parseScript(readFileSync(new URL(file, folder), 'utf8')) }))

  test.each(scripts)('$file', async ({ script }) => {
    await compare([providerMachine, compiledProvider], (machine, inspect) =>
      runScript(script, machine, inspect),
    )
  })

  for (const { numRuns, tags } of listRandomRuns(50, 500))
    test(`${numRuns} random schedules of a provider`, { tags, timeout: 120_000 }, async () => {
      await fc.assert(
        fc.asyncProperty(schedules, (schedule) =>
          compare([providerMachine, compiledProvider], (machine, inspect) =>
            playSchedule(schedule, machine, inspect),
          ),
        ),
        { numRuns },
      )
    })

  for (const { numRuns, tags } of listRandomRuns(10, 100))
    test(`${numRuns} random workloads of a supervisor and its providers`, {
      tags,
      timeout: 120_000,
    }, async () => {
      await fc.assert(
        fc.asyncProperty(workloads, (workload) =>
          compare([supervisorMachine, compiledSupervisor], (machine, inspect) =>
            playWorkload(workload, machine, inspect),
          ),
        ),
        { numRuns },
      )
    })

  for (const { numRuns, tags } of listRandomRuns(200, 2_000))
    test(`${numRuns} random lives of a request`, { tags }, async () => {
      const events = fc.array(
        fc.constantFrom(
          { type: 'request.resolved', candidates: ['a/x', 'b/y'] } as const,
          { type: 'request.failed', code: 'LEASEHOLD_READY_TIMEOUT', retryable: true } as const,
          { type: 'request.failed', code: 'LEASEHOLD_BAD_REQUEST', retryable: false } as const,
          { type: 'request.failed', code: 'LEASEHOLD_REMOVED', retryable: true } as const,
          { type: 'lease.granted', timeLimitMs: null } as const,
          { type: 'lease.granted', timeLimitMs: 1_000 } as const,
          { type: 'time.elapsed' } as const,
          { type: 'server.loading', limitMs: 1_000 } as const,
          { type: 'connection.refused', code: 'LEASEHOLD_UPSTREAM_FAILED' } as const,
          { type: 'connection.broken' } as const,
          { type: 'response.started', status: 200 } as const,
          { type: 'response.ended' } as const,
          { type: 'request.cancelled' } as const,
        ),
        { maxLength: 15 },
      )
      await fc.assert(
        fc.asyncProperty(events, (list) =>
          compare([requestMachine, compile(requestMachine)], (machine, inspect) => {
            const actor = createActor(machine, { input: { id: 'r1' }, inspect }).start()
            for (const event of list) if (actor.getSnapshot().status === 'active') actor.send(event)
            return actor.getPersistedSnapshot()
          }),
        ),
        { numRuns },
      )
    })
})
