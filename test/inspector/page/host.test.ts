// @module-tag proof

import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { createSmiFolder } from '../../process/fake-smi.ts'
import { expectFit } from './axe.ts'
import { createFastProvider, hasNoBrowser, openStage } from './browser.ts'

const EVIL = '<img src=x onerror="window.owned = 1"> \u001b[31mred\u001b[0m \u202Egnp.exe'

describe.skipIf(hasNoBrowser)('the view of the host', () => {
  test("follows leasehold's own log, searches it, and shows hostile text as text", {
    timeout: 240_000,
  }, async () => {
    const crash = `console.error(${JSON.stringify(EVIL)}); process.exit(1)`
    await using stage = await openStage({
      providers: {
        fast: await createFastProvider(),
        crash: {
          baseUrl: 'http://127.0.0.1:9/v1',
          localService: { command: process.execPath, args: ['-e', crash] },
          models: [{ id: 'm' }],
        },
      },
      leasehold: { backoffMs: 600_000, backoffMaxMs: 600_000 },
      viewport: { width: 1440, height: 900 },
    })
    const { page, url, complaints } = stage
    await page.goto(`${url}/#/host`)
    const log = page.getByRole('log', { name: 'Log of leasehold' })
    await (await stage.ask('fast')).text()
    await expect.poll(() => log.textContent(), { timeout: 60_000 }).toMatch(/fast {2}in use/)
    await (await stage.ask('crash')).text()
    await log.locator('.line.bad, .line.warn').first().waitFor()
    const text = (await log.textContent()) ?? ''
    for (const control of ['\u001b', '\u202E']) expect(text).not.toContain(control)
    await expectFit(page, 'host')
    // With the servers their lines stand among its own; without them they are gone again.
    await page.getByRole('button', { name: 'All servers' }).click()
    await expect.poll(() => log.textContent(), { timeout: 60_000 }).toMatch(/fast {2}\| demo-server: /)
    await page.getByRole('button', { name: 'leasehold', exact: true }).click()
    await expect.poll(() => log.textContent(), { timeout: 60_000 }).not.toMatch(/demo-server: /)
    await log.locator('.line').first().waitFor()
    // Levels and words leave lines out.
    const all = await log.locator('.line').count()
    await page.getByRole('button', { name: 'Warnings' }).click()
    await expect.poll(() => log.locator('.line').count()).toBeLessThan(all)
    await page.getByRole('button', { name: 'All', exact: true }).click()
    await page.keyboard.press('/')
    await page.keyboard.type('exited')
    await log.locator('mark').first().waitFor()
    const downloading = page.waitForEvent('download')
    await page.getByRole('button', { name: 'Download the log' }).click()
    const saved = await readFile(await (await downloading).path(), 'utf8')
    expect(saved.trim().split('\n').length).toBe(await log.locator('.line').count())
    expect(await page.evaluate(() => 'owned' in window)).toBe(false)
    expect(complaints).toEqual([])
  })

  test('shows the load of the host and its GPUs, as far as it is known', { timeout: 240_000 }, async () => {
    await using smi = await createSmiFolder()
    const gpu = {
      'memory.total': '24564',
      'memory.used': '18000',
      'utilization.gpu': '87',
      'temperature.gpu': '61',
      'power.draw': '351.29',
      'power.limit': '450.00',
    }
    const nvidiaSmi = await smi.writeNvidiaSmi([
      {
        index: '0',
        name: `NVIDIA <img src=x onerror="window.owned=1">`,
        driver_version: '570.86.15',
        ...gpu,
      },
      { index: '1', name: 'NVIDIA GB10', driver_version: '570.86.15', 'utilization.gpu': '3' },
    ])
    await using stage = await openStage({
      leasehold: { nvidiaSmi },
      providers: { fast: await createFastProvider() },
      viewport: { width: 1440, height: 900 },
    })
    const { page, url, complaints } = stage
    await page.goto(`${url}/#/host`)
    const first = page.getByLabel('GPU 0', { exact: true })
    await first.getByText('17.6 GiB').waitFor()
    expect(await first.locator('dt').allTextContents()).toEqual([
      'GPU memory',
      'Utilisation',
      'Temperature',
      'Power',
    ])
    expect(await first.locator('b').allTextContents()).toEqual(['17.6 GiB', '87 %', '61 °C', '351 W'])
    expect(await first.locator('h2').textContent()).toContain('<img src=x')
    // What a GPU does not tell is not shown.
    const second = page.getByLabel('GPU 1', { exact: true })
    expect(await second.locator('dt').allTextContents()).toEqual(['Utilisation'])
    const host = page.getByLabel('Hardware', { exact: true })
    await host.getByText('Processor', { exact: true }).waitFor()
    await host.getByText('Threads', { exact: true }).waitFor()
    expect(await host.locator('dt').allTextContents()).toEqual(
      expect.arrayContaining(['Processor', 'Memory']),
    )
    // Lines go on while they are looked at.
    await expect
      .poll(() => first.locator('path').first().getAttribute('d'), { timeout: 60_000 })
      .toMatch(/^M.*L/)
    await expectFit(page, 'hardware')
    // Another view asks nothing about the hardware.
    await page.keyboard.press('1')
    await page.locator('tr.one').waitFor()
    const asked: string[] = []
    page.on('request', (request) => asked.push(request.url()))
    // Each of these takes half a second or more, all of them longer than the time between two samples.
    for (let times = 0; times < 12; times += 1) {
      const told = page.waitForResponse((response) => response.url().endsWith('/api/services'))
      await (await stage.ask('fast')).text()
      await told
    }
    expect(asked.filter((one) => one.includes('/api/hardware'))).toEqual([])
    expect(await page.evaluate(() => 'owned' in window)).toBe(false)
    expect(complaints).toEqual([])
  })

  test('goes on with the log of the next gateway, without doubled lines', {
    timeout: 240_000,
  }, async () => {
    await using stage = await openStage({ providers: { fast: await createFastProvider() } })
    const { page, url, complaints } = stage
    await page.goto(`${url}/#/host`)
    const log = page.getByRole('log', { name: 'Log of leasehold' })
    const countReady = async () =>
      (await log.locator('.line').allTextContents()).filter((line) => /fast {2}in use/.test(line)).length
    await (await stage.ask('fast')).text()
    await expect.poll(countReady, { timeout: 60_000 }).toBe(1)
    await stage.leave()
    await page.getByText('The connection to the gateway is lost.').waitFor()
    expect(await countReady()).toBe(1)
    await stage.comeBack()
    await page.getByText('The connection to the gateway is lost.').waitFor({ state: 'detached' })
    await expect.poll(countReady, { timeout: 60_000 }).toBe(0)
    await (await stage.ask('fast')).text()
    await expect.poll(countReady, { timeout: 60_000 }).toBe(1)
    expect(complaints).toEqual([])
  })
})
