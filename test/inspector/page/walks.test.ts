// @module-tag proof

import { describe, expect, test } from 'vitest'
import { createModelServer } from '../../../src/testing/model-server/model-server.ts'
import { drawn, hasNoBrowser } from './browser.ts'
import { openBusyStage } from './busy-stage.ts'

/** The busy stage with a fast server beside it, looked at on a laptop. */
async function openWalk() {
  const server = createModelServer({ models: ['m'] })
  const { url: serverUrl } = await server.listen()
  const stage = await openBusyStage({ quick: { baseUrl: `${serverUrl}/v1`, models: [{ id: 'm' }] } })
  const { page, url } = stage
  await page.goto(url)
  await page.locator('tr.one').first().waitFor()
  return {
    ...stage,
    ask: (agent: string) =>
      fetch(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'user-agent': agent },
        body: JSON.stringify({
          model: 'quick/m',
          stream: true,
          stream_options: { include_usage: true },
          messages: [{ role: 'user', content: '6 * 7' }],
        }),
      }).then((answer) => answer.text()),
    /** Whether it is in sight without scrolling. */
    isInSight: async (text: string | RegExp) => {
      const box = await page.getByText(text).first().boundingBox()
      return box !== null && box.y >= 0 && box.y + box.height <= 900
    },
    [Symbol.asyncDispose]: async () => {
      await stage[Symbol.asyncDispose]()
      await server.close()
    },
  }
}

describe.skipIf(hasNoBrowser)('a person who has never seen the page finds, from it alone,', () => {
  test('what holds the memory', { timeout: 240_000 }, async () => {
    await using walk = await openWalk()
    const { page } = walk
    const budget = page.locator('[data-budget=ramMiB]')
    expect(await budget.textContent()).toMatch(
      /RAM7\.8 GiB.*qwen3-8b 5\.9 GiB.*bge-m3 1\.0 GiB.*phi-4 5\.9 GiB/,
    )
    expect(await budget.locator('.left').textContent()).toBe('1.0 GiB free')
    expect(await budget.locator('.note').textContent()).toContain(
      'phi-4 needs 5.9 GiB. It starts when qwen3-8b',
    )
    // The widths are the amounts: 6000 and 1000 of 8000.
    const width = async (name: string) =>
      (await budget.locator('.part', { hasText: name }).boundingBox())?.width ?? 0
    const whole = (await budget.locator('.bar').boundingBox())?.width ?? 0
    expect(await width('qwen3-8b')).toBeGreaterThan(whole * 0.74)
    expect(await width('qwen3-8b')).toBeLessThan(whole * 0.76)
    expect((await width('bge-m3')) / whole).toBeCloseTo(0.125, 1)
    for (const [name, amount] of [
      ['qwen3-8b', '5.9 GiB'],
      ['bge-m3', '1.0 GiB'],
    ] as const) {
      const part = budget.locator('.part', { hasText: name })
      expect(await part.getByText(amount).isVisible()).toBe(true)
      const words = part.locator('b')
      expect(await words.evaluate((one) => one.scrollWidth - one.clientWidth)).toBeLessThanOrEqual(0)
    }
    expect(walk.complaints).toEqual([])
  })

  test('why a model is slow right now', { timeout: 240_000 }, async () => {
    await using walk = await openWalk()
    const { page } = walk
    const row = page.locator('tr.one', { hasText: 'phi-4' })
    expect(await row.textContent()).toContain('Waits for room that qwen3-8b has')
    expect(await walk.isInSight('Waits for room that qwen3-8b has')).toBe(true)
    await row.getByRole('link', { name: 'phi-4' }).click()
    await page.getByRole('heading', { name: 'Waits for room that qwen3-8b has' }).waitFor()
    expect(await page.locator('.why').textContent()).toMatch(
      /qwen3-8b holds 6000 MiB.*It starts when qwen3-8b/,
    )
    await page.getByRole('button', { name: 'Stop qwen3-8b' }).waitFor()
    // What the configuration would have to say stands there to be copied.
    expect(await page.getByLabel('What you can do').textContent()).toContain('budgets: { ramMiB: ')
  })

  test('why a model failed, and what to do', { timeout: 240_000 }, async () => {
    await using walk = await openWalk()
    const { page } = walk
    await page.getByRole('heading', { name: /crash keeps failing/ }).waitFor()
    expect(await page.title()).toContain('1 failing')
    // It is the first row.
    expect(await page.locator('tr.one').first().textContent()).toContain('Keeps failing')
    await page.locator('tr.one').first().getByRole('link').click()
    const advice = page.getByLabel('What you can do')
    expect(await advice.locator('blockquote').textContent()).toBe('error: no such file: /models/missing.gguf')
    expect(await advice.textContent()).toContain('Run its command by hand')
    await advice.getByRole('button', { name: 'Start now' }).waitFor()
    expect(await walk.isInSight('error: no such file')).toBe(true)
    await page.locator('.line.cause', { hasText: 'no such file' }).first().waitFor()
  })

  test('which request that was', { timeout: 240_000 }, async () => {
    await using walk = await openWalk()
    const { page } = walk
    await walk.ask('aider/0.86')
    await walk.ask('curl/8')
    await page.getByRole('link', { name: 'Requests' }).first().click()
    const row = page.locator('.req tr.one')
    await row.first().waitFor()
    await page.keyboard.press('/')
    await page.keyboard.type('aider')
    await expect.poll(() => row.count()).toBe(1)
    expect(await row.textContent()).toMatch(/quick\/m.*aider/)
    await row.getByRole('link').click()
    const story = page.locator('.drawer')
    await story.getByText('aider asked for quick/m').waitFor()
    expect(await story.textContent()).toContain('First byte')
    expect(await story.textContent()).not.toContain('6 * 7')
  })

  test('how fast it is', { timeout: 240_000 }, async () => {
    await using walk = await openWalk()
    const { page } = walk
    const generating = page.locator('.stats div', { hasText: 'Generating' })
    const row = page.locator('tr.one', { hasText: 'quick' })
    const isFast = async () => {
      await Promise.all([1, 2, 3, 4].map(() => walk.ask('curl/8')))
      return row.textContent()
    }
    await expect.poll(isFast, { timeout: 60_000 }).toMatch(/\d+ tok\/s/)
    await row.locator('.spark').waitFor()
    expect(await generating.textContent()).toMatch(/Generating\d+ tok\/s/)
    // And the place to try it tells each part of its time.
    await page.goto(`${walk.url}/#/try/quick`)
    await page.getByRole('textbox', { name: 'Prompt', exact: true }).fill('What is 6 * 7?')
    await page.getByRole('button', { name: 'Send' }).click()
    const answer = page.getByRole('group', { name: 'Answer' })
    await expect.poll(() => answer.locator('.text').textContent()).toContain('42')
    await page.getByRole('button', { name: 'Send' }).waitFor()
    expect(await answer.locator('.meters').textContent()).toMatch(/First byte\d+.*Pace/)
    // The page keeps neither the question nor the answer.
    await page.goto(`${walk.url}/#/`)
    await row.waitFor()
    await page.goto(`${walk.url}/#/try/quick`)
    await page.getByRole('textbox', { name: 'Prompt', exact: true }).waitFor()
    expect(await page.locator('main').textContent()).not.toContain('= 42')
    const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]))
    expect(kept).not.toContain('6 * 7')
    expect(walk.complaints).toEqual([])
  })

  test('what happened at that time', { timeout: 240_000 }, async () => {
    await using walk = await openWalk()
    const { page, supervisor } = walk
    const tripped = supervisor
      .pastEvents()
      .find((event) => event.type === 'service.state' && event.to === 'down.tripped')
    await supervisor.stop('bge-m3')
    await page.locator('tr.one[data-look=down]', { hasText: 'bge-m3' }).waitFor()
    // What changed last is told with its time, and the time goes there.
    const time = page.getByLabel('Lately').getByRole('listitem').filter({ hasText: 'crash keeps failing' })
    // While nothing newer is known, that time is now.
    const goThere = async () => {
      await time.getByRole('button').click()
      await drawn(page)
      return page.getByText('Nothing can be changed there').isVisible()
    }
    await expect.poll(goThere, { timeout: 60_000 }).toBe(true)
    await drawn(page)
    expect(await page.locator('tr.one', { hasText: 'bge-m3' }).getAttribute('data-look')).toBe('idle')
    expect(await page.locator('.when').textContent()).toContain('crash: keeps failing')
    // Every view is at that moment.
    await page.getByRole('link', { name: 'bge-m3' }).first().click()
    await page.getByRole('heading', { name: 'Ready, not in use' }).waitFor()
    expect(await page.getByRole('button', { name: 'Stop', exact: true }).isDisabled()).toBe(true)
    await page.getByRole('button', { name: 'Back to now', exact: true }).click()
    await page.getByRole('heading', { name: 'Down', exact: true }).waitFor()
    expect(tripped).toBeDefined()
    await page.getByRole('link', { name: 'Timeline' }).first().click()
    await page.getByText('bge-m3').first().waitFor()
  })
})
