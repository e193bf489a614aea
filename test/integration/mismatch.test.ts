// @module-tag waits

import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import type { Failure } from '../../machines/messages.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { afterBackoff, createLibraryOf, type LibraryOptions } from './library.ts'

const oddHealth = fileURLToPath(new URL('../fixtures/odd-health.mjs', import.meta.url))
const leasehold = { breakerFailures: 2, breakerCooldownMs: 60_000, backoffMs: 1, backoffMaxMs: 1 }

const open = (
  what: readonly string[],
  { readyTimeoutMs = 5_000, ...options }: LibraryOptions & { readyTimeoutMs?: number } = {},
) =>
  createLibraryOf(process.execPath, (port) => [oddHealth, String(port), ...what], {
    leasehold,
    ...options,
    service: { readyTimeoutMs, ...options.service },
  })

const acquire = (library: Awaited<ReturnType<typeof open>>) =>
  library.supervisor.acquire('demo').then(
    async (lease) => {
      await lease.release()
      return undefined
    },
    (error: { code: string; message: string; failure: Failure }) => error,
  )

test.each([
  ['404', 'answers 404 at', 'set localService.healthUrl'],
  ['405', 'answers 405 at', 'set localService.healthUrl'],
  ['401', 'answers 401 at', 'apiKey'],
  ['403', 'answers 403 at', 'apiKey'],
  ['302', 'answers 302 (a redirect) at', 'set localService.healthUrl'],
])(
  'a server of ours whose health URL answers %s fails at the deadline, with the URL and the option, and opens the breaker',
  async (what, answered, cure) => {
    await using library = await open([what])
    const url = `http://127.0.0.1:${library.port}/v1/models`

    const first = await acquire(library)
    await afterBackoff(library)
    const second = await acquire(library)
    await library.untilState('down.tripped')
    const third = await acquire(library)

    expect(first).toMatchObject({ code: 'LEASEHOLD_HEALTH_MISMATCH' })
    expect(first?.message).toMatch(/the server we started \(pid \d+\)/)
    expect(first?.message).toContain(`${answered} ${url}`)
    expect(first?.message).toContain(cure)
    expect(second).toMatchObject({ code: 'LEASEHOLD_HEALTH_MISMATCH' })
    expect(third).toMatchObject({
      code: 'LEASEHOLD_CIRCUIT_OPEN',
      failure: { cause: { code: 'LEASEHOLD_HEALTH_MISMATCH' } },
    })
    expect(library.all('process.spawned')).toHaveLength(2)
  },
)

test('a server of ours that answers 404 while it loads is waited for', async () => {
  await using library = await open(['404', '600'], { readyTimeoutMs: 20_000 })
  expect(await acquire(library)).toBeUndefined()
  expect(library.all('process.spawned')).toHaveLength(1)
})

test('a server of ours is ready with any 2xx, and stays so', async ({ expect }) => {
  await using library = await open(['<html>hello</html>'], {
    readyTimeoutMs: 20_000,
    leasehold: { ...leasehold, heartbeatMs: 20 },
  })
  expect(await acquire(library)).toBeUndefined()
  await library.supervisor.start('demo')
  const asked = async () => Number(await (await fetch(`http://127.0.0.1:${library.port}/asked`)).text())
  const before = await asked()
  // More heartbeats than one that is unwell survives.
  await expect.poll(asked, { timeout: 20_000 }).toBeGreaterThan(before + 5)
  expect(library.supervisor.snapshot().services[0]).toMatchObject({ state: 'ready', failure: null })
})

test('the last failure stays visible after the back-off, until the next success', async () => {
  await using library = await open(['404', '2500'], { readyTimeoutMs: 1_000 })
  const error = await acquire(library)
  await library.untilState('down.cold')
  const [service] = library.supervisor.snapshot().services

  expect(service).toMatchObject({ state: 'down.cold', failure: { code: 'LEASEHOLD_HEALTH_MISMATCH' } })
  expect(service?.explanation.title).toBe('Down, after a failure')
  expect(service?.explanation.sentence).toContain('answers 404 at')
  expect(error?.message).toContain('answers 404 at')
})

test('a server of ours that listens on another port ends the wait long before the deadline, with both ports', async () => {
  const other = await findFreePort()
  const begunMs = performance.now()
  await using library = await createLibraryOf(
    process.execPath,
    () => [oddHealth, String(other), '{"data":[]}'],
    {
      leasehold,
      service: { readyTimeoutMs: 60_000 },
    },
  )
  const error = await acquire(library)
  expect(error).toMatchObject({ code: 'LEASEHOLD_HEALTH_MISMATCH' })
  expect(error?.message).toContain(`listens on ${other} instead of ${library.port}`)
  expect(performance.now() - begunMs).toBeLessThan(30_000)
})

test('a server of ours that listens on its port at another address ends the wait long before the deadline', async () => {
  const script = `require('node:http').createServer((_, response) => response.end('{"data":[]}')).listen(PORT, '127.0.0.9')`
  await using library = await createLibraryOf(
    process.execPath,
    (port) => ['-e', script.replace('PORT', String(port))],
    { leasehold, service: { readyTimeoutMs: 60_000 } },
  )
  const { port } = library
  const error = await acquire(library)
  expect(error).toMatchObject({ code: 'LEASEHOLD_HEALTH_MISMATCH' })
  expect(error?.message).toContain(`listens on 127.0.0.9:${port} instead of 127.0.0.1:${port}: set its host`)
})

test('a healthUrl of https for a plain server ends the wait long before the deadline', async () => {
  const begunMs = performance.now()
  const port = await findFreePort()
  await using library = await createLibraryOf(
    process.execPath,
    () => [oddHealth, String(port), '{"data":[]}'],
    {
      leasehold,
      provider: { baseUrl: `https://127.0.0.1:${port}/v1` },
      service: { readyTimeoutMs: 60_000, healthUrl: `https://127.0.0.1:${port}/v1/models` },
    },
  )
  const error = await acquire(library)
  expect(error).toMatchObject({ code: 'LEASEHOLD_HEALTH_MISMATCH' })
  expect(error?.message).toMatch(/the server we started \(pid \d+\) cannot be asked at https:/)
  expect(error?.message).toContain('does not speak TLS')
  expect(error?.message).toContain('write http://')
  expect(library.all('process.spawned')).toHaveLength(1)
  expect(performance.now() - begunMs).toBeLessThan(30_000)
})

test('requests that meet a moment without a listener wait for it, and do not get the server stopped (fault 39)', async ({
  expect,
}) => {
  await using library = await open(['{"data":[]}'], { readyTimeoutMs: 20_000 })
  const ask = () =>
    library.supervisor
      .fetch('http://leasehold/v1/chat/completions', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'demo/demo', messages: [] }),
      })
      .then((response) => response.status)
  expect(await ask()).toBe(200)
  const { origin } = new URL(`http://127.0.0.1:${library.port}`)
  await fetch(`${origin}/pause?ms=1500`)
  const isGone = () =>
    fetch(`${origin}/asked`).then(
      () => false,
      () => true,
    )
  await expect.poll(isGone).toBe(true)

  expect(await Promise.all([ask(), ask(), ask(), ask()])).toEqual([200, 200, 200, 200])
  // Each was sent once in vain: the others waited for the next good check.
  expect(library.all('request.attempted').length).toBeLessThanOrEqual(4)
  expect(library.all('process.spawned')).toHaveLength(1)
  expect(library.all('process.signalled')).toEqual([])
})
