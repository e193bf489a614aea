// @module-tag proof

import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { listMisfits, listViolations, looks } from './axe.ts'
import { createFastProvider, drawn, hasNoBrowser, openStage, pictures } from './browser.ts'

const EVIL = '<img src=x onerror="window.owned = 1"> \u001b[31mred\u001b[0m \u202Egnp.exe'

describe.skipIf(hasNoBrowser)('the view of the host', () => {
  test("follows leasehold's own log, searches it, and shows hostile text as text", {
    timeout: 240_000,
  }, async () => {
    const crash = `console.error(${JSON.stringify(EVIL)}); process.exit(1)`
    await using stage = await openStage({
      providers: {
        fast: await createFastProvider(),
        crash: {
          baseUrl: 'http://127.0.0.1:9/v1',
          localService: { command: process.execPath, args: ['-e', crash] },
          models: [{ id: 'm' }],
        },
      },
      leasehold: { backoffMs: 600_000, backoffMaxMs: 600_000 },
      viewport: { width: 1440, height: 900 },
    })
    const { page, url, complaints } = stage
    await page.goto(`${url}/#/host`)
    const log = page.getByRole('log', { name: 'Log of leasehold' })
    await (await stage.ask('fast')).text()
    await expect.poll(() => log.textContent(), { timeout: 60_000 }).toMatch(/fast {2}in use/)
    await (await stage.ask('crash')).text()
    await log.locator('.line.bad, .line.warn').first().waitFor()
    const text = (await log.textContent()) ?? ''
    for (const control of ['\u001b', '\u202E']) expect(text).not.toContain(control)
    for (const { width, theme } of looks) {
      await page.setViewportSize({ width, height: 900 })
      await page.emulateMedia({ colorScheme: theme })
      await drawn(page)
      expect(await listViolations(page)).toEqual([])
      expect(await listMisfits(page)).toEqual([])
      if (pictures !== undefined) await page.screenshot({ path: `${pictures}/host-${theme}-${width}.png` })
    }
    // Levels and words leave lines out.
    const all = await log.locator('.line').count()
    await page.getByRole('button', { name: 'Warnings' }).click()
    await expect.poll(() => log.locator('.line').count()).toBeLessThan(all)
    await page.getByRole('button', { name: 'All', exact: true }).click()
    await page.keyboard.press('/')
    await page.keyboard.type('exited')
    await log.locator('mark').first().waitFor()
    const downloading = page.waitForEvent('download')
    await page.getByRole('button', { name: 'Download the log' }).click()
    const saved = await readFile(await (await downloading).path(), 'utf8')
    expect(saved.trim().split('\n').length).toBe(await log.locator('.line').count())
    expect(await page.evaluate(() => 'owned' in window)).toBe(false)
    expect(complaints).toEqual([])
  })

  test('goes on with the log of the next gateway, without doubled lines', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openStage({ providers: { fast: await createFastProvider() } })
    const { page, url, complaints } = stage
    await page.goto(`${url}/#/host`)
    const log = page.getByRole('log', { name: 'Log of leasehold' })
    const countReady = async () =>
      (await log.locator('.line').allTextContents()).filter((line) => /fast {2}in use/.test(line)).length
    await (await stage.ask('fast')).text()
    await expect.poll(countReady, { timeout: 60_000 }).toBe(1)
    await stage.leave()
    await page.getByText('The connection to the gateway is lost.').waitFor()
    expect(await countReady()).toBe(1)
    await stage.comeBack()
    await page.getByText('The connection to the gateway is lost.').waitFor({ state: 'detached' })
    await expect.poll(countReady, { timeout: 60_000 }).toBe(0)
    await (await stage.ask('fast')).text()
    await expect.poll(countReady, { timeout: 60_000 }).toBe(1)
    expect(complaints).toEqual([])
  })
})
