// @module-tag proof

import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { loadConfig } from '../../../src/config/load.ts'
import { drawn, hasNoBrowser } from './browser.ts'
import { openBusyStage, places, showEach } from './busy-stage.ts'

const widths = [390, 768, 1_024, 1_440, 2_560] as const

describe.skipIf(hasNoBrowser)('every view at every width', () => {
  test('has no text that is cut from a button, none below 11 pixels, and nothing beside the window', {
    timeout: 600_000,
  }, async () => {
    await using stage = await openBusyStage()
    const { page, url, supervisor } = stage
    await page.goto(url)
    await page.locator('tr.one').first().waitFor()
    const faults: string[] = []
    const look = (what: string) =>
      showEach(page, what, { widths, places }, async (name) => {
        faults.push(...(await findMisfits(page)).map((fault) => `${name}: ${fault}`))
      })
    await look('now')
    await page.keyboard.press(' ')
    await supervisor.replaceConfig(loadConfig('/not/there/leasehold.json5')).catch(() => {})
    await page.getByRole('alert').waitFor()
    await look('held')
    await page.keyboard.press('Escape')
    await stage.leave()
    await page.getByText('The connection to the gateway is lost.').waitFor()
    await look('lost')
    expect(faults).toEqual([])
    expect(stage.complaints).toEqual([])
  })

  test('on a phone goes from the list to a service and back, and its head stays in sight', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openBusyStage()
    const { page, url } = stage
    await page.setViewportSize({ width: 390, height: 700 })
    await page.goto(url)
    const row = page.locator('tr.one', { hasText: 'bge-m3' })
    await row.waitFor()
    const topOf = (selector: string) =>
      page.locator(selector).evaluate((element) => element.getBoundingClientRect().top)
    const scrolled = () => page.locator('main').evaluate((main) => Math.round(main.scrollTop))
    await row.scrollIntoViewIfNeeded()
    await page.locator('main').evaluate((main) => main.scrollTo(0, 200))
    await drawn(page)
    expect(await topOf('main .head')).toBe(0)
    // Anywhere in the row opens it.
    await row.locator('.now').dispatchEvent('click')
    await page.getByRole('heading', { name: 'Ready, not in use' }).waitFor()
    expect(await scrolled()).toBe(0)
    await page.goBack()
    await row.waitFor()
    expect(await page.evaluate(() => location.hash)).toBe('')
    await expect.poll(scrolled).toBe(200)
    expect(await page.locator('nav.tabs').isVisible()).toBe(true)
    expect(stage.complaints).toEqual([])
  })
})

/** What is too wide, too small, or cut. */
function findMisfits(page: Page): Promise<readonly string[]> {
  return page.evaluate(() => {
    const found: string[] = []
    const name = (element: Element) => element.outerHTML.slice(0, 110)
    const main = document.querySelector('main') as HTMLElement
    if (document.documentElement.scrollWidth > innerWidth)
      found.push(`it is ${document.documentElement.scrollWidth} wide`)
    if (main.scrollWidth > main.clientWidth) found.push(`its main part is ${main.scrollWidth} wide`)
    for (const element of document.querySelectorAll<HTMLElement>('#page *')) {
      const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent?.trim())
      if (!hasText || !element.checkVisibility({ visibilityProperty: true })) continue
      const scale = element.closest('svg')?.getScreenCTM()?.a ?? 1
      if (Number.parseFloat(getComputedStyle(element).fontSize) * scale < 10.9)
        found.push(`small: ${getComputedStyle(element).fontSize} × ${scale.toFixed(2)} ${name(element)}`)
    }
    for (const amount of document.querySelectorAll('.bar i')) {
      const part = amount.parentElement as HTMLElement
      if (!amount.checkVisibility()) continue
      if (amount.getBoundingClientRect().right > part.getBoundingClientRect().right)
        found.push(`cut: ${name(part)}`)
    }
    const scrolls = (element: Element) => /auto|scroll/.test(getComputedStyle(element).overflowX)
    for (const control of document.querySelectorAll<HTMLElement>('button, .btn, select, input, textarea')) {
      if (!control.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue
      const { left, right, width, height } = control.getBoundingClientRect()
      if (width <= 1 || height <= 1) continue
      if (
        control.scrollWidth > control.clientWidth + 1 &&
        !control.matches('input, select, textarea') &&
        control.querySelector('.cut') === null
      )
        found.push(`cut: ${control.scrollWidth} in ${control.clientWidth} ${name(control)}`)
      for (let at = control.parentElement; at !== null; at = at.parentElement) {
        if (scrolls(at) && at !== main) break
        const box = at.getBoundingClientRect()
        const isClipping = getComputedStyle(at).overflowX !== 'visible' || at.matches('body, .card')
        if (isClipping && (left < box.left - 1 || right > box.right + 1)) {
          found.push(`outside of ${at.tagName}.${at.className}: ${name(control)}`)
          break
        }
      }
    }
    return found
  })
}
