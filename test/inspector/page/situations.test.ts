// @module-tag proof

import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { loadConfig } from '../../../src/config/load.ts'
import { findFreePort } from '../../../src/testing/real-host.ts'
import { hasNoBrowser, inState, openStage, pictures, toService } from './browser.ts'

const sleeper = fileURLToPath(new URL('../../fixtures/sleeper.mjs', import.meta.url))

describe.skipIf(hasNoBrowser)('the page alone says what is going on, and what to do', () => {
  test('of a service that hangs in loading', { timeout: 240_000 }, async () => {
    await using stage = await openStage({
      steered: { hung: { lines: ['load_tensors: 12 %'], service: { readyTimeoutMs: 15_000 } } },
      leasehold: { backoffMs: 60_000 },
    })
    const { page, url } = stage
    await page.goto(toService(url, 'hung'))
    const asking = stage.ask('hung')
    await page.getByRole('heading', { name: /Loading for \d.* s of 15 s/ }).waitFor()
    const why = (await page.locator('.why').textContent()) ?? ''
    expect(why).toContain('Its last health check said: loading (503 Loading model)')
    expect(why).toContain('It last printed: load_tensors: 12 %')
    expect(why).toContain('1 request waits for it')
    expect(why).toMatch(/Its start fails in \d/)
    expect(await page.getByLabel('What you can do').textContent()).toContain('If it makes progress, wait')
    if (pictures !== undefined) await page.screenshot({ path: `${pictures}/hung.png` })
    await page.getByRole('heading', { name: 'Failed', level: 2 }).waitFor()
    expect(await page.locator('.why').textContent()).toContain('Not ready within 15000 ms')
    expect(await page.getByLabel('What you can do').textContent()).toContain('raise readyTimeoutMs')
    expect((await asking).status).toBe(504)
  })

  test('of a service that crashes in a loop', { timeout: 240_000 }, async () => {
    const crash = "console.error('error: no such file: /models/missing.gguf'); process.exit(1)"
    await using stage = await openStage({
      providers: {
        crash: {
          baseUrl: 'http://127.0.0.1:9/v1',
          localService: { command: process.execPath, args: ['-e', crash] },
          models: [{ id: 'm' }],
        },
      },
      leasehold: { backoffMs: 50, backoffMaxMs: 50, breakerFailures: 3, breakerCooldownMs: 60_000 },
    })
    const { page, url } = stage
    await page.goto(toService(url, 'crash'))
    await page.locator('.service').waitFor()
    const heading = page.getByRole('heading', { name: 'Keeps failing: requests are refused at once' })
    // A request during the backoff meets the last failure and starts nothing.
    const ask = async () => {
      await (await stage.ask('crash')).text()
      return heading.isVisible()
    }
    await expect.poll(ask, { timeout: 60_000 }).toBe(true)
    const why = (await page.locator('.why').textContent()) ?? ''
    expect(why).toContain(
      'The process exited with code 1 before it was ready: error: no such file: /models/missing.gguf. 3 failures in a row',
    )
    expect(why).toMatch(/One trial start is allowed in \d/)
    const advice = (await page.getByLabel('What you can do').textContent()) ?? ''
    expect(advice).toContain('Run its command by hand')
    if (pictures !== undefined) {
      await page.emulateMedia({ colorScheme: 'dark' })
      await page.screenshot({ path: `${pictures}/crash-loop-dark.png` })
    }
    expect(advice).toContain('When the cause is fixed, start it')
  })

  test('of a service that waits for its turn, because another one starts', { timeout: 240_000 }, async () => {
    await using stage = await openStage({
      steered: { first: {}, second: {} },
      leasehold: { maxConcurrentStarts: 1 },
    })
    const { page, url, steered } = stage
    await page.goto(toService(url, 'first'))
    const asking = [stage.ask('first')]
    await inState(page, 'starting.warming')
    asking.push(stage.ask('second'))
    await page.goto(toService(url, 'second'))
    await page.getByRole('heading', { name: 'Waits for its turn to start' }).waitFor()
    expect(await page.locator('.why').textContent()).toContain(
      'Ahead of it: first (starting). 1 request waits for it',
    )
    expect(await page.getByLabel('What you can do').textContent()).toContain(
      'It starts as soon as first is ready',
    )
    await steered.first?.steer('ready')
    await inState(page, 'starting.warming')
    await steered.second?.steer('ready')
    await inState(page, 'leased.open')
    await Promise.all([steered.first?.steer('answer'), steered.second?.steer('answer')])
    for (const answer of await Promise.all(asking)) expect(answer.status).toBe(200)
  })

  test('of a service that waits for the memory of another', { timeout: 240_000 }, async () => {
    const needs = { ramMiB: 6_000 }
    await using stage = await openStage({
      steered: { first: { service: { needs } }, second: { service: { needs, maxStarveMs: 600_000 } } },
      leasehold: { budgets: { ramMiB: 8_000 } },
    })
    const { page, url, steered } = stage
    await page.goto(toService(url, 'first'))
    const first = stage.ask('first')
    await steered.first?.steer('ready')
    await page.getByRole('heading', { name: 'In use by 1 request' }).waitFor()
    const second = stage.ask('second')
    // Who holds the memory says that another one waits for it.
    await expect.poll(() => page.locator('.why').textContent()).toContain('second waits for its room')
    await page.goto(toService(url, 'second'))
    await page.getByRole('heading', { name: 'Waits for room that first has' }).waitFor()
    // It has just come up at first, and is in use after that.
    await expect
      .poll(() => page.locator('.why').textContent(), { timeout: 60_000 })
      .toContain(
        'second needs 6000 MiB of RAM (2000 of 8000 free), and no other service can make room for it: first holds 6000 MiB of RAM and is in use. 1 request waits for it. It starts when first is done.',
      )
    const advice = page.getByLabel('What you can do')
    expect(await advice.textContent()).toContain(
      'If second matters more, stop first: its running requests finish first.',
    )
    expect(await advice.textContent()).toContain('raise leasehold.budgets.ramMiB')
    if (pictures !== undefined) await page.screenshot({ path: `${pictures}/waits-for-room.png` })
    // And the page alone can do it: first drains, second gets its turn.
    await advice.getByRole('button', { name: 'Stop first' }).click()
    await steered.first?.steer('answer')
    expect((await first).status).toBe(200)
    await inState(page, 'starting.warming')
    await steered.second?.steer('ready')
    await inState(page, 'leased.open')
    await steered.second?.steer('answer')
    expect((await second).status).toBe(200)
    expect(stage.complaints).toEqual([])
  })

  test('of a queue that is longer than the server takes', { timeout: 240_000 }, async () => {
    await using stage = await openStage({
      steered: { busy: { service: { maxConcurrent: 1, maxQueue: 3 } } },
    })
    const { page, url, steered } = stage
    await page.goto(toService(url, 'busy'))
    const asking = [1, 2, 3].map(() => stage.ask('busy'))
    await steered.busy?.steer('ready')
    await page.getByRole('heading', { name: 'In use by 1 request' }).waitFor()
    await expect.poll(() => page.locator('.why').textContent()).toContain('2 more wait for a free place')
    await expect.poll(() => page.locator('.people.waiting .position').allTextContents()).toEqual(['1', '2'])
    asking.push(stage.ask('busy'))
    await expect
      .poll(() => page.locator('.people.waiting .position').allTextContents())
      .toEqual(['1', '2', '3'])
    expect((await stage.ask('busy')).status).toBe(429)
    await page.getByRole('heading', { name: 'In use by 1 request, and its queue is full' }).waitFor()
    expect(await page.locator('.why').textContent()).toContain('further requests are refused')
    if (pictures !== undefined) await page.screenshot({ path: `${pictures}/queue-full.png` })
    expect(await page.getByLabel('What you can do').textContent()).toContain('maxConcurrent')
    for (const answer of asking) {
      await steered.busy?.steer('answer')
      await expect
        .poll(async () => {
          await steered.busy?.steer('answer')
          return Promise.race([
            answer.then(({ status }) => status),
            new Promise((resolve) => setTimeout(resolve, 100)),
          ])
        })
        .toBe(200)
    }
  })

  test('of a provider that cannot be used on this host', { timeout: 240_000 }, async () => {
    const unset = `\${PAGE_TEST_UNSET}`
    const gone = { baseUrl: 'http://127.0.0.1:9/v1', apiKey: unset, models: [{ id: 'm' }] }
    const missing = `${unset} is not set`
    {
      await using stage = await openStage({ providers: { gone }, steered: { chat: {} } })
      const { page, url } = stage
      await page.goto(url)
      await page.locator('tr.one').waitFor()
      const listed = page.getByLabel('Unavailable providers')
      expect(await listed.textContent()).toBe(`1 provider cannot be used on this host:gone: ${missing}`)
      expect(await page.locator('tr.one').count()).toBe(1)
      expect(stage.complaints).toEqual([])
    }
    await using stage = await openStage({ providers: { gone, lost: gone } })
    const { page, url } = stage
    await page.goto(url)
    await page.getByRole('heading', { name: 'No provider can be used' }).waitFor()
    expect(await page.getByLabel('Unavailable providers').getByRole('listitem').allTextContents()).toEqual([
      `gone: ${missing}`,
      `lost: ${missing}`,
    ])
  })

  test('of a configuration that was refused, until one is accepted', { timeout: 240_000 }, async () => {
    await using stage = await openStage({ steered: { chat: {} } })
    const { page, url, supervisor } = stage
    await page.goto(url)
    await page.locator('tr.one').waitFor()
    const { config } = supervisor
    await supervisor.replaceConfig(loadConfig('/not/there/leasehold.json5')).then(
      () => expect.unreachable(),
      () => {},
    )
    await page.getByRole('alert').waitFor()
    expect(await page.getByRole('alert').textContent()).toMatch(
      /^The file .* was refused at \d\d:\d\d:\d\d: There is no such file\. The configuration of \d\d:\d\d:\d\d is still in force\./,
    )
    await supervisor.replaceConfig(config)
    await page.getByRole('alert').waitFor({ state: 'detached' })
    expect(stage.complaints).toEqual([])
  })

  test.runIf(process.platform === 'linux')(
    'of a watchdog that cannot be kept running (fault 104)',
    { timeout: 240_000 },
    async () => {
      await using stage = await openStage({ steered: { chat: {} } })
      const { page, url, supervisor, steered } = stage
      const starting = supervisor.start('chat')
      await steered.chat?.steer('ready')
      await starting
      await page.goto(toService(url, 'chat'))
      await inState(page, 'ready')
      expect(await page.getByRole('alert').count()).toBe(0)
      let killed = 0
      await expect
        .poll(
          () => {
            const { pid, problem } = supervisor.snapshot().watchdog
            if (pid !== null && pid !== killed) process.kill(pid, 'SIGKILL')
            killed = pid ?? killed
            return problem
          },
          { timeout: 60_000, interval: 5 },
        )
        .not.toBeNull()
      await page.getByRole('alert').waitFor()
      expect(await page.getByRole('alert').textContent()).toBe(
        'No watchdog runs (it ended with SIGKILL): if leasehold is killed, its servers may stay; it is tried again.',
      )
      expect(stage.complaints).toEqual([])
    },
  )

  test('of a service that sleeps, and is woken', { timeout: 240_000 }, async () => {
    const port = await findFreePort()
    const origin = `http://127.0.0.1:${port}`
    await using stage = await openStage({
      providers: {
        sleepy: {
          baseUrl: `${origin}/v1`,
          models: [{ id: 'm' }],
          localService: {
            command: process.execPath,
            args: ['--expose-gc', sleeper, '--port', String(port), '--wake-ms', '3000'],
            healthUrl: `${origin}/health`,
            sleep: {
              afterMs: 500,
              request: [{ path: '/sleep?level=1' }],
              wake: [{ path: '/wake_up' }],
              check: { path: '/is_sleeping', field: 'is_sleeping' },
            },
          },
        },
      },
    })
    const { page, url, supervisor } = stage
    await supervisor.start('sleepy')
    await page.goto(toService(url, 'sleepy'))
    await inState(page, 'ready.asleep')
    await page.getByRole('heading', { name: 'Asleep', level: 2 }).waitFor()
    expect(await page.locator('.why').textContent()).toContain('Its check says that it sleeps')
    expect(await page.locator('svg.glyph.asleep').count()).toBeGreaterThan(0)
    if (pictures !== undefined) await page.screenshot({ path: `${pictures}/asleep.png` })
    const asking = fetch(`${url}/upstream/sleepy/v1/seen?start=1`)
    await page.getByRole('heading', { name: 'Waking', level: 2 }).waitFor()
    expect(await page.locator('.why').textContent()).toContain('1 request waits until it is awake')
    expect((await asking).status).toBe(200)
    await inState(page, 'ready.asleep')
    // Its shape is another one than that of a service that is ready, and its word is there without the shape.
    await page.goto(`${url}/#/`)
    await page.locator('svg.glyph.asleep').first().waitFor()
    expect(await page.getByRole('main').textContent()).toMatch(/asleep/i)
    expect(stage.complaints).toEqual([])
  })
})
