// @module-tag proof

import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { createFastProvider, drawn, hasNoBrowser, openStage } from './browser.ts'
import { listResting } from './resting.ts'

/** Bytes a second, and milliseconds each way. */
const LINE = { offline: false, latency: 40, downloadThroughput: 50_000, uploadThroughput: 50_000 }

/** When each was there first, in milliseconds since the page was asked for. */
interface Seen {
  frame: number
  services: number
}

describe.skipIf(hasNoBrowser)('the page on a line of 50 kB/s', () => {
  test('shows its frame and then its services within two seconds, however many events are kept', {
    timeout: 240_000,
  }, async () => {
    const fast = await createFastProvider()
    await using stage = await openStage({ providers: { fast, ...listResting(29) } })
    const { page, url, context } = stage
    // Eight events each: together they take many seconds on this line.
    for (let round = 0; round < 40; round += 1)
      await Promise.all(Array.from({ length: 10 }, async () => (await stage.ask('fast')).text()))
    const session = await context.newCDPSession(page)
    await session.send('Network.enable')
    await session.send('Network.emulateNetworkConditions', LINE)
    await page.addInitScript(() => {
      const seen: Partial<Seen> = {}
      Object.assign(globalThis, { seen })
      const wanted = { frame: '#app', services: 'tr.one' }
      const look = () => {
        for (const [name, selector] of Object.entries(wanted) as ['frame' | 'services', string][])
          if (document.querySelector(selector) !== null) seen[name] ??= performance.now()
      }
      new MutationObserver(look).observe(document, { childList: true, subtree: true })
    })
    // A busy host only adds time: the best of three counts, each without a cache.
    await session.send('Network.setCacheDisabled', { cacheDisabled: true })
    let seen: Seen = { frame: Number.POSITIVE_INFINITY, services: Number.POSITIVE_INFINITY }
    for (let tries = 0; tries < 3 && seen.services >= 2_000; tries += 1) {
      await page.goto('about:blank')
      await page.goto(url)
      await page.locator('tr.one').nth(29).waitFor()
      seen = await page.evaluate(() => (globalThis as unknown as { seen: Seen }).seen)
    }
    console.info(`frame after ${Math.round(seen.frame)} ms, services after ${Math.round(seen.services)} ms`)
    expect(seen.frame).toBeLessThan(2_000)
    expect(seen.services).toBeLessThan(2_000)
    // What it was shown before the events is what they end with, and the other views come, too.
    await page.goto(`${url}/#/requests`)
    await page.locator('tr.one').nth(20).waitFor()
    await page.goto(`${url}/#/`)
    await page.getByRole('link', { name: 'fast', exact: true }).first().waitFor()
    expect(stage.complaints).toEqual([])
  })

  test('does not change its overview when the other views come', { timeout: 240_000 }, async () => {
    const fast = await createFastProvider({ idleStopMs: 3_600_000 })
    await using stage = await openStage({ providers: { fast } })
    const { page, url } = stage
    await (await stage.ask('fast')).text()
    for (const width of [390, 1440]) {
      await page.setViewportSize({ width, height: 1_000 })
      let release = () => {}
      const isReleased = new Promise<void>((resolve) => {
        release = resolve
      })
      await page.route('**/page/*.js', async (route) => {
        await isReleased
        await route.continue()
      })
      await page.goto('about:blank')
      await page.goto(url)
      await page.getByLabel('Lately').getByText('starts').waitFor()
      await page.locator('.next .ring').waitFor({ state: 'attached' })
      const before = await listStyles(page)
      release()
      await expect.poll(() => page.evaluate(() => document.adoptedStyleSheets.length)).toBe(2)
      await drawn(page)
      await drawn(page)
      expect(await listStyles(page), String(width)).toEqual(before)
      await page.unroute('**/page/*.js')
    }
    expect(stage.complaints).toEqual([])
  })
})

/** How each element of the view is laid out and painted. */
function listStyles(page: Page): Promise<readonly string[]> {
  return page.evaluate(() => {
    const names = ['display', 'padding', 'margin', 'border', 'gap', 'alignItems', 'fontSize', 'background']
    return [...document.querySelectorAll<HTMLElement>('main, main *')].map((element) => {
      const style = getComputedStyle(element) as unknown as Record<string, string>
      return [element.tagName, element.getAttribute('class'), ...names.map((name) => style[name])].join(' | ')
    })
  })
}
