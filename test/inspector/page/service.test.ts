// @module-tag proof

import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { drawn, hasNoBrowser, inState, openStage, toService } from './browser.ts'

describe.skipIf(hasNoBrowser)('the page of a service', () => {
  test('shows its output as a log: followed, searched, by level, copied and downloaded', {
    timeout: 240_000,
  }, async () => {
    const lines = Array.from({ length: 150 }, (_, index) => `slot ${index}: \u001b[31mdone\u001b[0m`)
    await using stage = await openStage({
      steered: { chat: { lines: [...lines, 'W warn: it is slow', 'error: it is broken'] } },
    })
    const { page, url, steered, context } = stage
    await context.grantPermissions(['clipboard-read', 'clipboard-write'])
    await page.goto(toService(url, 'chat'))
    const starting = stage.supervisor.start('chat')
    await inState(page, 'starting.warming')
    const log = page.getByRole('log')
    const shown = log.locator('.line')
    // The colours of a terminal are classes of parts; a search goes across them.
    expect(await log.locator('.sgr-red').first().textContent()).toBe('done')
    // The newest line is in sight. Lines out of sight have no element.
    await log.getByText('error: it is broken').waitFor()
    expect(await shown.count()).toBeLessThan(60)
    expect(await log.locator('.line.bad').allTextContents()).toEqual([
      expect.stringContaining('error: it is broken'),
    ])
    await steered.chat?.steer('print=one%20more%20line')
    await log.getByText('one more line').waitFor()
    // Scrolling up lets go of the end.
    await log.evaluate((element) => {
      element.scrollTop = 0
    })
    await log.getByText('slot 0: done').waitFor()
    const follow = page.getByRole('button', { name: 'Follow' })
    expect(await follow.getAttribute('aria-pressed')).toBe('false')
    await steered.chat?.steer('print=the%20last%20line')
    await drawn(page)
    expect(await log.getByText('the last line').count()).toBe(0)
    await follow.click()
    await log.getByText('the last line').waitFor()
    // Searched, and by level.
    await page.getByLabel('Search output').fill('SLOT 14')
    await expect.poll(() => shown.count()).toBe(11)
    expect(await log.locator('mark').first().textContent()).toBe('slot 14')
    await page.getByLabel('Search output').fill('SLOT 14: DO')
    await expect.poll(() => log.locator('mark').allTextContents()).toEqual(['slot 14: ', 'do'])
    expect(await log.locator('mark.sgr-red').textContent()).toBe('do')
    await page.getByLabel('Search output').fill('SLOT 14')
    await page.getByLabel('Search output').fill('/slot 14[0-3]/')
    await expect.poll(() => shown.count()).toBe(4)
    expect(await log.locator('mark').last().textContent()).toBe('slot 143')
    await page.getByLabel('Search output').fill('')
    await page.getByRole('button', { name: 'Warnings' }).click()
    await expect.poll(() => shown.allTextContents()).toHaveLength(2)
    await page.getByRole('button', { name: 'Copy the output' }).click()
    await page.getByText('The output is copied.').waitFor()
    const copied = await page.evaluate(() => navigator.clipboard.readText())
    expect(copied).toBe('W warn: it is slow\nerror: it is broken\n')
    await page.getByRole('button', { name: 'Errors' }).click()
    const [file] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Download the output' }).click(),
    ])
    expect(file.suggestedFilename()).toBe('chat.log')
    expect(await readFile(await file.path(), 'utf8')).toBe('error: it is broken\n')
    await steered.chat?.steer('ready')
    await starting
    expect(stage.complaints).toEqual([])
  })

  test('opens a state of its chart, shows all of them, and enlarges them', { timeout: 240_000 }, async () => {
    await using stage = await openStage({ steered: { chat: {} } })
    const { page, url } = stage
    await page.goto(toService(url, 'chat'))
    const chart = page.getByLabel('Statechart', { exact: true })
    // From the width of a small laptop on, all six states are in sight.
    for (const width of [1_024, 1_100, 1_280, 1_366, 1_440, 1_460, 1_920]) {
      await page.setViewportSize({ width, height: 900 })
      await drawn(page)
      const hidden = await chart
        .locator('.six-picture')
        .evaluate((element) => element.scrollWidth - element.clientWidth)
      expect(hidden, `${width}`).toBe(0)
    }
    await chart.getByRole('button', { name: /^Starting/ }).press('Enter')
    await chart.getByText('Inside Starting').waitFor()
    expect(await chart.locator('.inner li').allTextContents()).toEqual(
      expect.arrayContaining(['waits for its turn', 'starts the process', 'loads the model']),
    )
    await chart.getByRole('button', { name: 'All', exact: true }).click()
    const picture = chart.locator('.chart.whole svg')
    const width = async () => (await picture.boundingBox())?.width ?? 0
    const before = await width()
    await chart.getByRole('button', { name: 'Larger' }).click()
    await chart.getByRole('button', { name: 'Larger' }).click()
    await expect.poll(width).toBeGreaterThan(before * 1.5)
    await chart.getByRole('button', { name: 'Smaller' }).click()
    await chart.getByText('150 %').waitFor()
    expect(stage.complaints).toEqual([])
  })
})
