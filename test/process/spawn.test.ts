import { existsSync } from 'node:fs'
import { chmod, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type SpawnOptions, spawnChild } from '../../src/process/spawn.ts'
import { toFixturePath } from './world.ts'

describe.runIf(process.platform === 'linux')('spawning', () => {
  let dir: string
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'leasehold-'))
  })
  afterEach(() => rm(dir, { recursive: true }))
  const spawn = (options: Partial<SpawnOptions>) =>
    spawnChild({ command: process.execPath, args: [], env: {}, markers: {}, ...options })
  const toProblem = async (options: Partial<SpawnOptions>) => {
    const result = await spawn(options)
    if (result.ok) throw new Error('it was spawned')
    return result.failure
  }
  const write = async (name: string, content: string) => {
    const file = join(dir, name)
    await writeFile(file, content)
    await chmod(file, 0o755)
    return file
  }

  test('gives a leader of its own session and group, of which the kernel short of memory takes first, and tells of it in the tick of its birth (peer O-3)', async () => {
    let born: number | undefined
    const result = await spawn({ args: [toFixturePath('never-ready')], onSpawn: ({ pid }) => (born = pid) })
    if (!result.ok) throw new Error(result.failure.message)
    const { child } = result
    expect(born).toBe(child.pid)
    const [, , , pgid, sid] = (await readFile(`/proc/${child.pid}/stat`, 'latin1'))
      .replace(/\(.*\)/, '')
      .split(/ +/)
    expect([Number(pgid), Number(sid)]).toEqual([child.pid, child.pid])
    expect(Number(await readFile(`/proc/${child.pid}/oom_score_adj`, 'latin1'))).toBeGreaterThanOrEqual(500)
    expect(child.exitStatus()).toBeUndefined()
    process.kill(child.pid, 'SIGKILL')
    expect(await child.exited).toEqual({ exitCode: null, signal: 'SIGKILL' })
    expect(child.exitStatus()).toEqual({ exitCode: null, signal: 'SIGKILL' })
    child.releasePipes()
    await child.drained
  })

  test('names the missing directory, not the command (fault 2)', async () => {
    const cwd = join(dir, 'missing')
    expect(await toProblem({ cwd })).toEqual({
      code: 'LEASEHOLD_SPAWN_FAILED',
      message: `the working directory "${cwd}" does not exist`,
      retry: 'never',
    })
  })

  test('names a directory that is a file', async () => {
    const cwd = await write('file', '')
    expect((await toProblem({ cwd })).message).toBe(`the working directory "${cwd}" is not a directory`)
    expect((await toProblem({ cwd: join(cwd, 'below') })).message).toContain('cannot be entered (ENOTDIR)')
  })

  test('names a missing command', async () => {
    expect(await toProblem({ command: '/no/such/program' })).toEqual({
      code: 'LEASEHOLD_SPAWN_FAILED',
      message: 'the command "/no/such/program" does not exist',
      retry: 'never',
    })
  })

  test.each([
    ['text', (canary: string) => `touch ${canary}\n`],
    ['a damaged ELF program', (canary: string) => `\x7fELF\ntouch ${canary}\n${'#\n'.repeat(99)}`],
    ['a script without an interpreter', (canary: string) => `#!\ntouch ${canary}\n`],
  ])('does not let a shell run %s (fault 6)', async (_, toContent) => {
    const canary = join(dir, 'canary')
    const command = await write('program', toContent(canary))
    expect(await toProblem({ command, cwd: dir })).toMatchObject({ code: 'LEASEHOLD_SPAWN_FAILED' })
    expect(existsSync(canary)).toBe(false)
  })

  test.each([
    [{ args: ['a', 'b\0c'] }, 'argument 2 contains a NUL byte'],
    [{ command: '/bin/\0' }, 'the command contains a NUL byte'],
    [{ cwd: '/\0' }, 'the working directory contains a NUL byte'],
    [{ env: { CANARY: 's3cret\0' } }, 'the environment variable "CANARY" contains a NUL byte'],
  ])('names what contains a NUL byte and shows no value (fault 4)', async (options, message) => {
    expect((await toProblem(options)).message).toBe(message)
  })

  test('reports what Node throws (fault 4)', async () => {
    const huge = 'x'.repeat(200_000)
    expect(await toProblem({ args: [huge] })).toEqual({
      code: 'LEASEHOLD_SPAWN_FAILED',
      message: `"${process.execPath}" could not be spawned: the arguments and the environment together are too long (E2BIG)`,
      retry: 'never',
    })
  })

  test('spawns nothing once it is called off', async () => {
    let born = false
    const problem = await toProblem({
      args: [toFixturePath('never-ready')],
      signal: AbortSignal.abort(),
      onSpawn: () => (born = true),
    })
    expect(problem.message).toBe('stopped before its process was spawned')
    expect(born).toBe(false)
  })

  test('executes a command under the name it was given', async () => {
    const link = join(dir, 'named')
    await symlink(process.execPath, link)
    const result = await spawn({ command: link, args: ['-p', 'process.argv0'] })
    if (!result.ok) throw new Error(result.failure.message)
    let printed = ''
    result.child.stdout.on('data', (chunk) => {
      printed += chunk
    })
    result.child.stderr.resume()
    await result.child.drained
    expect(printed.trim()).toBe(link)
  })
})
