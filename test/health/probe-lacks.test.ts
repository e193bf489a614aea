import { Subject } from 'rxjs'
import { expect, test, vi } from 'vitest'
import type { Verdict } from '../../machines/messages.ts'
import { createHeartbeat$, createWarmHealth$ } from '../../src/health/health.ts'
import { ProbeError, probe } from '../../src/health/probe.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'

// A host without file descriptors cannot run a test, so the refusal is the test's own.
const host = vi.hoisted(() => ({ lacks: '' as string | undefined }))
vi.mock('../../src/transport/get.ts', () => ({
  get: async () => {
    if (host.lacks === undefined) return { status: 200, headers: {}, body: '{}' }
    throw Object.assign(new Error(`connect ${host.lacks}`), { code: host.lacks })
  },
}))

const ask = () => probe({ url: 'http://127.0.0.1:1/health', headers: {}, clock: createVirtualClock() })

test.each(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL'])(
  'a probe that this host cannot make for want of something (%s) is no verdict, and says so (fault 40)',
  async (code) => {
    host.lacks = code
    const error = await ask().catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(ProbeError)
    expect(error).toMatchObject({ code, message: expect.stringContaining(code) })
  },
)

test.each([
  [
    'while it warms up',
    (output$: Subject<unknown>, clock: ReturnType<typeof createVirtualClock>) =>
      createWarmHealth$({ probe: ask, clock, output$ }),
  ],
  [
    'while it is up',
    (_: Subject<unknown>, clock: ReturnType<typeof createVirtualClock>) =>
      createHeartbeat$({ probe: ask, clock, everyMs: 1_000 }),
  ],
])('a service is told nothing of such probes %s, and asked again later (fault 40)', async (_, watch) => {
  host.lacks = 'EMFILE'
  const clock = createVirtualClock()
  const verdicts: Verdict[] = []
  const watching = watch(new Subject(), clock).subscribe((verdict) => verdicts.push(verdict))
  await clock.advanceTo(10_000)
  expect(verdicts).toEqual([])
  host.lacks = undefined
  await clock.advanceTo(12_000)
  expect(verdicts[0]).toMatchObject({ kind: 'ready' })
  watching.unsubscribe()
})
