import { mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * Makes a directory for this user alone, with those above it that are missing. One that is there stays as it is.
 * @remarks Node 20's own `recursive` never returns below `/proc`, where an existing directory says ENOENT to `mkdir`.
 */
export function makePrivateDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    const parent = dirname(path)
    const isParentMissing = isCode(error, 'ENOENT') && parent !== path && !isDirectory(parent)
    if (isParentMissing) {
      makePrivateDirectory(parent)
      makePrivateDirectory(path)
    } else if (!isDirectory(path)) throw error
  }
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
