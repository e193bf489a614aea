// @module-tag proof

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createRecorder } from '../../../src/observe/recorder.ts'
import { listMisfits, listViolations, looks } from './axe.ts'
import { createFastProvider, drawn, hasNoBrowser, openStage, pictures } from './browser.ts'

/** Two services of which only one has room: the second one took it from the first, and then failed. */
async function openShared(providers: Record<string, object> = {}) {
  const service = (vramMiB: number) => ({ needs: { vramMiB }, minResidencyMs: 0 })
  const stage = await openStage({
    steered: { first: { service: service(70) }, second: { service: service(60) } },
    providers,
    leasehold: { budgets: { vramMiB: 100 }, backoffMs: 60_000 },
    viewport: { width: 1440, height: 900 },
  })
  const { steered, supervisor } = stage
  const stateOf = (name: string) => supervisor.service(name).state
  const finish = (name: string) =>
    expect
      .poll(
        async () => {
          await steered[name]?.steer('answer')
          return supervisor.requests().length
        },
        { timeout: 60_000 },
      )
      .toBe(0)
  const use = async (name: string) => {
    const asking = stage.ask(name)
    await steered[name]?.steer('ready')
    await finish(name)
    await (await asking).text()
  }
  await use('first')
  await use('second')
  await steered.second?.steer('exit=3')
  await expect.poll(() => stateOf('second'), { timeout: 60_000 }).toBe('down.backoff')
  return stage
}

describe.skipIf(hasNoBrowser)('the timeline', () => {
  test('draws what happened before the page was opened, and goes to a moment of it', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openShared()
    const { page, url, supervisor, complaints } = stage
    await page.goto(`${url}/#/timeline`)
    const lane = (name: string) => page.locator(`[data-lane="${name}"]`)
    await lane('first').locator('.area.use').waitFor({ state: 'attached' })
    expect(await lane('first').locator('svg.trk').getAttribute('aria-label')).toMatch(
      /^first: .*in use \d\d:\d\d:\d\d to .*; stopping .*; down now$/,
    )
    for (const look of ['use', 'loading', 'backoff'])
      expect(await lane('second').locator(`.area.${look}`).count()).toBe(1)
    expect(await lane('second').locator('.fails').getAttribute('d')).toMatch(/^M[\d.]+ 8m/)
    expect(await page.locator('.room').textContent()).toContain('VRAM')
    const decided = page.getByLabel('What was decided').locator('li')
    expect(await decided.count()).toBe(1)
    expect(await decided.textContent()).toContain('first made room for second')
    expect(await decided.textContent()).toContain('second needs 60 MiB of VRAM (30 of 100 free)')

    // The decision is a mark at its time.
    const { decisions, atMs } = supervisor.timeline()
    const places = await page.locator('.mk').evaluate((mark) => {
      const track = (mark.parentElement as HTMLElement).getBoundingClientRect()
      const box = mark.getBoundingClientRect()
      return [(box.left + box.width / 2 - track.left) / track.width, track.width]
    })
    const expected = 1 - (atMs - (decisions[0]?.atMs ?? 0)) / (15 * 60_000)
    expect(Math.abs((places[0] ?? 0) - expected) * (places[1] ?? 0)).toBeLessThan(8)

    await decided.getByRole('button', { name: /^Go there/ }).click()
    await page.getByRole('button', { name: 'Back to now', exact: true }).waitFor()
    await page.locator('.gantt .ch').waitFor()
    // The moment is held in every view.
    await page.keyboard.press('1')
    await page.locator('[data-look="stopping"], [data-look="idle"]').first().waitFor()
    expect(await page.getByRole('button', { name: 'Back to now', exact: true }).count()).toBe(1)
    await page.keyboard.press('3')
    await page.keyboard.press('Escape')
    await page.locator('.gantt .ch').waitFor({ state: 'detached' })
    expect(complaints).toEqual([])
  })

  test('the bar and every view go back beyond the events that are kept', { timeout: 240_000 }, async () => {
    await using stage = await openShared({ fast: await createFastProvider() })
    const { page, url, supervisor, complaints } = stage
    const [decision] = supervisor.timeline().decisions
    for (let round = 0; round < 60; round += 1)
      await Promise.all(Array.from({ length: 10 }, async () => (await stage.ask('fast')).text()))
    // The events tell nothing of the two any more.
    expect(supervisor.pastEvents(0, 1)[0]?.atMs).toBeGreaterThan(decision?.atMs ?? Number.POSITIVE_INFINITY)
    await page.goto(url)
    await page.locator('.time .decided').waitFor()
    await page.locator('.time .bars').first().waitFor({ state: 'attached' })
    const lookOf = (name: string) =>
      page
        .locator(`tr.one:has(a:text-is("${name}")) .glyph`)
        .first()
        .getAttribute('class', { timeout: 5_000 })
    await page.keyboard.press('Home')
    await page.getByRole('button', { name: 'Back to now', exact: true }).waitFor()
    await expect.poll(() => lookOf('first')).toContain('down')
    // On, change by change, to the decision and its end.
    const seen: string[] = []
    for (let steps = 0; steps < 60 && !seen.at(-1)?.includes('stopping'); steps += 1) {
      await page.keyboard.press('ArrowRight')
      await drawn(page)
      seen.push((await lookOf('first')) ?? '')
    }
    for (const look of ['loading', 'idle', 'stopping']) expect(seen.join()).toContain(look)
    expect(await page.locator('.time .when').textContent()).toMatch(/(first|second): /)
    await page.getByText('Another service needed its room').first().waitFor()
    // The other views show the same moment.
    await page.goto(`${url}/#/service/first`)
    await page.locator('.service[data-look="stopping"]').waitFor()
    await page.goto(`${url}/#/requests`)
    const times = page.locator('.req tr.one')
    await expect.poll(() => times.count()).toBeLessThan(500)
    await page.goto(`${url}/#/timeline`)
    await page.locator('.gantt .ch').waitFor()
    expect(await page.locator('.ml').textContent()).toBe('first made room for second')
    await page.keyboard.press('End')
    await page.locator('.gantt .ch').waitFor({ state: 'detached' })
    expect(complaints).toEqual([])
  })

  test('the newest change that the overview names is held, too', { timeout: 240_000 }, async () => {
    await using stage = await openShared()
    const { page, url } = stage
    await page.goto(url)
    await page.getByLabel('Lately').getByRole('button').first().click()
    await page.getByRole('button', { name: 'Back to now', exact: true }).waitFor()
  })

  test('a pointer holds the moment under it, and keys go from lane to lane', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openShared()
    const { page, url } = stage
    await page.goto(`${url}/#/timeline`)
    await page.locator('[data-lane="second"] .area.use').waitFor({ state: 'attached' })
    const area = await page.locator('.scrubarea').boundingBox()
    if (area === null) throw new Error('the picture is not there')
    await page.mouse.click(area.x + area.width - 3, area.y + 20)
    const line = page.locator('.gantt .ch')
    await line.waitFor()
    const box = await line.boundingBox()
    expect(Math.abs((box?.x ?? 0) - (area.x + area.width - 3))).toBeLessThan(6)
    await page.keyboard.press('End')
    await line.waitFor({ state: 'detached' })
    await page.keyboard.press('j')
    await page.keyboard.press('j')
    await page.locator('[data-lane="second"].at').waitFor()
    await page.keyboard.press('Enter')
    await page.waitForURL(/#\/service\/second$/)
  })

  test('a recording is drawn and gone through in the same way', { timeout: 240_000 }, async () => {
    await using stage = await openShared()
    const { page, url, supervisor } = stage
    const folder = await mkdtemp(join(tmpdir(), 'page-timeline-'))
    const file = join(folder, 'day.ndjson')
    // It has the events that are still kept.
    await createRecorder(supervisor, { file }).close()
    await page.goto(`${url}/#/timeline`)
    await page.setInputFiles('#recording', file)
    await page.getByText('recording day.ndjson').waitFor()
    const lane = page.locator('[data-lane="second"]')
    await lane.locator('.area.backoff').waitFor({ state: 'attached' })
    const look = () => lane.locator('.glyph').getAttribute('class')
    await expect.poll(look).toContain('down')
    await page.keyboard.press('End')
    await drawn(page)
    await expect.poll(look).toContain('backoff')
    expect(await page.getByLabel('What was decided').locator('li').count()).toBe(1)
    await rm(folder, { recursive: true })
  })

  test('has no violation and no overflow at any width and in either theme', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openShared()
    const { page, url, complaints } = stage
    for (const { width, theme } of looks) {
      await page.setViewportSize({ width, height: 900 })
      await page.emulateMedia({ colorScheme: theme })
      await page.goto(`${url}/#/timeline`)
      await page.locator('[data-lane="second"] .area.use').waitFor({ state: 'attached' })
      const at = `timeline ${width} ${theme}`
      expect([at, await listViolations(page)]).toEqual([at, []])
      expect([at, await listMisfits(page)]).toEqual([at, []])
      await page.getByRole('button', { name: /^Go there/ }).click()
      await page.locator('.gantt .ch').waitFor()
      expect([at, await listViolations(page)]).toEqual([at, []])
      if (pictures !== undefined) await page.screenshot({ path: `${pictures}/${at}.png` })
      await page.keyboard.press('End')
    }
    expect(complaints).toEqual([])
  })
})
