// @module-tag proof

import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { runRealScript } from '../../src/testing/real-script.ts'
import type { Story } from '../../src/testing/run-script.ts'
import { parseScript, type Script } from '../../src/testing/script.ts'

const folder = new URL('../scripts/', import.meta.url)
const scripts = readdirSync(folder)
  .filter((file) => file.endsWith('.json5'))
  .map((file) => parseScript(readFileSync(new URL(file, folder), 'utf8')))

// Most of a story is waiting, so several are told at the same time; each has a host of its own.
describe.concurrent('with a real process and real sockets', { timeout: 120_000 }, () => {
  test.each(scripts.filter(({ real }) => real))('$title', async (script) => {
    const story = await runRealScript(script)
    expect(tellFailures(story)).toEqual([])
    expect(story.ok).toBe(true)
    expect(story.steps).toHaveLength(script.steps.length)
  })
})

describe.concurrent('a script that does not come true', { timeout: 60_000 }, () => {
  const start: Script['steps'][number] = { at: 0, send: { type: 'lease.requested', id: 'alice' } }

  test('fails at the step where a fact is missing, and is not played further', async () => {
    const story = await runRealScript(
      toScript({
        steps: [
          start,
          { at: 0, state: 'leased.open', emitted: [{ type: 'lease.granted', id: 'bob' }] },
          { at: 0, state: 'leased.open' },
        ],
      }),
    )
    expect(story.ok).toBe(false)
    expect(tellFailures(story)).toEqual(['expected the fact {"type":"lease.granted","id":"bob"}'])
    expect(story.steps).toHaveLength(2)
  })

  test('fails when something happens that never should', async () => {
    const story = await runRealScript(
      toScript({
        steps: [
          start,
          { at: 0, state: 'leased.open' },
          { at: 0, crash: {}, never: [{ type: 'leases.revoked' }], state: 'down' },
        ],
      }),
    )
    expect(story.ok).toBe(false)
    expect(tellFailures(story).join()).toMatch(/^saw the fact .*"leases\.revoked"/)
  })

  test('fails when a state is not reached', async () => {
    const story = await runRealScript(
      toScript({ world: { canSpawn: false }, steps: [start, { at: 0, state: 'ready' }] }),
    )
    expect(tellFailures(story)).toEqual([expect.stringMatching(/^expected state ready, saw /)])
  })

  test('fails when it is ended early, and leaves nothing behind', async () => {
    const story = await runRealScript(toScript({ steps: [start, { at: 1_000_000, state: 'leased.open' }] }), {
      signal: AbortSignal.timeout(300),
    })
    expect(story.ok).toBe(false)
    expect(story.steps.at(-1)?.failures).toHaveLength(1)
  })
})

describe('facts are told in the words of the script', () => {
  test('leases by their own ids, generations in the order of their runs', async () => {
    const story = await runRealScript(
      toScript({
        service: { backoffMs: 10 },
        steps: [
          { at: 0, send: [{ type: 'lease.requested', id: 'alice', priority: 1 }] },
          {
            at: 0,
            state: 'leased.open',
            queue: [],
            emitted: [{ type: 'lease.granted', id: 'alice', generation: 'g.1' }],
          },
          {
            at: 0,
            crash: { signal: 'SIGABRT' },
            emitted: [{ type: 'process.exited', generation: 'g.1', signal: 'SIGABRT' }],
          },
          {
            at: 0,
            send: { type: 'lease.requested', id: 'bob' },
            emitted: [{ type: 'lease.granted', id: 'bob', generation: 'g.2' }],
            timers: ['stability'],
          },
        ],
      }),
    )
    expect(tellFailures(story)).toEqual([])
  })

  test('a running process is told how long it takes to end', async () => {
    const story = await runRealScript(
      toScript({
        service: { idleStopMs: 1, stopGraceMs: 300 },
        steps: [
          { at: 0, send: { type: 'lease.requested', id: 'alice' } },
          { at: 0, state: 'leased.open' },
          { at: 0, world: { termMs: null }, send: { type: 'lease.released', id: 'alice' } },
          { at: 0, state: 'down.cold', emitted: [{ type: 'process.exited', signal: 'SIGKILL' }] },
        ],
      }),
    )
    expect(tellFailures(story)).toEqual([])
  })
})

describe('a script that needs more than a client can do is refused before anything starts', () => {
  test.each<[Partial<Script>, string]>([
    [{ real: false }, 'it is not marked `real: true`'],
    [{ world: { claim: 'held' } }, 'a test cannot arrange `world.claim`'],
    [{ steps: [{ at: 0, world: { survivors: 1 } }] }, 'a test cannot arrange `world.survivors`'],
    [
      { steps: [{ at: 0, send: { type: 'process.spawned', generation: 'g.1', pid: 1 } }] },
      'a client cannot send `process.spawned`',
    ],
    [
      { steps: [{ at: 0, send: { type: 'lease.released', id: 'alice', generation: 'g.1' } }] },
      'a release is always of the generation that was granted',
    ],
    [
      { steps: [{ at: 0, send: { type: 'service.stop', reason: 'evicted' } }] },
      'a client cannot evict a service',
    ],
    [{ steps: [{ at: 0, crash: { exitCode: 3 } }] }, 'a crash from outside is by a signal'],
    [
      {
        steps: [
          {
            at: 0,
            send: [
              { type: 'lease.requested', id: 'alice' },
              { type: 'lease.requested', id: 'alice' },
            ],
          },
        ],
      },
      'each request needs an id of its own',
    ],
  ])('%j', async (changes, reason) => {
    await expect(runRealScript(toScript(changes))).rejects.toThrow(
      `The script cannot be played for real: ${reason}.`,
    )
  })
})

function toScript(changes: Partial<Script>): Script {
  return {
    title: 'a script of this test',
    real: true,
    service: {},
    world: {},
    steps: [{ at: 0 }],
    ...changes,
  }
}

function tellFailures({ steps }: Story): string[] {
  return steps.flatMap(({ failures }) => failures)
}
