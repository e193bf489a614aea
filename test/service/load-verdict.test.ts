import { BehaviorSubject, NEVER } from 'rxjs'
import { expect, test } from 'vitest'
import type { HealthCommand, Verdict } from '../../machines/messages.ts'
import { systemClock } from '../../src/clock.ts'
import type { RunHandle } from '../../src/process/run.ts'
import { createHealth$ } from '../../src/service/health-stream.ts'
import type { Service } from '../../src/service/services.ts'

test('a daemon that was asked before its answer to the load does not say that the load has failed', async () => {
  let isDetached = false
  let checks = 0
  const notListed: Verdict = { kind: 'refused', detail: 'not listed', isLoadFailed: true }
  const health$ = createHealth$({
    clock: systemClock,
    runOf: () => ({ generation: 'g', isDetached: () => isDetached, isAlive: () => true }) as RunHandle,
    outputOf: () => NEVER,
    heartbeatMs: () => 60_000,
    publish: () => {},
    check: async () => {
      checks += 1
      // The load is answered while the first look is under way.
      isDetached = true
      return notListed
    },
    lookAtSleep: async () => undefined,
    explain: (_key, verdict) => verdict,
    serviceOf: () => ({ localService: { daemon: {} } }) as Service,
    scrub: (text) => text,
  })
  const commands$ = new BehaviorSubject<HealthCommand>({ type: 'health.warm', generation: 'g' })
  const kinds = await new Promise<readonly string[]>((resolve) => {
    const seen: string[] = []
    const subscription = health$('key', commands$).subscribe((event) => {
      if (event.type === 'health.verdict') seen.push(event.verdict.kind)
      if (seen.length < 2) return
      commands$.next({ type: 'health.rest' })
      subscription.unsubscribe()
      resolve(seen)
    })
  })
  expect(kinds).toEqual(['refused', 'failed'])
  expect(checks).toBe(2)
})
