// @module-tag proof

import type { CDPSession } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { createFastProvider, drawn, hasNoBrowser, openStage } from './browser.ts'
import { listResting } from './resting.ts'

/** CPU time of the page so far, in seconds, and its heap after a collection, in bytes. */
async function measure(session: CDPSession) {
  await session.send('HeapProfiler.collectGarbage')
  const { metrics } = await session.send('Performance.getMetrics')
  const find = (name: string) => metrics.find((one) => one.name === name)?.value ?? 0
  return { busy: find('TaskDuration'), heap: find('JSHeapUsedSize'), nodes: find('Nodes') }
}

describe.skipIf(hasNoBrowser)('the page', () => {
  test('with a hundred services costs little while nothing changes', { timeout: 240_000 }, async () => {
    await using stage = await openStage({
      steered: { chat: { service: { idleStopMs: 600_000 } } },
      providers: listResting(99),
    })
    const { page, url, steered, supervisor, context } = stage
    const starting = supervisor.start('chat')
    await steered.chat?.steer('ready')
    await starting
    await page.goto(url)
    await page.locator('tr.one').nth(99).waitFor()
    // What ticks is in the table: the countdown of the one that is ready.
    await page.getByText('stops in').waitFor()
    await page.emulateMedia({ reducedMotion: 'no-preference' })
    expect(await page.evaluate(() => document.querySelectorAll('*').length)).toBeLessThanOrEqual(2_500)
    const session = await context.newCDPSession(page)
    await session.send('Performance.enable', { timeDomain: 'threadTicks' })
    // The first looks draw what the events have not told.
    for (let looks = 0; looks < 2; looks += 1)
      await page.waitForResponse((response) => response.url().endsWith('/api/services'))
    const before = await measure(session)
    const begun = performance.now()
    for (let looks = 0; looks < 6; looks += 1)
      await page.waitForResponse((response) => response.url().endsWith('/api/services'))
    const seconds = (performance.now() - begun) / 1_000
    const after = await measure(session)
    const share = (after.busy - before.busy) / seconds
    console.info(`idle: ${(share * 100).toFixed(1)} % of a core, ${after.heap - before.heap} bytes more`)
    expect(share).toBeLessThan(0.06)
    expect(after.heap - before.heap).toBeLessThan(1_000_000)
    expect(stage.complaints).toEqual([])
  })

  test('stays small and quick while requests flood it', { timeout: 240_000 }, async () => {
    const fast = await createFastProvider()
    await using stage = await openStage({ providers: { fast, ...listResting(29) } })
    const { page, url, context } = stage
    await (await stage.ask('fast')).text()
    await page.goto(url)
    await page.locator('tr.one').nth(29).waitFor()
    const session = await context.newCDPSession(page)
    await session.send('Performance.enable', { timeDomain: 'threadTicks' })
    const flood = async (rounds: number) => {
      for (let round = 0; round < rounds; round += 1)
        await Promise.all(Array.from({ length: 16 }, async () => (await stage.ask('fast')).text()))
    }
    await flood(20)
    const before = await measure(session)
    const begun = performance.now()
    await flood(60)
    const seconds = (performance.now() - begun) / 1_000
    const after = await measure(session)
    const share = (after.busy - before.busy) / seconds
    console.info(
      `flood of ${Math.round(960 / seconds)}/s: ${(share * 100).toFixed(1)} % of a core, ${after.heap - before.heap} bytes more`,
    )
    expect(share).toBeLessThan(0.5)
    // The events that are kept, at most ten requests of a second, are what grows.
    expect(after.heap - before.heap).toBeLessThan(4_000_000)
    await drawn(page)
    expect(await page.evaluate(() => document.querySelectorAll('*').length)).toBeLessThanOrEqual(2_500)
    // A figure of the flood is there.
    await expect
      .poll(() => page.locator('.stats').textContent(), { timeout: 30_000 })
      .toMatch(/Requests[1-9]\d* \/ min/)
    expect(stage.complaints).toEqual([])
  })
})
