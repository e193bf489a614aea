import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { makePrivateDirectory } from '../process/private-directory.ts'
import { exitCodes, UsageError } from './exit-codes.ts'
import { describeFileFault } from './file-fault.ts'
import type { Terminal } from './terminal.ts'

/** Random bytes in a key: 256 bits. */
const KEY_BYTES = 32

/**
 * `leasehold keys new`: makes a key for `leasehold.apiKeys`. It is printed once and not stored; or written to a new
 * file that only its owner can read, in such a directory, and not printed.
 */
export async function makeKey(
  file: string | undefined,
  { json }: { readonly json?: boolean },
  terminal: Terminal,
): Promise<number> {
  const key = `lh-${randomBytes(KEY_BYTES).toString('base64url')}`
  if (file === undefined) {
    if (json) terminal.json({ ok: true, key })
    else terminal.line(key)
    return exitCodes.ok
  }
  const path = resolve(file)
  try {
    makePrivateDirectory(dirname(path))
    await writeFile(path, `${key}\n`, { mode: 0o600, flag: 'wx' })
  } catch (error) {
    if (existsSync(path))
      throw new UsageError(`${path} exists already. A key is never written over another file.`)
    throw new UsageError(`${path} cannot be written: ${describeFileFault(error)}.`)
  }
  if (json) terminal.json({ ok: true, file: path })
  else terminal.line(`a new key is in ${path}`)
  return exitCodes.ok
}
