// @module-tag proof

import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { createModelServer } from '../../../src/testing/model-server/model-server.ts'
import { listMisfits, listViolations } from './axe.ts'
import { hasNoBrowser, inState, openStage, toService } from './browser.ts'

/** One red pixel. */
const PIXEL = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==',
  'base64',
)
const widths = [390, 1440] as const

describe.skipIf(hasNoBrowser)('what is used every day', () => {
  test('an image goes to a model that sees, and a message is edited and sent again', {
    timeout: 240_000,
  }, async () => {
    await using server = createModelServer({ models: ['m'] })
    const { url: serverUrl } = await server.listen()
    const models = [{ id: 'm', input: ['text', 'image'] }]
    await using stage = await openStage({ providers: { sees: { baseUrl: `${serverUrl}/v1`, models } } })
    const { page, url, context } = stage
    await context.grantPermissions(['clipboard-read', 'clipboard-write'])
    const { version } = JSON.parse(await readFile(new URL('../../../package.json', import.meta.url), 'utf8'))
    for (const width of widths) {
      await page.setViewportSize({ width, height: 900 })
      // The overview tells what the model can do, and which leasehold this is.
      await page.goto(`${url}/#/`)
      await page.locator('tr.one').getByText('sees/m · chat, vision').waitFor()
      await page.getByText(`leasehold ${version}`, { exact: true }).waitFor()

      await page.goto(`${url}/#/try`)
      const answer = page.getByRole('group', { name: 'Answer' })
      const prompt = page.getByRole('textbox', { name: 'Prompt', exact: true })
      const send = page.getByRole('button', { name: 'Send' })
      await page.getByLabel('Image').setInputFiles({ name: 'a.png', mimeType: 'image/png', buffer: PIXEL })
      await page.getByRole('button', { name: 'Remove image' }).waitFor()
      await prompt.fill('6 * 7')
      await page.keyboard.press('Control+Enter')
      await expect.poll(() => answer.locator('.text').textContent()).toContain('42')
      await expect
        .poll(() => sentMessages(server))
        .toEqual([
          {
            role: 'user',
            content: [
              { type: 'text', text: '6 * 7' },
              { type: 'image_url', image_url: { url: `data:image/png;base64,${PIXEL.toString('base64')}` } },
            ],
          },
        ])
      // It is shown beside its message: the policy of the page lets it be.
      const isDrawn = () =>
        page.getByAltText('Attached').evaluate((image) => (image as HTMLImageElement).naturalWidth)
      await expect.poll(isDrawn).toBe(1)
      await send.waitFor()
      expect(await listViolations(page), String(width)).toEqual([])
      expect(await listMisfits(page), String(width)).toEqual([])

      await page.getByRole('button', { name: 'Edit' }).focus()
      await page.keyboard.press('Enter')
      await expect.poll(() => prompt.inputValue()).toBe('6 * 7')
      await page.locator('.turns').waitFor({ state: 'detached' })
      await page.getByRole('button', { name: 'Remove image' }).click()
      await prompt.fill('5 * 5')
      await send.click()
      await expect.poll(() => answer.locator('.text').textContent()).toContain('25')
      await expect.poll(() => sentMessages(server)).toEqual([{ role: 'user', content: '5 * 5' }])
      await page.getByRole('button', { name: 'New', exact: true }).click()
    }

    // The list of requests tells how fast prompts were read, and what of them was in a cache.
    await page.goto(`${url}/#/requests`)
    const row = page.locator('tr.one').first()
    await expect.poll(() => row.locator('.c-pf').textContent()).toMatch(/^\d[\d.]*( k)?$/)
    expect(await row.locator('.c-ca').textContent()).toBe('0')
    await page.getByRole('button', { name: 'Prefill' }).focus()
    await page.keyboard.press('Enter')
    await page.locator('th[aria-sort=descending]', { hasText: 'Prefill' }).waitFor()
    // The bars keep their place: on a phone the story tells the rest.
    expect((await row.locator('.c-bar').boundingBox())?.width).toBeGreaterThan(240)
    for (const width of widths) {
      await page.setViewportSize({ width, height: 900 })
      await expect.poll(() => row.locator('.c-pf').isVisible()).toBe(width > 1_400)
      await row.locator('a').click()
      // Where the story lies over the list, the focus goes to it first.
      const story = page.getByRole('complementary', { name: /^Request / })
      await story.waitFor()
      if (width < 1_280)
        await expect.poll(() => story.evaluate((one) => one === document.activeElement)).toBe(true)
      await page.getByRole('button', { name: 'Markdown' }).focus()
      await page.keyboard.press('Enter')
      await page.getByText('The row is copied.').waitFor()
      const copied = await page.evaluate(() => navigator.clipboard.readText())
      expect(copied).toMatch(/^\| request \| \|\n\| --- \| --- \|\n\| time \| .* \|\n\| id \| /)
      expect(copied).toContain('| model | sees/m |\n')
      expect(await listViolations(page), String(width)).toEqual([])
      expect(await listMisfits(page), String(width)).toEqual([])
      await page.getByLabel('Close the request').click()
    }
    expect(stage.complaints).toEqual([])
  })

  test('long lines of the output are wrapped on demand, and its end stays in sight', {
    timeout: 240_000,
  }, async () => {
    const long = `the command was: ${'--a-long-option with-its-value '.repeat(20)}and its end`
    const lines = [...Array.from({ length: 150 }, (_, index) => `slot ${index}: done`), long, 'ready']
    await using stage = await openStage({ steered: { chat: { lines } } })
    const { page, url, supervisor } = stage
    await page.goto(toService(url, 'chat'))
    const starting = supervisor.start('chat').catch(() => {})
    await inState(page, 'starting.warming')
    const log = page.getByRole('log')
    await log.getByText('ready', { exact: true }).waitFor()
    const isSideways = () => log.evaluate((box) => box.scrollWidth > box.clientWidth)
    const wrap = page.getByRole('button', { name: 'Wrap' })
    for (const width of widths) {
      await page.setViewportSize({ width, height: 900 })
      await expect.poll(isSideways).toBe(true)
      await wrap.focus()
      await page.keyboard.press('Enter')
      await expect.poll(isSideways).toBe(false)
      expect(await log.locator('.line').count()).toBeGreaterThan(150)
      await expect
        .poll(() => log.evaluate((box) => box.scrollHeight - box.scrollTop - box.clientHeight))
        .toBeLessThan(2)
      expect(await listViolations(page), String(width)).toEqual([])
      expect(await listMisfits(page), String(width)).toEqual([])
      await wrap.click()
      await expect.poll(() => log.locator('.line').count()).toBeLessThan(100)
    }
    expect(stage.complaints).toEqual([])
    await stage.leave()
    await starting
  })
})

/** The messages of the last request that the server got. */
function sentMessages(server: ReturnType<typeof createModelServer>): unknown {
  const body = server.requests.findLast(({ path }) => path === '/v1/chat/completions')?.body
  return (typeof body === 'string' ? JSON.parse(body) : (body as { messages?: unknown } | undefined))
    ?.messages
}
