// @module-tag proof

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { AxeResults } from 'axe-core'
import { describe, expect, test } from 'vitest'
import { drawn, hasNoBrowser, type Stage } from './browser.ts'
import { openBusyStage, overlaid, places, showEach } from './busy-stage.ts'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

describe.skipIf(hasNoBrowser)('every view', () => {
  test('has no fault that axe finds, fits its window, and stays small, in both themes', {
    timeout: 600_000,
  }, async () => {
    await using stage = await openBusyStage()
    const { page, url } = stage
    await page.goto(url)
    await page.locator('tr.one').first().waitFor()
    await page.evaluate(`${axe}; undefined`)
    const faults: string[] = []
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      await showEach(page, colorScheme, { widths: [390, 1440], places: overlaid }, async (name, width) => {
        const { wide, overflow, elements, small } = await measure(page)
        faults.push(
          ...(await findFaults(page)).map((fault) => `${name}: ${fault}`),
          ...(wide > width || overflow > 0 ? [`${name}: ${wide} wide, ${overflow} beyond`] : []),
          ...(elements > 2_500 ? [`${name}: ${elements} elements`] : []),
          ...small.map((text) => `${name}: small text ${text}`),
        )
      })
    }
    expect(faults).toEqual([])
    expect(stage.complaints).toEqual([])
  })
})

describe.skipIf(hasNoBrowser)('the page by keyboard alone', () => {
  test('goes to every view, holds the moment, finds, opens, starts, and comes back', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openBusyStage()
    const { page, url } = stage
    await page.goto(url)
    await page.locator('tr.one').first().waitFor()
    await page.locator('.hint').waitFor()
    const hash = () => page.evaluate(() => location.hash)
    for (const [key, view] of [
      ['2', '#/requests'],
      ['3', '#/timeline'],
      ['4', '#/try'],
      ['5', '#/machines'],
      ['6', '#/host'],
      ['1', '#/'],
    ] as const) {
      await page.keyboard.press(key)
      await expect.poll(hash).toBe(view)
    }
    // A row is gone to, opened, and left.
    await page.locator('tr.one').first().waitFor()
    await page.keyboard.press('j')
    await page.locator('tr.one.at[data-look=tripped]').waitFor()
    await page.keyboard.press('ArrowDown')
    await page.keyboard.press('k')
    await page.keyboard.press('Enter')
    await expect.poll(hash).toBe('#/service/crash')
    await page.getByRole('heading', { name: /Keeps failing/, level: 2 }).waitFor()
    await page.keyboard.press('Escape')
    await expect.poll(hash).toBe('#/')
    // No key is taken inside a field.
    await page.getByLabel('Filter services').waitFor()
    await page.keyboard.press('/')
    await page.keyboard.type('bge 5')
    await expect.poll(() => page.locator('tr.one').count()).toBe(0)
    for (const _ of ' 5') await page.keyboard.press('Backspace')
    await expect.poll(() => page.locator('tr.one').count()).toBe(1)
    expect(await hash()).toBe('#/')
    await page.keyboard.press('Escape')
    await expect.poll(() => page.locator('tr.one').count()).toBe(5)
    // Search finds what it is called, and goes there.
    await page.keyboard.press('Control+k')
    await page.getByRole('combobox', { name: 'Search' }).waitFor()
    await page.keyboard.type('bge')
    await page.keyboard.press('Enter')
    await expect.poll(hash).toBe('#/service/bge-m3')
    await page.getByRole('heading', { name: 'Ready, not in use' }).waitFor()
    // A held moment is told, and nothing is changed in it.
    await page.keyboard.press(' ')
    await page.getByText('Nothing can be changed there').waitFor()
    expect(await page.getByRole('button', { name: 'Stop', exact: true }).isDisabled()).toBe(true)
    await page.keyboard.press('Escape')
    await page.getByText('Nothing can be changed there').waitFor({ state: 'detached' })
    await page.keyboard.press('s')
    await page.getByRole('heading', { name: 'Down', exact: true }).waitFor()
    await page.keyboard.press('?')
    await page.getByRole('dialog', { name: 'Keys' }).waitFor()
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    expect(stage.complaints).toEqual([])
  })

  test('reaches every control with Tab, and the focus stays through redraws', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openBusyStage()
    const { page, url } = stage
    for (const place of places) {
      await page.goto(`${url}/${place}`)
      await page.reload()
      await page.locator('main .page').waitFor()
      await page.getByText('This view is loading').waitFor({ state: 'detached' })
      await drawn(page)
      const missed = await walk(page)
      expect(missed, place).toEqual([])
    }
    await page.goto(`${url}/#/`)
    await page.getByRole('link', { name: 'phi-4' }).first().focus()
    for (let times = 0; times < 5; times += 1) {
      await page.waitForResponse((response) => response.url().endsWith('/api/services'))
      await drawn(page)
    }
    expect(await page.evaluate(() => document.activeElement?.textContent)).toContain('phi-4')
  })
})

/** What is wrong with what is shown, by rule. */
async function findFaults(page: Stage['page']): Promise<readonly string[]> {
  const { violations } = await page.evaluate(
    () =>
      (globalThis as unknown as { axe: { run(options: object): Promise<AxeResults> } }).axe.run({
        runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
        resultTypes: ['violations'],
      }) as Promise<AxeResults>,
  )
  return violations.map(
    ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(' | ')}`,
  )
}

/** How wide it is, how much of its main part is out of sight sideways, how many elements it has, texts too small. */
function measure(page: Stage['page']) {
  return page.evaluate(() => {
    const main = document.querySelector('main') as HTMLElement
    const texts = [...document.querySelectorAll<HTMLElement>('#page *')].filter(
      (element) =>
        element.checkVisibility() && [...element.childNodes].some(({ nodeType }) => nodeType === 3),
    )
    const scaleOf = (element: Element) => {
      const svg = element.closest('svg')
      return svg === null ? 1 : (svg.getScreenCTM()?.a ?? 1)
    }
    return {
      wide: document.documentElement.scrollWidth,
      overflow: main.scrollWidth - main.clientWidth,
      elements: document.querySelectorAll('*').length,
      small: texts
        .filter(
          (element) => Number.parseFloat(getComputedStyle(element).fontSize) < 11 && scaleOf(element) >= 1,
        )
        .map((element) => element.outerHTML.slice(0, 100)),
    }
  })
}

/** Controls that Tab does not reach. */
async function walk(page: Stage['page']): Promise<readonly string[]> {
  const count = await page.evaluate(() => {
    const all = document.querySelectorAll<HTMLElement>(
      '#page :is(a[href], button:not(:disabled), input:not([hidden]), textarea, select, summary, [tabindex="0"])',
    )
    const radios = new Set<string>()
    for (const element of all) {
      const isRadio = element instanceof HTMLInputElement && element.type === 'radio'
      // Of radio buttons one takes the focus; the arrows go to the others.
      if (element.checkVisibility() && (!isRadio || element.checked)) element.dataset.unreached = ''
      if (isRadio) radios.add(element.name)
    }
    ;(document.activeElement as HTMLElement | null)?.blur()
    return all.length
  })
  // Controls come and go meanwhile, so one round of what was counted may end too early.
  let isDone = false
  for (let presses = 0; presses < 3 * count + 20 && !isDone; presses += 1) {
    await page.keyboard.press('Tab')
    isDone = await page.evaluate(() => {
      delete (document.activeElement as HTMLElement | null)?.dataset.unreached
      return document.querySelector('[data-unreached]') === null
    })
  }
  return page.evaluate(() =>
    [...document.querySelectorAll('[data-unreached]')].map((element) => element.outerHTML.slice(0, 120)),
  )
}
