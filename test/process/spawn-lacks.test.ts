import { EventEmitter } from 'node:events'
import { expect, test, vi } from 'vitest'
import { spawnChild } from '../../src/process/spawn.ts'

// A host without file descriptors or processes cannot run a test, so the refusal is the test's own.
const refusal = vi.hoisted(() => ({ code: '' }))
vi.mock('node:child_process', () => ({
  spawn: () => {
    const process = new EventEmitter()
    const error = Object.assign(new Error(`spawn ${refusal.code}`), { code: refusal.code })
    setImmediate(() => process.emit('error', error))
    return process
  },
}))

test.each([
  ['EMFILE', 'later'],
  ['ENFILE', 'later'],
  ['EAGAIN', 'later'],
  ['ENOMEM', 'later'],
  ['ETXTBSY', 'later'],
  ['EACCES', 'never'],
  ['EUNHEARDOF', undefined],
])('a spawn refused with %s is named, and is to be tried again: %s (fault 5)', async (code, retry) => {
  refusal.code = code
  const result = await spawnChild({ command: process.execPath, args: [], env: {}, markers: {} })
  expect(result).toMatchObject({ ok: false, failure: { code: 'LEASEHOLD_SPAWN_FAILED' } })
  expect(!result.ok && result.failure.retry).toBe(retry)
  expect(!result.ok && result.failure.message).toContain(`(${code})`)
})
