import { chmod, copyFile, mkdir, mkdtemp, realpath, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { checkExecutable } from '../../src/process/executable.ts'

describe.runIf(process.platform === 'linux')('checking an executable', () => {
  let dir: string
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'leasehold-'))
  })
  afterEach(() => rm(dir, { recursive: true }))
  const write = async (content: string | Buffer, mode = 0o755) => {
    const file = join(dir, 'program')
    await writeFile(file, content)
    await chmod(file, mode)
    return file
  }
  /** The head of a sound 64-bit ELF program for this processor, with `changes` at their offsets. */
  const toElf = (changes: Readonly<Record<number, number>> = {}) => {
    const elf = Buffer.alloc(64 + 56)
    elf.write('\x7fELF\x02\x01\x01', 'latin1')
    elf.writeUInt16LE(2, 16)
    elf.writeUInt16LE(process.arch === 'arm64' ? 183 : 62, 18)
    elf.writeUInt32LE(64, 32)
    elf.writeUInt16LE(56, 54)
    elf.writeUInt16LE(1, 56)
    for (const [at, byte] of Object.entries(changes)) elf[Number(at)] = byte
    return elf
  }

  test('accepts a program and says which file it is', async () => {
    const link = join(dir, 'link')
    await symlink(process.execPath, link)
    expect(await checkExecutable(link)).toEqual({ ok: true, path: await realpath(process.execPath) })
  })

  test.each([
    ['a script', `#!${process.execPath}\n`],
    ['a script with an argument', `#! ${process.execPath}\t--no-warnings\n`],
    ['ELF', toElf()],
    ['Mach-O', Buffer.from('cffaedfe07000001', 'hex')],
    ['universal Mach-O', Buffer.from('cafebabe00000002', 'hex')],
    ['PE', Buffer.from('MZ\x90\0', 'latin1')],
  ])('accepts %s', async (_, content) => {
    expect(await checkExecutable(await write(content))).toMatchObject({ ok: true })
  })

  test.each([
    ['text', 'touch canary\n', /is not a program/],
    ['an empty file', '', /is empty/],
    ['three bytes', 'abc', /is not a program/],
    ['a script without an interpreter', '#! \ntouch canary\n', /names no interpreter/],
    ['a script whose interpreter is missing', '#!/no/such/python\n', /"\/no\/such\/python" does not exist/],
    ['a script with a relative interpreter', '#!python\n', /"python" is not an absolute path/],
    ['a magic number and nothing sound behind it', `\x7fELF\n${'touch canary\n'.repeat(9)}`, /damaged ELF/],
    ['a short header', toElf().subarray(0, 40), /damaged ELF/],
    ['an object file', toElf({ 16: 1 }), /damaged ELF/],
    ['a missing program table', toElf({ 56: 0 }), /damaged ELF/],
    ['a program table cut short', toElf().subarray(0, 100), /damaged ELF/],
    ['a program for another processor', toElf({ 18: 243 }), /another processor/],
  ])('refuses %s', async (_, content, reason) => {
    expect(await checkExecutable(await write(content))).toEqual({
      ok: false,
      isTransient: false,
      reason: expect.stringMatching(reason),
    })
  })

  test('refuses a copied program whose end is missing', async () => {
    const copy = join(dir, 'copy')
    await copyFile(process.execPath, copy)
    await truncate(copy, 100)
    expect(await checkExecutable(copy)).toMatchObject({ ok: false })
  })

  test('refuses a script that interprets itself', async () => {
    const file = await write(`#!${join(dir, 'program')}\n`)
    expect(await checkExecutable(file)).toEqual({
      ok: false,
      isTransient: false,
      reason: expect.stringContaining('too many interpreters'),
    })
  })

  test('refuses what is not an absolute path to an executable file (fault 7)', async () => {
    await mkdir(join(dir, 'folder'))
    await symlink(join(dir, 'nowhere'), join(dir, 'dangling'))
    await symlink(join(dir, 'circle'), join(dir, 'circle'))
    const plain = await write(`#!${process.execPath}\n`, 0o644)
    const reasons = await Promise.all(
      [
        'node',
        './node',
        '',
        '/no/such/node',
        join(dir, 'folder'),
        join(dir, 'dangling'),
        join(dir, 'circle'),
        plain,
        `${plain}/x`,
      ].map(async (command) => {
        const checked = await checkExecutable(command)
        return checked.ok ? 'accepted' : checked.reason.replaceAll(dir, '')
      }),
    )
    expect(reasons).toEqual([
      '"node" is not an absolute path',
      '"./node" is not an absolute path',
      '"" is not an absolute path',
      '"/no/such/node" does not exist',
      '"/folder" is not a file',
      '"/dangling" does not exist',
      '"/circle" is a symbolic link in a circle',
      '"/program" is not executable for this user',
      '"/program/x" does not exist: a part of its path is not a directory',
    ])
  })
})
