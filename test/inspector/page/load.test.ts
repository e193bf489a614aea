// @module-tag proof

import type { CDPSession, Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { createFastProvider, drawn, hasNoBrowser, openStage } from './browser.ts'
import { listEndless, watchFrames } from './motion.ts'
import { listResting } from './resting.ts'

/** What the page has in memory after a collection. */
async function count(session: CDPSession) {
  await session.send('HeapProfiler.collectGarbage')
  const { metrics } = await session.send('Performance.getMetrics')
  const find = (name: string) => metrics.find((one) => one.name === name)?.value ?? 0
  return { heap: find('JSHeapUsedSize'), nodes: find('Nodes'), listeners: find('JSEventListeners') }
}

/** How many elements of preact are kept: those of what is shown, and those of earlier draws that something holds. */
async function countVirtual(session: CDPSession): Promise<number> {
  await session.send('HeapProfiler.collectGarbage')
  const { result } = await session.send('Runtime.evaluate', { expression: 'Object.prototype' })
  if (result.objectId === undefined) throw new Error('Object.prototype has no id')
  const { objects } = await session.send('Runtime.queryObjects', {
    prototypeObjectId: result.objectId,
    objectGroup: 'counted',
  })
  if (objects.objectId === undefined) throw new Error('the list has no id')
  const counted = await session.send('Runtime.callFunctionOn', {
    objectId: objects.objectId,
    functionDeclaration: 'function () { return this.filter((one) => "__k" in one && "props" in one).length }',
    returnByValue: true,
  })
  await session.send('Runtime.releaseObjectGroup', { objectGroup: 'counted' })
  return counted.result.value
}

/** When the page looked at the services, in milliseconds of its own clock. */
const listLooks = (page: Page) =>
  page.evaluate(() =>
    performance
      .getEntriesByType('resource')
      .filter(({ name }) => name.endsWith('/api/services'))
      .map(({ startTime }) => startTime),
  )
const countElements = (page: Page) => page.evaluate(() => document.querySelectorAll('*').length)

describe.skipIf(hasNoBrowser)('the page', () => {
  test('with a hundred services is small, and asks ever more rarely while nothing changes', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openStage({
      steered: { chat: { service: { idleStopMs: 3_600_000 } } },
      providers: listResting(99),
    })
    const { page, url, steered, supervisor } = stage
    const starting = supervisor.start('chat')
    await steered.chat?.steer('ready')
    await starting
    await page.emulateMedia({ reducedMotion: 'no-preference' })
    const asked: string[] = []
    page.on('request', (request) => asked.push(new URL(request.url()).pathname))
    await page.goto(url)
    const rows = page.locator('tr.one')
    await rows.nth(99).waitFor()
    await page.getByText('stops in').waitFor()
    expect(await countElements(page)).toBeLessThanOrEqual(2_000)
    // What is out of sight has its name and its link, and the rest when it comes into sight.
    const [first, last] = [rows.first(), rows.nth(99)]
    await first.getByRole('button', { name: 'Stop chat' }).waitFor()
    await last.getByRole('button').waitFor({ state: 'detached' })
    const link = last.getByRole('link')
    await link.focus()
    await last.getByRole('button', { name: /^Start model-/ }).waitFor()
    await first.getByRole('button').waitFor({ state: 'detached' })
    expect(await link.evaluate((element) => document.activeElement === element)).toBe(true)
    await page.getByRole('link', { name: 'Skip to the content' }).focus()
    await first.scrollIntoViewIfNeeded()
    // The looks come ever later, because nothing changes.
    const longestPause = async () => {
      const looks = await listLooks(page)
      return Math.max(...looks.slice(1).map((at, index) => at - (looks[index] ?? 0)))
    }
    await expect.poll(longestPause, { timeout: 120_000 }).toBeGreaterThan(7_900)
    // Only the view of the machines follows them: every request pays for that.
    expect(asked).not.toContain('/api/inspect')
    // What happens is looked at soon, and again and again while it goes on.
    const before = (await listLooks(page)).length
    const asking = stage.ask('chat')
    await first.getByText('1 in use').waitFor()
    await expect.poll(async () => (await listLooks(page)).length).toBeGreaterThan(before + 2)
    await steered.chat?.steer('answer')
    await (await asking).text()
    await first.getByText('1 in use').waitFor({ state: 'detached' })
    for (const place of ['#/', '#/service/chat', '#/requests', '#/timeline', '#/try', '#/machines/chat']) {
      await page.evaluate((hash) => location.assign(hash), place)
      await page.locator('main .page').waitFor()
      await page.getByText('This view is loading').waitFor({ state: 'detached' })
      await drawn(page)
      // An animation that goes on makes the browser draw 60 frames a second.
      await expect.poll(() => listEndless(page), { message: place }).toEqual([])
      expect(await countElements(page), place).toBeLessThanOrEqual(2_500)
    }
    expect(asked).toContain('/api/inspect')
    expect(stage.complaints).toEqual([])
  })

  test('in the background asks nothing, and its tab still tells what fails', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openStage({ steered: { chat: {} } })
    const { page, url, steered, supervisor } = stage
    await page.goto(url)
    await page.locator('tr.one').waitFor()
    const hide = (isHidden: boolean) =>
      page.evaluate((value) => {
        Object.defineProperty(document, 'hidden', { configurable: true, get: () => value })
        document.dispatchEvent(new Event('visibilitychange'))
      }, isHidden)
    await hide(true)
    const starting = supervisor.start('chat')
    await steered.chat?.steer('ready')
    await starting
    const asking = stage.ask('chat')
    await expect.poll(() => page.title()).toBe('1 in use – leasehold')
    const before = (await listLooks(page)).length
    await steered.chat?.steer('answer')
    await (await asking).text()
    await expect.poll(() => page.title()).toBe('quiet – leasehold')
    expect((await listLooks(page)).length).toBeLessThanOrEqual(before + 1)
    await hide(false)
    await expect.poll(async () => (await listLooks(page)).length).toBeGreaterThan(before)
    await page.locator('tr.one[data-look=idle]').waitFor()
    expect(stage.complaints).toEqual([])
  })

  test('draws at most ten times a second while requests flood it, and keeps nothing of what is over', {
    timeout: 240_000,
  }, async () => {
    const fast = await createFastProvider()
    await using stage = await openStage({ providers: { fast, ...listResting(29) } })
    const { page, url, context } = stage
    const listFrames = await watchFrames(page)
    await (await stage.ask('fast')).text()
    await page.goto(url)
    await page.locator('tr.one').nth(29).waitFor()
    const session = await context.newCDPSession(page)
    await session.send('Performance.enable')
    const flood = async (rounds: number) => {
      for (let round = 0; round < rounds; round += 1)
        await Promise.all(Array.from({ length: 16 }, async () => (await stage.ask('fast')).text()))
    }
    for (const [view, rounds] of [
      ['#/', 40],
      ['#/requests', 40],
      ['#/timeline', 20],
    ] as const) {
      await page.evaluate((hash) => location.assign(hash), view)
      await page.locator('main .page').waitFor()
      // The list of requests grows until it is longer than its window: only then it has all its rows.
      const isFull = async () => !view.endsWith('requests') || (await page.locator('tr.spacer').count()) > 0
      do await flood(20)
      while (!(await isFull()))
      const before = await count(session)
      const first = (await listFrames()).length
      await flood(rounds)
      const frames = await listFrames()
      const after = await count(session)
      const pauses = frames.slice(first + 1).map((at, index) => at - (frames[first + index] ?? 0))
      expect(Math.min(...pauses), view).toBeGreaterThan(90)
      // The events that are kept, at most ten requests of a second, are what grows.
      expect(after.heap - before.heap, view).toBeLessThan(3_000_000)
      // Rows that were just replaced are free only after a later frame.
      const countNew = async () => (await count(session)).nodes - before.nodes
      await expect.poll(countNew, { message: view, timeout: 10_000 }).toBeLessThan(300)
      expect(after.listeners - before.listeners, view).toBeLessThan(50)
      expect(await countElements(page), view).toBeLessThanOrEqual(2_500)
    }
    // A figure of the flood is there.
    await page.evaluate(() => location.assign('#/'))
    await expect
      .poll(() => page.locator('.stats').textContent(), { timeout: 30_000 })
      .toMatch(/Requests[1-9]\d* \/ min/)
    expect(stage.complaints).toEqual([])
  })

  test('keeps no draw that is over, whichever service changes', { timeout: 240_000 }, async () => {
    const names = ['one', 'two', 'three']
    const fast = await Promise.all(names.map(async (name) => [name, await createFastProvider()] as const))
    await using stage = await openStage({
      providers: { ...Object.fromEntries(fast), ...listResting(17) },
    })
    const { page, url, context } = stage
    const listFrames = await watchFrames(page)
    await page.goto(url)
    await page.locator('tr.one').nth(19).waitFor()
    const session = await context.newCDPSession(page)
    const change = async (times: number) => {
      for (let time = 0; time < times; time += 1) {
        const before = (await listFrames()).length
        await (await stage.ask(names[time % names.length] ?? '')).text()
        await expect
          .poll(async () => (await listFrames()).length, { timeout: 30_000 })
          .toBeGreaterThan(before + 1)
      }
    }
    const first = await countVirtual(session)
    expect(first).toBeGreaterThan(300)
    await change(30)
    // Preact keeps the tree before the one that is shown.
    await expect.poll(() => countVirtual(session), { timeout: 30_000 }).toBeLessThan(first * 2)
    expect(stage.complaints).toEqual([])
  })
})
