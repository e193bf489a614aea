// @module-tag proof

import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { lookWords } from '../../../src/inspector/page/look.ts'
import { drawn, hasNoBrowser } from './browser.ts'
import { openBusyStage } from './busy-stage.ts'

/** What must differ between two marks: their luminance by this share, or their shapes by this share of their ink. */
const LUMINANCE = 0.08
const SHAPE = 0.15

interface Mark {
  readonly name: string
  /** Luminance of its ink and of all of it, from 0 to 1, and where there is ink. */
  readonly luminance: number
  readonly whole: number
  readonly ink: readonly boolean[]
}

describe.skipIf(hasNoBrowser)('who sees no colours', () => {
  test('tells every state from every other one, and every part of a bar from its neighbours', {
    timeout: 300_000,
  }, async () => {
    await using stage = await openBusyStage()
    const { page, url, context } = stage
    const empty = await context.newPage()
    const session = await context.newCDPSession(page)
    await page.setViewportSize({ width: 1_440, height: 1_200 })
    await page.goto(url)
    await page.locator('tr.one').first().waitFor()
    const alike: string[] = []
    for (const colorScheme of ['light', 'dark'] as const)
      for (const type of ['deuteranopia', 'achromatopsia'] as const) {
        await page.emulateMedia({ colorScheme })
        await session.send('Emulation.setEmulatedVisionDeficiency', { type })
        const where = `${type} in ${colorScheme}`
        await page.evaluate(() => location.assign('#/'))
        const states = await readMarks(page, empty, '.key li', '.glyph')
        expect(states.length).toBe(new Set(Object.values(lookWords)).size)
        for (const [index, one] of states.entries())
          for (const other of states.slice(index + 1))
            if (!differ(one, other)) alike.push(`${where}: ${one.name} and ${other.name}`)
        for (const place of ['#/requests', '#/timeline']) {
          await page.evaluate((hash) => location.assign(hash), place)
          const parts = await readMarks(page, empty, '.key > *', ':scope > :is(i, svg, span)')
          expect(parts.length, place).toBeGreaterThan(3)
          for (const [index, one] of parts.entries()) {
            const next = parts[index + 1]
            if (next !== undefined && !differ(one, next))
              alike.push(`${where}: ${one.name} and ${next.name} at ${place}`)
          }
        }
      }
    expect(alike).toEqual([])
    expect(stage.complaints).toEqual([])
  })
})

function differ(one: Mark, other: Mark): boolean {
  if (Math.abs(one.luminance - other.luminance) > LUMINANCE) return true
  if (Math.abs(one.whole - other.whole) > LUMINANCE || one.ink.length !== other.ink.length) return true
  const [both, either] = one.ink.reduce(
    ([all, some], is, at) => [all + Number(is && other.ink[at]), some + Number(is || other.ink[at])],
    [0, 0],
  )
  return 1 - both / Math.max(1, either) > SHAPE
}

/** The marks of a legend, as they are drawn. */
async function readMarks(page: Page, empty: Page, entries: string, mark: string): Promise<readonly Mark[]> {
  await page.locator(entries).first().waitFor()
  await drawn(page)
  await drawn(page)
  const found: Mark[] = []
  for (const entry of await page.locator(entries).all()) {
    const shape = entry.locator(mark).first()
    if ((await shape.count()) === 0) continue
    const box = await shape.boundingBox()
    if (box === null) continue
    // With the ground around it.
    const clip = { x: box.x - 1, y: box.y - 1, width: box.width + 2, height: box.height + 2 }
    const image = await page.screenshot({ clip, animations: 'disabled' })
    const name = (await entry.textContent())?.trim() ?? ''
    found.push({ name, ...(await readInk(empty, image)) })
  }
  return found
}

function readInk(page: Page, image: Buffer): Promise<Omit<Mark, 'name'>> {
  return page.evaluate(async (base64) => {
    const bitmap = await createImageBitmap(await (await fetch(`data:image/png;base64,${base64}`)).blob())
    const { width, height } = bitmap
    const canvas = new OffscreenCanvas(width, height)
    const pen = canvas.getContext('2d') as OffscreenCanvasRenderingContext2D
    pen.drawImage(bitmap, 0, 0)
    const { data } = pen.getImageData(0, 0, width, height)
    const luminances = Array.from({ length: width * height }, (_, at) => {
      const [red = 0, green = 0, blue = 0] = [0, 1, 2].map(
        (part) => ((data[at * 4 + part] ?? 0) / 255) ** 2.2,
      )
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue
    })
    // Its corner is the ground; what is half as far from that as anything is ink.
    const ground = luminances[0] ?? 0
    const farthest = Math.max(...luminances.map((value) => Math.abs(value - ground)))
    const ink = luminances.map((value) => Math.abs(value - ground) > farthest / 2)
    const inked = luminances.filter((_, at) => ink[at])
    const luminance = inked.reduce((sum, value) => sum + value, 0) / Math.max(1, inked.length)
    const whole = luminances.reduce((sum, value) => sum + value, 0) / luminances.length
    return { luminance, whole, ink }
  }, image.toString('base64'))
}
