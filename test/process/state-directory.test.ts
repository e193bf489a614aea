import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openStateDirectory, toStateDirectoryPath } from '../../src/process/state-directory.ts'
import { toFixturePath } from './world.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'leasehold-state-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const isRoot = process.getuid?.() === 0
const unusable = (problem: RegExp) =>
  expect.objectContaining({ code: 'LEASEHOLD_STATE_UNUSABLE', message: expect.stringMatching(problem) })

test('the state directory is that of LEASEHOLD_STATE_DIR, of XDG_STATE_HOME, or of the home directory', () => {
  expect(toStateDirectoryPath({ LEASEHOLD_STATE_DIR: '/a', XDG_STATE_HOME: '/b', HOME: '/c' })).toBe('/a')
  expect(toStateDirectoryPath({ LEASEHOLD_STATE_DIR: '', XDG_STATE_HOME: '/b' })).toBe('/b/leasehold')
  expect(toStateDirectoryPath({ HOME: '/c' })).toBe('/c/.local/state/leasehold')
  expect(toStateDirectoryPath({})).toBe(join(homedir(), '.local/state/leasehold'))
})

describe('a state directory', () => {
  test('is made where it is absent, closed to others, with a key of 32 bytes that stays the same', () => {
    const path = join(folder, 'deep', 'state')
    const { hostKey } = openStateDirectory(path)
    expect(hostKey).toHaveLength(32)
    expect(statSync(path).mode & 0o777).toBe(0o700)
    expect(statSync(join(path, 'host.key')).mode & 0o777).toBe(0o600)
    expect(openStateDirectory(path).hostKey).toEqual(hostKey)
    expect(readdirSync(path)).toEqual(['host.key'])
  })

  test.runIf(existsSync('/proc'))('that cannot be made is refused at once, below /proc, too', () => {
    expect(() => openStateDirectory('/proc/leasehold/state')).toThrow(unusable(/cannot be made \(ENOENT\)/))
  })

  test('is not made through a file', () => {
    writeFileSync(join(folder, 'file'), '')
    expect(() => openStateDirectory(join(folder, 'file', 'state'))).toThrow(unusable(/cannot be made/))
  })

  test('that others can only read is closed to them', () => {
    chmodSync(folder, 0o755)
    openStateDirectory(folder)
    expect(statSync(folder).mode & 0o777).toBe(0o700)
  })

  test.each([0o777, 0o770, 0o702])('that others can write to (mode %o) is refused (fault 97)', (mode) => {
    chmodSync(folder, mode)
    expect(() => openStateDirectory(folder)).toThrow(unusable(/others can write to it \(mode 07/))
    expect(existsSync(join(folder, 'host.key'))).toBe(false)
  })

  test.runIf(isRoot)(
    'of another user, or reached by a link of another user, is refused (faults 92, 97)',
    () => {
      const theirs = join(folder, 'theirs')
      mkdirSync(theirs, { mode: 0o700 })
      chownSync(theirs, 65_534, 65_534)
      expect(() => openStateDirectory(theirs)).toThrow(unusable(/belongs to another user/))
      symlinkSync(theirs, join(folder, 'link'))
      expect(() => openStateDirectory(join(folder, 'link'))).toThrow(unusable(/belongs to another user/))
    },
  )

  test('that cannot be made says why, and what to set (fault 92)', () => {
    const file = join(folder, 'file')
    writeFileSync(file, '')
    expect(() => openStateDirectory(join(file, 'state'))).toThrow(
      unusable(/it cannot be made \(ENOTDIR\)\. Set LEASEHOLD_STATE_DIR to/),
    )
    expect(() => openStateDirectory(file)).toThrow(unusable(/cannot be made \(EEXIST\)/))
  })

  test('with a key that others can read, that is short, or that is a link is refused', () => {
    const { hostKey } = openStateDirectory(folder)
    const file = join(folder, 'host.key')
    chmodSync(file, 0o644)
    expect(() => openStateDirectory(folder)).toThrow(unusable(/not a file that only we can read/))
    rmSync(file)
    writeFileSync(file, hostKey.subarray(1), { mode: 0o600 })
    expect(() => openStateDirectory(folder)).toThrow(unusable(/has 31 bytes instead of 32/))
    writeFileSync(file, '', { mode: 0o600 })
    expect(() => openStateDirectory(folder)).toThrow(
      unusable(/has 0 bytes instead of 32\. Remove ".*host\.key" while no leasehold runs/),
    )
    rmSync(file)
    symlinkSync('/dev/zero', file)
    expect(() => openStateDirectory(folder)).toThrow(unusable(/symbolic link/))
  })
})

test.runIf(process.platform === 'linux')('a host without file descriptors is told its own advice', () => {
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-lacks-'))
  const code = `
    import { openSync } from 'node:fs'
    import { openStateDirectory } from ${JSON.stringify(new URL('../../dist/src/process/state-directory.js', import.meta.url).href)}
    openStateDirectory(${JSON.stringify(folder)})
    try { for (;;) openSync('/dev/null', 'r') } catch {}
    try { openStateDirectory(${JSON.stringify(folder)}) } catch (error) { process.stdout.write(error.message) }
  `
  const line = `ulimit -n 64; exec ${process.execPath} --input-type=module`
  const { stdout } = spawnSync('/bin/sh', ['-c', line], { input: code, encoding: 'utf8' })
  rmSync(folder, { recursive: true })
  expect(stdout).toMatch(/EMFILE\)\. The next request tries again: raise the limit of open files/)
})

/** Whether this user may mount: then a disk that is full, or read-only, can be had. */
const canMount = isRoot && spawnSync('unshare', ['--mount', 'true']).status === 0

describe.runIf(canMount)('on a disk that', () => {
  // In a mount namespace of its own, so that nothing of it is left whatever happens.
  const claim = (mount: string) =>
    spawnSync(
      'unshare',
      [
        '--mount',
        'sh',
        '-c',
        `${mount} && exec "$0" "$@"`,
        process.execPath,
        toFixturePath('spawns'),
        folder,
      ],
      { encoding: 'utf8' },
    )

  test.each([
    ['is read-only', 'mount -t tmpfs -o ro,mode=700 none "$2"', /host\.key cannot be made or read \(EROFS\)/],
    ['is full', 'mount -t tmpfs -o size=4k,nr_inodes=1,mode=700 none "$2"', /\(ENOSPC\)/],
  ])('%s nothing is spawned, and the error says why (fault 92)', (_, mount, problem) => {
    const { stdout, stderr } = claim(mount)
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toEqual({
      code: 'LEASEHOLD_STATE_UNUSABLE',
      message: expect.stringMatching(problem),
      spawns: 0,
    })
  })
})
