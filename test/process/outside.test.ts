import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { createOutside } from '../../src/process/outside.ts'
import { hasProcfs } from '../../src/process/tree.ts'

describe.runIf(hasProcfs)('the commands of a server outside the tree', () => {
  test('a status command that finds nothing is not run over and over while the stop command runs', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'leasehold-outside-'))
    const file = join(directory, 'looks')
    const outside = createOutside({
      commands: {
        stop: [['/bin/sleep', '1']],
        status: ['/bin/sh', '-c', 'echo look >> "$0"', file],
        isExternal: true,
        timeoutMs: 20_000,
      },
      env: {},
      clock: systemClock,
    })
    await outside.ask()
    let announceExit = () => {}
    const exited = new Promise<void>((resolve) => {
      announceExit = resolve
    })
    const finding = outside.find(exited)
    await outside.end()
    announceExit()
    await finding
    expect((await readFile(file, 'utf8')).split('\n').length - 1).toBeLessThanOrEqual(2)
    await rm(directory, { recursive: true })
  })
})
