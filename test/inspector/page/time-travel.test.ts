// @module-tag proof

import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import type { SupervisorEvent } from '../../../src/events/events.ts'
import { CHANGES } from '../../../src/inspector/page/history.ts'
import { hasNoBrowser, type Stage } from './browser.ts'
import { openBusyStage } from './busy-stage.ts'
import { compareImages } from './images.ts'

/** Views that show a moment, and nothing that came after it. */
const places = ['#/', '#/service/qwen3-8b', '#/service/phi-4', '#/service/crash', '#/requests'] as const

interface Told {
  readonly events: readonly SupervisorEvent[]
  readonly snapshot: ReturnType<Stage['supervisor']['snapshot']>
}

describe.skipIf(hasNoBrowser)('a moment that is gone back to', () => {
  test('looks as it did to a page that was told only what had happened until then', {
    timeout: 300_000,
  }, async () => {
    await using stage = await openBusyStage()
    const { url, supervisor, context } = stage
    await (await stage.ask('crash')).text()
    const events = supervisor.pastEvents()
    const snapshot = supervisor.snapshot()
    const states = events.flatMap(({ type }, index) => (type === 'service.state' ? [index] : []))
    const moments = [0.2, 0.6, 1].map((share) => states[Math.ceil(states.length * share) - 1] ?? 0)
    const later = await openPage(context, url, { events, snapshot })
    for (const moment of moments) {
      const then = await openPage(context, url, { events: events.slice(0, moment + 1), snapshot })
      await then.keyboard.press(' ')
      await goTo(later, events, moment)
      for (const place of places) {
        const [a, b] = [await shoot(then, place), await shoot(later, place)]
        const where = `${place} at event ${moment} of ${events.length}`
        expect(b.text, where).toBe(a.text)
        const share = await compareImages(stage.page, a.image, b.image)
        expect(share, where).toBeLessThan(0.003)
      }
      await then.close()
    }
    expect(stage.complaints).toEqual([])
  })
})

/** A page that is told just this, on a clock that stands still. */
async function openPage(context: Stage['context'], url: string, told: Told): Promise<Page> {
  const page = await context.newPage()
  await page.setViewportSize({ width: 1440, height: 1000 })
  const time = Date.parse(told.events.at(-1)?.time ?? '')
  await page.clock.install({ time })
  await page.clock.pauseAt(time + 1)
  await page.addInitScript(
    ({ events, snapshot, open }: Told & { readonly open: readonly object[] }) => {
      const text = events.map((event) => `id: i.${event.seq}\ndata: ${JSON.stringify(event)}\n\n`).join('')
      const seq = events.at(-1)?.seq ?? 0
      const answers: Readonly<Record<string, unknown>> = {
        '/api/services': { ...snapshot, seq, services: [], budgets: [] },
        '/api/requests': { requests: open, ended: [] },
        '/api/timeline': { sinceMs: 0, atMs: 0, lanes: [], decisions: [], room: [] },
      }
      // It tells how long ago the moment was, by another clock on each page.
      const sheet = new CSSStyleSheet()
      sheet.replaceSync('.banner { display: none }')
      document.adoptedStyleSheets.push(sheet)
      const { fetch } = globalThis
      globalThis.fetch = async (...given) => {
        const path = String(given[0]).split('?')[0] ?? ''
        if (path in answers) return new Response(JSON.stringify(answers[path]))
        if (!path.startsWith('/api/')) return fetch(...given)
        // A stream that tells nothing more.
        const body = new ReadableStream<Uint8Array>({
          start: (stream) => {
            if (path === '/api/events') stream.enqueue(new TextEncoder().encode(text))
          },
        })
        return new Response(body, { headers: { 'x-leasehold-clock-ms': '0' } })
      }
    },
    { ...told, open: listOpen(told) },
  )
  await page.goto(url)
  await page.clock.runFor(1_000)
  await expect
    .poll(() => page.getByLabel('Time', { exact: true }).getAttribute('data-events'))
    .toBe(String(told.events.length))
  return page
}

/** The requests that had not ended, as a look tells them. */
function listOpen({ events, snapshot }: Told): readonly object[] {
  const over = new Set(events.flatMap((one) => (one.type === 'request.ended' ? [one.requestId] : [])))
  return events.flatMap((one) =>
    one.type === 'request.started' && !over.has(one.requestId)
      ? [{ id: one.requestId, ref: one.ref, client: one.client, ageMs: snapshot.atMs - one.atMs }]
      : [],
  )
}

/** Goes to the moment of an event from the first one on, change by change. */
async function goTo(page: Page, events: readonly SupervisorEvent[], moment: number): Promise<void> {
  await page.keyboard.press('Home')
  for (const { type } of events.slice(1, moment + 1))
    if (CHANGES.has(type)) await page.keyboard.press('ArrowRight')
}

async function shoot(page: Page, place: string): Promise<{ readonly text: string; readonly image: Buffer }> {
  await page.evaluate((hash) => location.assign(hash), place)
  await page.clock.runFor(500)
  const main = page.locator('main')
  await main.waitFor()
  return { text: await main.innerText(), image: await main.screenshot() }
}
