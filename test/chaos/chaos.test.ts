// @module-tag proof

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { hasProcfs } from '../../src/process/tree.ts'

describe.skipIf(!hasProcfs)('chaos', () => {
  test('in a small one every request is once complete or told its error, and nothing is left (faults 66, 83, 102, races R11, R12, promises P2, P6, P7)', {
    timeout: 240_000,
  }, async () => {
    const said = await run('run', '--mini')
    expect(said).toMatch(/\| violations +\| +0 \|/)
    expect(Number(/\| complete +\| +(\d+) \|/.exec(said)?.[1])).toBeGreaterThan(30)
  })

  test('finds out a gateway that truncates in silence, one that leaves its server behind, and a disturbed sleep', {
    timeout: 240_000,
  }, async () => {
    const said = await run('run', '--self-test', 'honest', 'truncates', 'orphans', 'sleep')
    expect(said.match(/^ok /gm)).toHaveLength(5)
  })

  test.each([
    ['crash', 'a server killed in a stream gives no ending but an error event (fault 31, promise P8)'],
    [
      'abort',
      'a client that leaves in any phase frees its lease and its server (faults 57, 58, 59, promise P11)',
    ],
    [
      'flood',
      'of very many requests at once those beyond the queue are refused, none is cut (fault 107, promise P9)',
    ],
    ['storm', 'many first requests at once make one spawn, and all are answered (fault 10, promise P14)'],
    ['stop', 'a stop of any server leaves no process and a port that can be bound (promise P16)'],
  ])('%s: %s', { timeout: 240_000 }, async (name) => {
    expect(await run('promises', name, '--quick')).toMatch(/^broken: 0$/m)
  })

  test('a signal at any moment of a cold start leaves nothing of a command', {
    timeout: 240_000,
  }, async () => {
    // That nothing is left is a fact; that it takes two seconds at most is for a quiet host.
    const said = await run('signals', '--times', '1', '--limit', '30000')
    expect(said).toMatch(/violations: 0$/m)
  })
})

/** Runs a program of this folder; what it printed says what was violated. */
async function run(name: string, ...args: string[]): Promise<string> {
  const program = fileURLToPath(new URL(`./${name}.mjs`, import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, [program, ...args]).catch((error) => {
    throw new Error(error.stdout + error.stderr, { cause: error })
  })
  return stdout
}
