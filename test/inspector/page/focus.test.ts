// @module-tag proof

import { describe, expect, test } from 'vitest'
import { createFastProvider, hasNoBrowser, openStage } from './browser.ts'
import { listEndless, watchFrames } from './motion.ts'

describe.skipIf(hasNoBrowser)('the page while it is drawn again and again', () => {
  test('keeps the focus through 200 redraws, and the text of the filter with its selection', {
    timeout: 300_000,
  }, async () => {
    const fast = await createFastProvider()
    await using stage = await openStage({
      providers: { fast },
      steered: { chat: {}, other: {}, third: {} },
    })
    const { page, url } = stage
    const listFrames = await watchFrames(page)
    const countDraws = async () => (await listFrames()).length
    await page.goto(url)
    const row = page.locator('tr.one', { hasText: 'fast' })
    await row.waitFor()
    const isOver = { now: false }
    const asking = Promise.all(
      [1, 2].map(async () => {
        while (!isOver.now) await (await stage.ask('fast')).text()
      }),
    )
    const drawnOften = async (times: number) => {
      const begun = await countDraws()
      await expect.poll(countDraws, { timeout: 120_000 }).toBeGreaterThan(begun + times)
    }
    const filter = page.getByLabel('Filter services')
    await filter.waitFor()
    await page.keyboard.press('/')
    await page.keyboard.type('fast')
    await page.keyboard.press('Shift+ArrowLeft')
    await drawnOften(100)
    const kept = await filter.evaluate((element) => {
      const { value, selectionStart, selectionEnd } = element as HTMLInputElement
      return { value, selectionStart, selectionEnd, isAt: document.activeElement === element }
    })
    expect(kept).toEqual({ value: 'fast', selectionStart: 3, selectionEnd: 4, isAt: true })
    await page.keyboard.press('Escape')
    const link = row.getByRole('link', { name: 'fast' })
    await link.focus()
    await page.keyboard.press('Tab')
    const handle = await page.evaluateHandle(() => document.activeElement)
    await drawnOften(100)
    expect(await handle.evaluate((element) => document.activeElement === element)).toBe(true)
    isOver.now = true
    await asking
    expect(stage.complaints).toEqual([])
  })

  test('turns and breathes only where something goes on, and not at all with reduced motion', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openStage({ steered: { chat: { service: { idleStopMs: 600_000 } } } })
    const { page, url, steered } = stage
    await page.emulateMedia({ reducedMotion: 'no-preference' })
    await page.goto(url)
    const asking = stage.ask('chat')
    await page.locator('tr.one[data-look=loading]').waitFor()
    await expect.poll(() => listEndless(page)).not.toEqual([])
    await page.emulateMedia({ reducedMotion: 'reduce' })
    for (const place of ['#/', '#/service/chat', '#/requests', '#/timeline', '#/machines/chat']) {
      await page.evaluate((hash) => location.assign(hash), place)
      await expect.poll(() => listEndless(page), { message: place }).toEqual([])
    }
    await page.emulateMedia({ reducedMotion: 'no-preference' })
    await page.evaluate(() => location.assign('#/'))
    await steered.chat?.steer('ready')
    await page.locator('tr.one[data-look=use]').waitFor()
    await steered.chat?.steer('answer')
    await (await asking).text()
    await page.locator('tr.one[data-look=idle]').waitFor()
    // That it started is told below the table, and is over.
    await page.getByLabel('Lately').getByText('starts').waitFor()
    await expect.poll(() => listEndless(page)).toEqual([])
    expect(stage.complaints).toEqual([])
  })
})
