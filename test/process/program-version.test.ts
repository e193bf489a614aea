import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { readProgramVersion } from '../../src/process/program-version.ts'
import { isAlive } from '../../src/process/tree.ts'

describe.runIf(process.platform === 'linux')('the version of a program', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'leasehold-version-'))
  })
  afterEach(() => rm(folder, { recursive: true }))
  const read = async (script: string, more: { timeoutMs?: number; signal?: AbortSignal } = {}) => {
    const file = join(folder, 'program')
    await writeFile(file, `#!/bin/sh\n${script}\n`, { mode: 0o755 })
    const env = { PATH: String(process.env.PATH), PID_FILE: join(folder, 'pid') }
    return readProgramVersion(file, { env, clock: systemClock, ...more })
  }

  test('is the first line with a number that looks like one, on either stream', async () => {
    expect(await read('echo "loading"; echo "version: 0.7.0 (build 11669)" >&2')).toBe(
      'version: 0.7.0 (build 11669)',
    )
    expect(await read('printf "\\033[1mtool 1.2.3\\033[0m\\n"')).toBe('tool 1.2.3')
    expect(await read('test "$1" = --version && echo 1.5')).toBe('1.5')
  })

  test('is unknown where a program does not print it, and where there is no program', async () => {
    expect(await read('echo "unknown option"; exit 2')).toBeUndefined()
    expect(await readProgramVersion(join(folder, 'none'), { env: {}, clock: systemClock })).toBeUndefined()
  })

  test('is not waited for longer than its time, and all that was started is ended', async () => {
    const script = 'sleep 600 & echo $! > "$PID_FILE"; echo 1.0; wait'
    expect(await read(script, { timeoutMs: 500 })).toBeUndefined()
    const pid = Number(await readFile(join(folder, 'pid'), 'utf8'))
    await expect.poll(() => isAlive(pid)).toBe(false)
  })

  test('is told by a program that leaves another in the background, which is ended', async () => {
    expect(await read('sleep 600 & echo $! > "$PID_FILE"; echo 1.0')).toBe('1.0')
    const pid = Number(await readFile(join(folder, 'pid'), 'utf8'))
    await expect.poll(() => isAlive(pid)).toBe(false)
  })

  test('is not waited for after an abort', async () => {
    const leaving = new AbortController()
    const reading = read('echo $$ > "$PID_FILE"; sleep 600', { signal: leaving.signal, timeoutMs: 60_000 })
    const readPid = () => readFile(join(folder, 'pid'), 'utf8').catch(() => '')
    await expect.poll(readPid).toMatch(/^\d+\n$/)
    leaving.abort()
    expect(await reading).toBeUndefined()
    const pid = Number(await readPid())
    await expect.poll(() => isAlive(pid)).toBe(false)
    expect(await read('sleep 600', { signal: leaving.signal })).toBeUndefined()
  })
})
