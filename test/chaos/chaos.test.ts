import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { hasProcfs } from '../../src/process/tree.ts'

const RUN = fileURLToPath(new URL('./run.mjs', import.meta.url))

test.skipIf(!hasProcfs)(
  'in a small chaos every request is once complete or told its error, and nothing is left (faults 66, 83, 102, races R11, R12, promises P2, P6, P7)',
  { timeout: 240_000 },
  async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [RUN, '--mini'], {
      timeout: 230_000,
    }).catch((error) => {
      // What it printed says what was violated.
      throw new Error(error.stdout, { cause: error })
    })
    expect(stdout).toMatch(/\| violations +\| +0 \|/)
    expect(Number(/\| complete +\| +(\d+) \|/.exec(stdout)?.[1])).toBeGreaterThan(30)
  },
)
