// @module-tag proof

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { formatSpan } from '../../../src/inspector/page/display-text.ts'
import { createRecorder } from '../../../src/observe/recorder.ts'
import { createModelServer } from '../../../src/testing/model-server/model-server.ts'
import { expectFit, listMisfits, listViolations, looks } from './axe.ts'
import { drawn, hasNoBrowser, openStage, pictures } from './browser.ts'

/** A stage whose second provider is a model server in this process. */
async function openQuickStage(leasehold: object = {}) {
  const server = createModelServer({ models: ['m'] })
  const { url: serverUrl } = await server.listen()
  const providers = { quick: { baseUrl: `${serverUrl}/v1`, models: [{ id: 'm' }] } }
  const stage = await openStage({
    steered: { chat: {} },
    providers,
    leasehold,
    viewport: { width: 1440, height: 900 },
  })
  const send = (
    model: string,
    agent = 'aider/0.86',
    more: object = {},
    headers: Record<string, string> = {},
  ) =>
    fetch(`${stage.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'user-agent': agent, ...headers },
      body: JSON.stringify({ model, messages: [{ role: 'user', content: 'SECRET 2+2' }], ...more }),
    }).then((answer) => answer.text())
  return {
    ...stage,
    send,
    /** Answers what reaches the steered server, until no request is under way. */
    finish: () =>
      expect
        .poll(
          async () => {
            await stage.steered.chat?.steer('answer')
            return stage.supervisor.requests().length
          },
          { timeout: 60_000 },
        )
        .toBe(0),
    rows: stage.page.locator('.req tr.one'),
    story: stage.page.locator('.drawer'),
    [Symbol.asyncDispose]: async () => {
      await stage[Symbol.asyncDispose]()
      await server.close()
    },
  }
}

describe.skipIf(hasNoBrowser)('the view of requests', () => {
  test('shows what a request sent and got where captureBodies is on, and says so in every view', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openQuickStage({ captureBodies: true })
    const { page, url, rows, story, complaints } = stage
    await page.goto(url)
    await page.getByText('Prompts and answers are kept:').waitFor()
    const evil = '<img src=x onerror="window.owned = 1">'
    await stage.send('quick/m', 'aider/0.86', {}, { 'x-evil': evil, authorization: 'Bearer SECRET-KEY' })
    await page.goto(`${url}/#/requests`)
    await page.getByText('Prompts and answers are kept:').waitFor()
    expect(await page.getByText('Prompts and answers are not recorded').count()).toBe(0)
    await rows.first().locator('a').click()
    await story.getByText('What it sent').click()
    await story.locator('.bodies pre').first().getByText('SECRET 2+2').waitFor()
    await story.getByText('What it got').click()
    await story.locator('.bodies pre').nth(1).getByText('"choices"').waitFor()
    const [sent, got] = await story.locator('.bodies details').allTextContents()
    expect(sent).toContain('POST /v1/chat/completions')
    const headerOf = (name: string) =>
      story
        .locator('.headers div', { has: page.getByText(name, { exact: true }) })
        .first()
        .locator('dd')
        .textContent()
    expect(await headerOf('user-agent')).toBe('aider/0.86')
    expect(await headerOf('x-evil')).toBe(evil)
    expect(await headerOf('authorization')).toBe('***')
    expect(got).toMatch(/Status 200.*content-typeapplication\/json/)
    expect(await page.content()).not.toContain('SECRET-KEY')
    await expectFit(page, 'request-bodies')
    expect(await page.evaluate(() => 'owned' in window)).toBe(false)
    expect(complaints).toEqual([])
  })

  test('shows a request that was refused because there is no such model, and counts it', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openQuickStage()
    const { page, url, rows, story, complaints } = stage
    await page.goto(`${url}/#/requests`)
    await page.getByText('No request has come yet.').waitFor()
    await stage.send('qwen9-8b')
    // Its events tell it.
    await rows.filter({ hasText: 'model unknown' }).waitFor()
    expect(await rows.textContent()).toMatch(/qwen9-8b.*aider/)
    await rows.locator('a').click()
    await story.getByText('aider asked for qwen9-8b').waitFor()
    await story.getByText('Failed: model unknown').waitFor()
    await page.goto(`${url}/#/`)
    await expect.poll(() => page.locator('.stats').textContent()).toContain('Requests1 / min')
    expect(complaints).toEqual([])
  })

  test('shows a request while it loads and reads, then its end, and tells its story', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openQuickStage()
    const { page, url, rows, story, steered, supervisor, complaints } = stage
    await page.goto(`${url}/#/requests`)
    await page.getByText('No request has come yet.').waitFor()
    const asking = stage.send('chat/m')
    await rows.filter({ hasText: 'loading' }).waitFor()
    expect(await rows.textContent()).toMatch(/chat\/m.*aider/)
    await steered.chat?.steer('ready')
    await rows.filter({ hasText: 'reading' }).waitFor()
    await rows.locator('a').click()
    await story.getByText('Got its lease').waitFor()
    expect(page.url()).toContain(`#/requests/${supervisor.requests()[0]?.id}`)
    await stage.finish()
    await asking
    await story.getByText('Answered').waitFor()
    await rows.filter({ hasText: 'done' }).waitFor()
    expect(
      (await story.locator('.story > li b').allTextContents()).filter((text) => text !== 'Waited'),
    ).toEqual([
      'aider asked for chat/m',
      'chat loaded',
      'Got its lease',
      'Rewritten and sent',
      'First byte',
      'Answered',
    ])
    // The bar is the truth: each part is as long as its time.
    const [ended] = supervisor.endedRequests(1)
    const box = (name: string) =>
      story.locator(`.phases .${name}`).evaluate((part) => part.getBoundingClientRect().width)
    const [load, first] = [await box('load'), await box('first')]
    const timings = ended?.timings ?? { loadMs: 0, firstByteMs: 0 }
    expect(Math.abs(load / first - timings.loadMs / timings.firstByteMs)).toBeLessThan(0.15 * (load / first))
    expect(await page.content()).not.toContain('SECRET')
    await page.keyboard.press('Escape')
    await story.waitFor({ state: 'detached' })
    expect(page.url()).toMatch(/#\/requests$/)
    expect(complaints).toEqual([])
  })

  test('cancels a request, and tells that it was', { timeout: 240_000 }, async () => {
    await using stage = await openQuickStage()
    const { page, url, rows, story, steered } = stage
    await page.goto(`${url}/#/requests`)
    const asking = stage.send('chat/m').catch(() => 'cut')
    await steered.chat?.steer('ready')
    await rows.filter({ hasText: 'reading' }).waitFor()
    await page.keyboard.press('j')
    await page.locator('.req tr.at').waitFor()
    await page.keyboard.press('Enter')
    await story.getByRole('button', { name: /^Cancel/ }).click()
    await story.getByText('Cancelled', { exact: true }).waitFor()
    await asking
    await rows.filter({ hasText: 'cancelled' }).waitFor()
  })

  test('filters, sorts and exports', { timeout: 240_000 }, async () => {
    await using stage = await openQuickStage()
    const { page, url, rows } = stage
    for (const agent of ['aider/1', 'curl/8.5', 'aider/1']) await stage.send('quick/m', agent)
    // The page counts what ended before it was opened.
    await page.goto(url)
    const figure = page.locator('.stats dd').nth(1)
    await expect.poll(() => figure.textContent(), { timeout: 60_000 }).toBe('3 / min')
    await stage.send('nowhere/m', 'curl/8.5')
    await page.goto(`${url}/#/requests`)
    await expect.poll(() => rows.count(), { timeout: 60_000 }).toBe(4)
    await page.getByRole('button', { name: 'Failed or cut' }).click()
    await expect.poll(() => rows.allTextContents()).toEqual([expect.stringContaining('model unknown')])
    await page.getByRole('button', { name: 'All', exact: true }).click()
    await page.keyboard.press('/')
    await page.keyboard.type('aider')
    await expect.poll(() => rows.count()).toBe(2)
    await page.keyboard.press('Escape')
    await expect.poll(() => rows.count()).toBe(4)
    const client = page.getByRole('columnheader', { name: 'Client' })
    await client.getByRole('button').click()
    await expect.poll(() => client.getAttribute('aria-sort')).toBe('descending')
    await expect
      .poll(() => rows.locator('.c-cl').allTextContents())
      .toEqual(['curl', 'curl', 'aider', 'aider'])
    const downloading = page.waitForEvent('download')
    await page.getByRole('button', { name: 'CSV' }).click()
    const lines = (await readFile(await (await downloading).path(), 'utf8')).trim().split('\r\n')
    expect(lines).toHaveLength(5)
    expect(lines[0]).toMatch(/^time,id,model,client/)
    expect(lines[1]).toContain(',curl,')
  })

  test('shows the columns that were chosen, and still does after a reload', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openQuickStage()
    const { page, url, rows, complaints } = stage
    await stage.send('quick/m', '<img src=x onerror="window.owned = 1">/1')
    await stage.send('nowhere/m')
    await page.goto(`${url}/#/requests`)
    await rows.nth(1).waitFor()
    const heads = async () =>
      (await page.locator('.req th .by').allTextContents()).map((text) => text.replace(/ [↓↑]$/, ''))
    const first = ['When', 'Model', 'Client', 'Time', 'Cached', 'Prefill', 'Tokens', 'tok/s', 'Outcome']
    expect(await heads()).toEqual(first)
    // By keyboard alone.
    await page.locator('.columns summary').focus()
    await page.keyboard.press('Enter')
    await page.getByLabel('Client', { exact: true }).focus()
    await page.keyboard.press(' ')
    for (const name of ['Path', 'First byte', 'Status'])
      await page.getByRole('checkbox', { name, exact: true }).check()
    const chosen = ['When', 'Model', 'Path', 'Time', 'First byte', 'Cached', 'Prefill', 'Tokens', 'tok/s']
    expect(await heads()).toEqual([...chosen, 'Status', 'Outcome'])
    await expectFit(page)
    await page.setViewportSize({ width: 1440, height: 900 })
    await page.getByRole('checkbox', { name: 'Path', exact: true }).focus()
    await page.keyboard.press('Escape')
    await page.locator('.columns > div').waitFor({ state: 'hidden' })
    expect(await page.evaluate(() => document.activeElement?.tagName)).toBe('SUMMARY')
    await page.reload()
    await rows.nth(1).waitFor()
    expect(await heads()).toEqual([...chosen, 'Status', 'Outcome'])
    expect(await rows.nth(1).locator('.c-rt').textContent()).toBe('/v1/chat/completions')
    expect(await rows.nth(1).locator('.c-st').textContent()).toBe('200')
    await page.getByRole('columnheader', { name: 'Status' }).getByRole('button').click()
    await expect.poll(() => rows.first().locator('.c-st').textContent()).toBe('200')
    await page.locator('.columns summary').click()
    await page.getByRole('button', { name: 'Default columns' }).click()
    await expect.poll(heads).toEqual(first)
    await page.getByRole('heading', { name: 'Requests', level: 1 }).click()
    await page.locator('.columns > div').waitFor({ state: 'hidden' })
    expect(await page.evaluate(() => 'owned' in window)).toBe(false)
    expect(complaints).toEqual([])
  })

  test('draws how the values of the rows are distributed, of the rows that the filter leaves', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openQuickStage()
    const { page, url, rows, supervisor, complaints } = stage
    for (let count = 0; count < 6; count += 1) await stage.send('quick/m', count < 2 ? 'curl/8.5' : 'aider/1')
    await page.goto(`${url}/#/requests`)
    await rows.nth(5).waitFor()
    const histogram = page.locator('.histogram')
    await histogram.getByLabel('Histogram of').selectOption('Whole time')
    await histogram.getByText('(6 requests)').waitFor()
    const heights = () =>
      histogram
        .locator('rect title')
        .allTextContents()
        .then((texts) => texts.map((text) => Number(text.split(': ')[1])))
    expect((await heights()).reduce((sum, count) => sum + count, 0)).toBe(6)
    const times = supervisor.endedRequests(6).map(({ timings }) => {
      const { waitMs, loadMs, firstByteMs, streamMs } = timings
      return waitMs + loadMs + (firstByteMs ?? 0) + streamMs
    })
    const [least, most] = [Math.min(...times), Math.max(...times)].map(formatSpan)
    expect(await histogram.locator('figcaption').textContent()).toBe(`${least}${most}`)
    await page.keyboard.press('/')
    await page.keyboard.type('curl')
    await histogram.getByText('(2 requests)').waitFor()
    await page.keyboard.press('Escape')
    await histogram.getByText('(6 requests)').waitFor()
    await expectFit(page)
    await page.reload()
    await histogram.getByText('(6 requests)').waitFor()
    expect(await histogram.getByLabel('Histogram of').inputValue()).toBe('time')
    await page.getByRole('button', { name: 'Histogram', exact: true }).click()
    await histogram.waitFor({ state: 'detached' })
    expect(complaints).toEqual([])
  })

  test('has the last 500 when it opens, and only the rows in sight are there', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openQuickStage()
    const { page, url, rows, complaints } = stage
    for (let round = 0; round < 17; round += 1)
      await Promise.all(Array.from({ length: 31 }, () => stage.send('quick/m')))
    await page.goto(`${url}/#/requests`)
    const table = page.locator('.req')
    await expect.poll(() => table.getAttribute('aria-rowcount'), { timeout: 60_000 }).toBe('501')
    expect(await rows.count()).toBeLessThan(90)
    expect(await page.locator('*').count()).toBeLessThan(2_500)
    await page.locator('main').evaluate((main) => main.scrollTo(0, main.scrollHeight))
    await page.locator('.req tr[aria-rowindex="501"]').waitFor()
    expect(await rows.count()).toBeLessThan(90)
    expect(complaints).toEqual([])
  })

  test('holds new rows back while a story is open, and shows them when asked', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openQuickStage()
    const { page, url, rows } = stage
    await stage.send('quick/m')
    await page.goto(`${url}/#/requests`)
    await rows.locator('a').click()
    await page.locator('.drawer').waitFor()
    await stage.send('quick/m')
    const show = page.getByRole('button', { name: '1 new, show' })
    await show.waitFor()
    expect(await rows.count()).toBe(1)
    await show.click()
    await expect.poll(() => rows.count()).toBe(2)
  })

  test('shows a held moment, and a recording, as they were', { timeout: 240_000 }, async () => {
    await using stage = await openQuickStage()
    const { page, url, rows, steered, supervisor } = stage
    const folder = await mkdtemp(join(tmpdir(), 'page-requests-'))
    const file = join(folder, 'day.ndjson')
    const recorder = createRecorder(supervisor, { file })
    await page.goto(`${url}/#/requests`)
    const asking = stage.send('chat/m')
    await rows.filter({ hasText: 'loading' }).waitFor()
    await page.keyboard.press(' ')
    await page.getByRole('button', { name: 'Back to now', exact: true }).waitFor()
    await steered.chat?.steer('ready')
    await stage.finish()
    await asking
    await recorder.close()
    await drawn(page)
    expect(await rows.textContent()).toContain('loading')
    await page.keyboard.press('End')
    await rows.filter({ hasText: 'done' }).waitFor()

    await page.setInputFiles('#recording', file)
    await page.getByText('recording day.ndjson').waitFor()
    await expect.poll(() => rows.count()).toBe(0)
    await page.keyboard.press('End')
    await rows.filter({ hasText: 'done' }).waitFor()
    await rows.locator('a').click()
    await page.locator('.story').getByText('Answered').waitFor()
    await rm(folder, { recursive: true })
  })

  test('has no violation and no overflow at any width and in either theme', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openQuickStage()
    const { page, url, rows, story, complaints } = stage
    for (const model of ['quick/m', 'nowhere/m', 'quick/m']) await stage.send(model)
    const asking = stage.send('chat/m').catch(() => '')
    for (const { width, theme } of looks) {
      await page.setViewportSize({ width, height: 900 })
      await page.emulateMedia({ colorScheme: theme })
      await page.goto(`${url}/#/requests`)
      await rows.nth(3).waitFor()
      const at = `requests ${width} ${theme}`
      expect([at, await listViolations(page)]).toEqual([at, []])
      expect([at, await listMisfits(page)]).toEqual([at, []])
      if (pictures !== undefined) await page.screenshot({ path: `${pictures}/${at}.png` })
      await rows.first().locator('a').click()
      await story.waitFor()
      expect([at, await listViolations(page)]).toEqual([at, []])
      expect([at, await listMisfits(page)]).toEqual([at, []])
      if (pictures !== undefined) await page.screenshot({ path: `${pictures}/${at} story.png` })
    }
    expect(complaints).toEqual([])
    await stage.leave()
    await asking
  })
})
