import { constants } from 'node:fs'
import { access, open, realpath, stat } from 'node:fs/promises'
import { isAbsolute } from 'node:path'
import { arch, platform } from 'node:process'

/** A command that can be executed, or why not. `isTransient`: the host lacked something to find out. */
export type ExecutableCheck =
  | { readonly ok: true /** The file behind every symbolic link. */; readonly path: string }
  | { readonly ok: false; readonly reason: string; readonly isTransient: boolean }

/** As much of the file as the kernel itself looks at to tell what kind of program it is, in bytes. */
const HEAD_BYTES = 256
const ACCESS_PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  EACCES: 'is not executable for this user',
  ENOTDIR: 'does not exist: a part of its path is not a directory',
  ELOOP: 'is a symbolic link in a circle',
}
const TRANSIENT_CODES: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOMEM'])
/** How many scripts may be interpreted by scripts: Linux gives up after the same number. */
const MAX_INTERPRETERS = 4

/**
 * Whether `command` names a program the kernel itself can execute: an absolute path to a file with the
 * executable bit and the head of an ELF, Mach-O or PE program, or of a script whose interpreter is one.
 * Anything else is refused, because `execvp` hands a file the kernel does not know to `/bin/sh`, line by
 * line, even when no shell was asked for. Reads {@link HEAD_BYTES} bytes and executes nothing.
 */
export function checkExecutable(command: string): Promise<ExecutableCheck> {
  return check(command, MAX_INTERPRETERS)
}

async function check(command: string, interpretersLeft: number): Promise<ExecutableCheck> {
  if (!isAbsolute(command)) return no(`"${command}" is not an absolute path`)
  try {
    const path = await realpath(command)
    const { size, isFile } = await inspect(path)
    if (!isFile) return no(`"${command}" is not a file`)
    if (platform !== 'win32') await access(path, constants.X_OK)
    const head = await readHead(path)
    const reason =
      head.toString('latin1', 0, 2) === '#!'
        ? await findScriptProblem(head, interpretersLeft)
        : findProgramProblem(head, size)
    return reason === undefined ? { ok: true, path } : no(`"${command}" ${reason}`)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
    return no(
      `"${command}" ${ACCESS_PROBLEMS[code] ?? `cannot be used (${code})`}`,
      TRANSIENT_CODES.has(code),
    )
  }
}

async function inspect(path: string): Promise<{ size: number; isFile: boolean }> {
  const facts = await stat(path)
  return { size: facts.size, isFile: facts.isFile() }
}

function no(reason: string, isTransient = false): ExecutableCheck {
  return { ok: false, reason, isTransient }
}

async function readHead(path: string): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY)
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}

async function findScriptProblem(head: Buffer, interpretersLeft: number): Promise<string | undefined> {
  const [interpreter = ''] = (head.toString('utf8', 2).split('\n', 1)[0] ?? '').trim().split(/[ \t]/, 1)
  if (interpreter === '') return 'is a script that names no interpreter'
  if (interpretersLeft === 0) return 'is a script with too many interpreters in a row'
  const found = await check(interpreter, interpretersLeft - 1)
  return found.ok ? undefined : `is a script, and its interpreter cannot be used: ${found.reason}`
}

/** Mach-O: 32 and 64 bit in both byte orders, and the two universal forms. */
const MACH_O_MAGICS: ReadonlySet<number> = new Set([
  0xfeedface, 0xfeedfacf, 0xcefaedfe, 0xcffaedfe, 0xcafebabe, 0xcafebabf,
])

function findProgramProblem(head: Buffer, sizeBytes: number): string | undefined {
  if (head.length === 0) return 'is empty'
  if (head.toString('latin1', 0, 4) === '\x7fELF') return findElfProblem(head, sizeBytes)
  if (head.toString('latin1', 0, 2) === 'MZ') return undefined
  if (head.length >= 4 && MACH_O_MAGICS.has(head.readUInt32BE(0))) return undefined
  return 'is not a program: it begins neither like an ELF, Mach-O or PE file nor with "#!"'
}

const ELF_HEADER_BYTES = 64
/** `e_type`: an executable at a fixed address, or one that can be placed anywhere. */
const ELF_PROGRAM_TYPES: readonly number[] = [2, 3]
/** The machines (`e_machine`) that Linux executes on each architecture of Node, the 32-bit one included. */
const ELF_MACHINES: Readonly<Record<string, readonly number[]>> = { x64: [62, 3], arm64: [183, 40] }

/** Checks the fields without which Linux answers ENOEXEC, which is what makes `execvp` turn to the shell. */
function findElfProblem(head: Buffer, sizeBytes: number): string | undefined {
  if (head.length < ELF_HEADER_BYTES) return 'is a damaged ELF file: its header is cut short'
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength)
  const isLittleEndian = head[5] === 1
  const isWide = head[4] === 2
  const readUInt16 = (at: number) => view.getUint16(at, isLittleEndian)
  const tableAt = isWide ? Number(view.getBigUint64(32, isLittleEndian)) : view.getUint32(28, isLittleEndian)
  const [entryBytes, entries] = isWide ? [readUInt16(54), readUInt16(56)] : [readUInt16(42), readUInt16(44)]
  const isTableSound =
    entryBytes === (isWide ? 56 : 32) && entries > 0 && tableAt + entryBytes * entries <= sizeBytes
  if (!isTableSound || !ELF_PROGRAM_TYPES.includes(readUInt16(16)))
    return 'is a damaged ELF file, or not a program'
  const machine = readUInt16(18)
  if (platform === 'linux' && ELF_MACHINES[arch]?.includes(machine) === false)
    return `is a program for another processor (ELF machine ${machine}, this host is ${arch})`
  return undefined
}
