import { spawn } from 'node:child_process'
import { expect, onTestFinished, test } from 'vitest'
import { freezeTree } from '../../src/process/signals.ts'
import { hasProcfs, type ProcessIdentity, readProcess } from '../../src/process/tree.ts'

/** A process with a session of its own and an empty environment: only its parent and session tell its origin. */
function startStranger(): ProcessIdentity {
  const child = spawn('/bin/sleep', ['600'], { detached: true, env: {}, stdio: 'ignore' })
  onTestFinished(() => void child.kill('SIGKILL'))
  const found = readProcess(child.pid ?? 0)
  if (found === undefined) throw new Error('it was to run')
  return found
}

const root = { pid: 1_000_000, startTicks: 1, markers: { LEASEHOLD_OWNER: 'of a test' } }

test.runIf(hasProcfs)(
  'a member that opens a session between a look and its proof is stopped after the next look',
  async () => {
    const member = startStranger()
    const looks = [{ ...member, sid: member.sid - 1 }, member]
    const frozen = freezeTree(root, () => [looks.shift() ?? member], process.kill)
    expect(frozen).toEqual([member])
    await expect.poll(() => readProcess(member.pid)?.state).toBe('T')
  },
)

test.runIf(hasProcfs)('a process that is not proven to be a member is never stopped', () => {
  const other = startStranger()
  freezeTree(
    root,
    () => [{ ...other, sid: other.sid - 1 }],
    () => expect.fail('it was signalled'),
  )
  expect(readProcess(other.pid)?.state).not.toBe('T')
})
