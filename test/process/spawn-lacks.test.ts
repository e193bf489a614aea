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
  ['EMFILE', true],
  ['ENFILE', true],
  ['EAGAIN', true],
  ['ENOMEM', true],
  ['ETXTBSY', true],
  ['EACCES', false],
  ['EUNHEARDOF', false],
])('a spawn refused with %s is named, and transient: %s', async (code, isTransient) => {
  refusal.code = code
  const result = await spawnChild({ command: process.execPath, args: [], env: {}, markers: {} })
  expect(result).toMatchObject({ ok: false, isTransient, failure: { code: 'LEASEHOLD_SPAWN_FAILED' } })
  expect(!result.ok && result.failure.message).toContain(`(${code})`)
})
