import type { Page } from 'playwright-core'
import { expect } from 'vitest'
import { drawn, openStage, pictures, type Stage, type StageOptions } from './browser.ts'

/** Where the page shows every view of this stage. */
export const places = [
  '#/',
  '#/service/qwen3-8b',
  '#/service/phi-4',
  '#/service/crash',
  '#/requests',
  '#/timeline',
  '#/try',
  '#/machines/qwen3-8b',
  '#/host',
] as const

/** Keys that show something over the overview. Escape closes it. */
const overlays: Readonly<Record<string, string>> = { keys: '?', search: 'Control+k', held: 'ArrowLeft' }

/** Where, and over what, the page is looked at. */
export const overlaid = [...places, ...Object.keys(overlays)]

/** Shows the page at each place in each width, and takes a picture where some are wanted. `what` begins their names. */
export async function showEach(
  page: Page,
  what: string,
  { widths, places }: { readonly widths: readonly number[]; readonly places: readonly string[] },
  look: (name: string, width: number) => Promise<void>,
): Promise<void> {
  for (const width of widths) {
    await page.setViewportSize({ width, height: width < 600 ? 844 : 1_000 })
    for (const place of places) {
      const key = overlays[place]
      await page.evaluate((hash) => location.assign(hash), key === undefined ? place : '#/')
      await page.locator('main .page').waitFor()
      await page.getByText('This view is loading').waitFor({ state: 'detached' })
      if (key !== undefined) await page.keyboard.press(key)
      await drawn(page)
      await drawn(page)
      const name = `${what}-${place.replaceAll(/\W+/g, '-')}-${width}`
      if (pictures !== undefined) await page.screenshot({ path: `${pictures}/${name}.png` })
      await look(name, width)
      if (key !== undefined) await page.keyboard.press('Escape')
    }
  }
}

/** Five services: one fails, one is in use, one waits for its room, one is ready, one is down. */
export async function openBusyStage(more: StageOptions['providers'] = {}): Promise<Stage> {
  const needs = { ramMiB: 6_000 }
  const crash = "console.error('error: no such file: /models/missing.gguf'); process.exit(1)"
  const stage = await openStage({
    steered: {
      'qwen3-8b': {
        service: { needs },
        lines: ['llama_model_loader: loaded meta data', 'W warn: no flash attention', 'load_tensors: done'],
      },
      'phi-4': { service: { needs, maxStarveMs: 600_000 } },
      'bge-m3': { service: { needs: { ramMiB: 1_000 }, idleStopMs: 600_000 } },
      'a-service-with-a-very-long-name-that-goes-on-and-on': {},
    },
    providers: {
      crash: {
        baseUrl: 'http://127.0.0.1:9/v1',
        localService: { command: process.execPath, args: ['-e', crash], needs: { ramMiB: 1 } },
        models: [{ id: 'm' }],
      },
      ...more,
    },
    leasehold: {
      budgets: { ramMiB: 8_000 },
      backoffMs: 50,
      backoffMaxMs: 50,
      breakerFailures: 3,
      breakerCooldownMs: 600_000,
    },
    viewport: { width: 1440, height: 900 },
  })
  const { steered, supervisor } = stage
  const stateOf = (name: string) =>
    supervisor.snapshot().services.find(({ service }) => service === name)?.state
  stage.ask('qwen3-8b').catch(() => {})
  const ready = stage.ask('bge-m3')
  await steered['qwen3-8b']?.steer('ready')
  await steered['bge-m3']?.steer('ready')
  await expect.poll(() => stateOf('qwen3-8b')).toBe('leased.open')
  await expect.poll(() => stateOf('bge-m3')).toBe('leased.open')
  // The request may have yet to reach the server.
  const isAnswered = async () => {
    await steered['bge-m3']?.steer('answer')
    return Promise.race([ready.then(() => true), new Promise((resolve) => setTimeout(resolve, 100))])
  }
  await expect.poll(isAnswered).toBe(true)
  stage.ask('phi-4').catch(() => {})
  const crashed = async () => {
    await (await stage.ask('crash')).text()
    return stateOf('crash')
  }
  await expect.poll(crashed, { timeout: 60_000 }).toBe('down.tripped')
  await expect.poll(() => stateOf('phi-4')).toBe('starting.claiming')
  return stage
}
