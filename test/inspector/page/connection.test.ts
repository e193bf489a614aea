// @module-tag proof

import { describe, expect, test } from 'vitest'
import { createFastProvider, hasNoBrowser, inState, openStage, toService } from './browser.ts'

describe.skipIf(hasNoBrowser)('the page', () => {
  test('says that the gateway is gone, and shows what is true once another one is there', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openStage({ steered: { chat: {} } })
    const { page, url, steered } = stage
    await page.goto(toService(url, 'chat'))
    const asking = stage.ask('chat').catch(() => undefined)
    await steered.chat?.steer('ready')
    await inState(page, 'leased.open')
    const before = stage.supervisor.snapshot().instance
    await stage.leave()
    await asking
    await page.getByRole('alert').waitFor()
    expect(await page.getByRole('alert').textContent()).toContain('leasehold serve')
    expect(await page.locator('main').textContent()).toContain('leasehold has ended')
    await page.getByRole('button', { name: /^Lost/ }).waitFor()

    await stage.comeBack()
    expect(stage.supervisor.snapshot().instance).not.toBe(before)
    await inState(page, 'down.cold')
    await page.getByRole('alert').waitFor({ state: 'detached' })
    // Nothing of the gateway that is gone is told as if it had happened to this one.
    expect(await page.getByLabel('Last changes').textContent()).toContain('It has not changed')
    const again = stage.ask('chat')
    await steered.chat?.steer('ready')
    await inState(page, 'leased.open')
    // Every event of this one is there once, and none of the other.
    const told = async () =>
      Number(await page.getByLabel('Time', { exact: true }).getAttribute('data-events'))
    await expect.poll(async () => stage.supervisor.pastEvents().length - (await told())).toBe(0)
    await page.keyboard.press('Home')
    await expect.poll(() => page.locator('.when').textContent()).toContain('service added')
    await page.keyboard.press('End')
    await page.goto(`${url}/#/machines/chat`)
    await page.locator('.sequence').waitFor()
    expect(await page.locator('.sequence').textContent()).not.toContain('service.stop')
    await page.goto(toService(url, 'chat'))
    await steered.chat?.steer('answer')
    expect((await again).status).toBe(200)
    await inState(page, 'ready')
    expect(stage.complaints).toEqual([])
  })

  test('keeps its rows and the chosen one through another gateway, and no row is there twice', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openStage({ steered: { chat: {}, other: {}, third: {}, fourth: {} } })
    const { page, url } = stage
    await page.goto(url)
    const rows = page.locator('tr.one')
    await rows.nth(3).waitFor()
    await page.keyboard.press('j')
    await page.keyboard.press('j')
    const chosen = page.locator('tr.one.at')
    await chosen.waitFor()
    const name = await chosen.getByRole('link').textContent()
    for (let times = 0; times < 2; times += 1) {
      await stage.leave()
      await page.getByRole('alert').waitFor()
      await stage.comeBack()
      await page.getByRole('alert').waitFor({ state: 'detached' })
    }
    await expect.poll(() => rows.count()).toBe(4)
    expect(await chosen.getByRole('link').textContent()).toBe(name)
    expect(await page.locator('.side .services a').count()).toBe(4)
    // The chosen one is what the keys act on.
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: name ?? '', level: 1 }).waitFor()
    expect(stage.complaints).toEqual([])
  })

  test('counts down by the gateway’s clock, whatever the browser’s says', { timeout: 240_000 }, async () => {
    await using stage = await openStage({ steered: { chat: { service: { idleStopMs: 600_000 } } } })
    const { url, steered, context, supervisor } = stage
    const starting = supervisor.start('chat')
    await steered.chat?.steer('ready')
    await starting
    for (const skewMs of [3_600_000, -3_600_000]) {
      const page = await context.newPage()
      await page.addInitScript((ms) => {
        const { timeOrigin } = performance
        const RealDate = Date
        Object.defineProperty(performance, 'timeOrigin', { value: timeOrigin + ms })
        globalThis.Date = class extends RealDate {
          constructor(...given: unknown[]) {
            super(...((given.length === 0 ? [RealDate.now() + ms] : given) as []))
          }
          static override now = () => RealDate.now() + ms
        } as DateConstructor
      }, skewMs)
      await page.goto(toService(url, 'chat'))
      const countdown = () => page.locator('.why .next').textContent()
      await expect.poll(countdown).toMatch(/It stops in (?:10 min 0|\d min \d+) s/)
      const first = await countdown()
      await expect.poll(countdown).not.toBe(first)
      expect(await page.locator('.facts').textContent()).toMatch(/Stateready, for \d+(?:\.\d)? (?:s|min)/)
      await page.close()
    }
    expect(stage.complaints).toEqual([])
  })

  test('is told of few of a flood of requests, and shows what is true of all', {
    timeout: 240_000,
  }, async () => {
    const fast = await createFastProvider()
    await using stage = await openStage({ steered: { chat: {} }, providers: { fast } })
    const { page, url, steered, supervisor } = stage
    const held = stage.ask('chat')
    await steered.chat?.steer('ready')
    await page.goto(toService(url, 'chat'))
    await page.getByRole('heading', { name: 'In use by 1 request' }).waitFor()
    for (let round = 0; round < 20; round += 1)
      await Promise.all(Array.from({ length: 16 }, async () => (await stage.ask('fast')).text()))

    const told = async () =>
      Number(await page.getByLabel('Time', { exact: true }).getAttribute('data-events'))
    // The page asks what is true, and has nothing to wait for.
    await page.goto(toService(url, 'fast'))
    await inState(page, 'ready')
    await expect.poll(() => page.getByLabel('Leases and queue').textContent()).not.toMatch(/fast\/m/)
    expect(await told()).toBeGreaterThan(20)
    const all = supervisor.pastEvents()
    // Ten requests a second with their nine events, and the turns of a tenth of a second.
    const seconds = ((all.at(-1)?.atMs ?? 0) - (all[0]?.atMs ?? 0)) / 1000 + 1
    expect(await told()).toBeLessThan(Math.min(all.length, 200 + seconds * (10 * 9 + 10 * 4)))
    // A request that lasts is there, whatever was passed over since.
    await page.goto(toService(url, 'chat'))
    await page.getByRole('heading', { name: 'In use by 1 request' }).waitFor()
    await steered.chat?.steer('answer')
    expect((await held).status).toBe(200)
    await inState(page, 'ready')
    expect(stage.complaints).toEqual([])
  })
})
