// @module-tag proof

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createRecorder } from '../../../src/observe/recorder.ts'
import { drawn, hasNoBrowser, inState, openStage, toService } from './browser.ts'

describe.skipIf(hasNoBrowser)('a recording', () => {
  test('of a crash is opened, played, and stepped back through', { timeout: 240_000 }, async () => {
    await using stage = await openStage({
      steered: { chat: { lines: ['model server: out of memory soon'] }, other: {} },
      leasehold: { backoffMs: 60_000 },
    })
    const { page, url, steered, supervisor } = stage
    const folder = await mkdtemp(join(tmpdir(), 'page-recording-'))
    const file = join(folder, 'crash.ndjson')
    const recorder = createRecorder(supervisor, { file })
    const asking = stage.ask('chat')
    await steered.chat?.steer('ready')
    await expect.poll(() => supervisor.snapshot().services[0]?.state).toBe('leased.open')
    await steered.chat?.steer('exit=3')
    await asking.then((answer) => answer.text())
    await expect.poll(() => supervisor.snapshot().services[0]?.state).toBe('down.backoff')
    await recorder.close()

    await page.goto(toService(url, 'chat'))
    await page.getByRole('heading', { name: 'Failed', level: 2 }).waitFor()
    await page.setInputFiles('#recording', file)
    await page.getByText('recording crash.ndjson').waitFor()
    const play = page.getByRole('button', { name: 'Play' })
    await play.click()
    await play.waitFor({ timeout: 60_000 })
    await inState(page, 'down.backoff')
    // Nothing that is recorded can be started or stopped.
    expect(await page.getByRole('button', { name: 'Start', exact: true }).isDisabled()).toBe(true)
    await page.getByRole('button', { name: 'All', exact: true }).first().click()
    await page.locator('[data-arrow="leased down"].taken').waitFor()
    expect(await page.locator('[data-arrow="leased down"].taken text').textContent()).toBe('process.exited')
    expect(await page.locator('.why').textContent()).toContain('exited with code 3')
    expect(await page.locator('.output pre').textContent()).toContain('out of memory soon')

    const shown = async () => (await page.locator('.service').getAttribute('data-state')) ?? ''
    const seen = [await shown()]
    while (seen.at(-1) !== 'down.cold') {
      await page.keyboard.press('ArrowLeft')
      await drawn(page)
      const state = await shown()
      if (state !== seen.at(-1)) seen.push(state)
    }
    expect(seen).toEqual([
      'down.backoff',
      'leased.open',
      'starting.warming',
      'starting.spawning',
      'starting.claiming',
      'probing',
      'down.cold',
    ])
    await page.getByRole('button', { name: 'Close recording' }).click()
    await page.getByText('Live', { exact: true }).waitFor()
    expect(stage.complaints).toEqual([])
    await rm(folder, { recursive: true })
  })

  test('that holds no events is refused in words', { timeout: 240_000 }, async () => {
    await using stage = await openStage({ steered: { chat: {} } })
    const { page, url } = stage
    await page.goto(url)
    await page.locator('tr.one').waitFor()
    await page.setInputFiles('#recording', {
      name: 'letter.txt',
      mimeType: 'text/plain',
      buffer: Buffer.from('Dear reader,\nthis is no recording.'),
    })
    await page.getByText('letter.txt holds no events').waitFor()
  })
})
