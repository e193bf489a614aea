import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Page } from 'playwright-core'
import { expect } from 'vitest'
import { drawn, pictures } from './browser.ts'

const source = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** What axe-core finds wrong with a page, one line for each element. */
export async function listViolations(page: Page): Promise<readonly string[]> {
  await page.evaluate(source)
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as {
      readonly axe: {
        run(): Promise<{
          readonly violations: readonly {
            readonly id: string
            readonly nodes: readonly {
              readonly target: readonly unknown[]
              readonly failureSummary?: string
            }[]
          }[]
        }>
      }
    }
    const { violations } = await axe.run()
    return violations.flatMap(({ id, nodes }) =>
      nodes.map(
        ({ target, failureSummary = '' }) =>
          `${id}: ${target.join(' ')} (${failureSummary.split('\n')[1]?.trim()})`,
      ),
    )
  })
}

/** Where a page is wider than its window, and which texts are smaller than 11 pixels. */
export function listMisfits(page: Page): Promise<readonly string[]> {
  return page.evaluate(() => {
    const found: string[] = []
    for (const one of [document.documentElement, ...document.querySelectorAll<HTMLElement>('main')])
      if (one.scrollWidth > one.clientWidth + 1)
        found.push(`${one.tagName} is ${one.scrollWidth} px wide in ${one.clientWidth}`)
    for (const one of document.querySelectorAll<HTMLElement>('main *'))
      if (one.textContent !== '' && Number.parseFloat(getComputedStyle(one).fontSize) < 11)
        found.push(`${one.tagName} has a text of ${getComputedStyle(one).fontSize}`)
    return found
  })
}

/** Every width and theme in which a view must be right. */
export const looks = [390, 1440].flatMap((width) =>
  (['light', 'dark'] as const).map((theme) => ({ width, theme })),
)

/** Shows a page at every width and in every theme: nothing is wrong with it, and it fits. `picture` names its pictures. */
export async function expectFit(page: Page, picture?: string, height = 900): Promise<void> {
  for (const { width, theme } of looks) {
    await page.setViewportSize({ width, height })
    await page.emulateMedia({ colorScheme: theme })
    await drawn(page)
    const where = `${width} ${theme}`
    expect(await listViolations(page), where).toEqual([])
    expect(await listMisfits(page), where).toEqual([])
    if (pictures !== undefined && picture !== undefined)
      await page.screenshot({ path: `${pictures}/${picture}-${theme}-${width}.png`, fullPage: height > 900 })
  }
}
