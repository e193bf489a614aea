import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { type Clock, delay, systemClock } from '../../src/clock.ts'
import { createOutside } from '../../src/process/outside.ts'
import { createProcessTable } from '../../src/process/table.ts'
import { hasProcfs } from '../../src/process/tree.ts'

/** Between two looks that do not find the server, in milliseconds. */
const PAUSE_MS = 1_000
const PAUSES = 40
const server = { key: 'box', generation: 'g1' }

describe.runIf(hasProcfs)('the commands of a server outside the tree', () => {
  test('a status command that finds nothing is not run over and over while the stop command runs', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'leasehold-outside-'))
    const file = join(directory, 'looks')
    const copy = `${file}-then`
    await using table = createProcessTable({ environment: {} })
    let announceReceipt = () => {}
    const settled = new Promise<void>((resolve) => {
      announceReceipt = resolve
    })
    const run = table.run(
      {
        ...server,
        command: '/bin/sleep',
        args: ['60'],
        outside: {
          stop: [['/bin/sh', '-c', 'sleep 1; cp "$0" "$1"', file, copy]],
          status: ['/bin/sh', '-c', 'echo look >> "$0"', file],
          isExternal: true,
          timeoutMs: 20_000,
        },
      },
      ({ type }) => {
        if (type === 'process.spawned') run.terminate()
        if (type === 'process.settled') announceReceipt()
      },
    )
    await settled
    expect((await readFile(copy, 'utf8')).split('\n').length - 1).toBeLessThanOrEqual(2)
    await rm(directory, { recursive: true })
  })

  test('a server that is watched for long keeps nothing of its pauses', async () => {
    const pauses: WeakRef<() => void>[] = []
    let announceLooks = () => {}
    const looked = new Promise<void>((resolve) => {
      announceLooks = resolve
    })
    const clock: Clock = {
      ...systemClock,
      // The pauses between two looks are over at once.
      setTimeout: (fn, ms) => {
        if (ms !== PAUSE_MS) return systemClock.setTimeout(fn, ms)
        pauses.push(new WeakRef(fn))
        if (pauses.length === PAUSES) announceLooks()
        return systemClock.setTimeout(fn, 1)
      },
    }
    await using table = createProcessTable({ environment: {}, clock })
    table.run(
      {
        ...server,
        command: '/bin/true',
        args: [],
        outside: { stop: [['/bin/true']], status: ['/bin/true'], isExternal: true, timeoutMs: 20_000 },
      },
      () => {},
    )
    await looked
    setFlagsFromString('--expose-gc')
    runInNewContext('gc')()
    expect(pauses.filter((pause) => pause.deref() !== undefined).length).toBeLessThan(PAUSES / 4)
  })

  test('an engine that hangs is asked a few times about a server that was never seen, and cannot tell', async () => {
    // Fifty times as fast.
    const clock: Clock = {
      ...systemClock,
      now: () => systemClock.now() * 50,
      setTimeout: (fn, ms) => systemClock.setTimeout(fn, ms / 50),
    }
    let looks = 0
    const look = async () => {
      looks += 1
      await delay(clock, 5_000)
      return 'unknown' as const
    }
    const commands = {
      stop: [['/bin/true']],
      status: ['/bin/true'],
      look,
      isExternal: true,
      timeoutMs: 9_000_000,
    }
    const outside = createOutside({ commands, env: {}, clock })
    expect(await outside.settle(async () => false, false)).toMatchObject({ status: 'unknown' })
    expect(looks).toBeLessThanOrEqual(3)
  })

  test('a command that hangs is told with a whole number of milliseconds', async () => {
    const outside = createOutside({
      commands: { stop: [['/bin/sleep', '20']], isExternal: true, timeoutMs: 50.25 },
      env: {},
      clock: systemClock,
    })
    expect(await outside.settle(async () => true, true)).toMatchObject({
      status: 'there',
      detail: expect.stringMatching(/^it did not end within \d+ ms$/),
    })
  })
})
