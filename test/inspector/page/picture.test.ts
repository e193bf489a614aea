// @module-tag proof

import { describe, expect, test } from 'vitest'
import { createFastProvider, hasNoBrowser, openStage } from './browser.ts'

const OUT_OF_MEMORY =
  'ggml_backend_cuda_buffer_type_alloc_buffer: allocating 3994.11 MiB on device 0: cudaMalloc failed: out of memory'

/** A provider whose server is the demo server. */
function toLocal(needs: object, flags: readonly string[] = [], service: object = {}) {
  return createFastProvider({ idleStopMs: 600_000, needs, ...service }, flags)
}

/** `WRITE_SCREENSHOTS=FILE.png` takes the picture of the README: one GPU, six models. */
describe.skipIf(hasNoBrowser || process.env.WRITE_SCREENSHOTS === undefined)(
  'the picture of the README',
  () => {
    test('shows a service in use, one that loads, one that waits for room and one that fails', {
      timeout: 240_000,
    }, async () => {
      await using stage = await openStage({
        providers: {
          'qwen3-8b': await toLocal({ vramMiB: 9_400, ramMiB: 1_100 }, ['--token-delay-ms', '200'], {
            maxConcurrent: 9,
          }),
          'coder-14b': await toLocal({ vramMiB: 10_800, ramMiB: 1_400 }, ['--load-ms', '90000']),
          'gemma-3-12b': await toLocal({ vramMiB: 9_000, ramMiB: 1_200 }, [], { maxStarveMs: 600_000 }),
          'bge-m3': await toLocal({ ramMiB: 1_300 }),
          'llama-70b': {
            baseUrl: 'http://127.0.0.1:9/v1',
            localService: {
              command: process.execPath,
              args: ['-e', `console.error('${OUT_OF_MEMORY}'); process.exit(1)`],
              needs: { vramMiB: 100 },
            },
            models: [{ id: 'm' }],
          },
          whisper: await toLocal({ vramMiB: 3_100 }),
        },
        leasehold: {
          budgets: { vramMiB: 24_576, ramMiB: 65_536 },
          backoffMs: 50,
          backoffMaxMs: 50,
          breakerFailures: 3,
          breakerCooldownMs: 300_000,
          maxConcurrentStarts: 3,
        },
        viewport: { width: 1440, height: 900 },
      })
      const { page, url, supervisor } = stage
      const ask = (model: string, agent: string) =>
        fetch(`${url}/v1/chat/completions`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', 'user-agent': agent },
          body: JSON.stringify({
            model: `${model}/m`,
            stream: true,
            messages: [{ role: 'user', content: 'a' }],
          }),
        })
          .then((answer) => answer.text())
          .catch(() => '')
      const stateOf = (name: string) =>
        supervisor.snapshot().services.find(({ service }) => service === name)?.state
      await page.goto(url)
      let isOver = false
      const talks = Array.from(
        { length: 8 },
        (_, index) => ['OpenWebUI/0.6', 'aider/0.86'][index % 2] ?? '',
      ).map(async (agent) => {
        while (!isOver) await ask('qwen3-8b', agent)
      })
      await ask('bge-m3', 'curl/8')
      const isTripped = async () => {
        await ask('llama-70b', 'aider/0.86')
        return stateOf('llama-70b')
      }
      await expect.poll(isTripped, { timeout: 60_000 }).toBe('down.tripped')
      // The line of the pace has its two minutes.
      for (let looks = 0; looks < 45; looks += 1)
        await page.waitForResponse((response) => response.url().endsWith('/api/services'))
      // Between two answers it would be idle for a moment, and make room.
      const held = await supervisor.acquire('qwen3-8b/m')
      const cold = [ask('coder-14b', 'aider/0.86'), ask('coder-14b', 'Continue/1.2')]
      await expect.poll(() => stateOf('coder-14b'), { timeout: 60_000 }).toBe('starting.warming')
      cold.push(ask('gemma-3-12b', 'OpenWebUI/0.6'))
      await page.locator('tr.one[data-look=waiting]').waitFor()
      await page.locator('.budget .note').waitFor()
      await page.screenshot({ path: process.env.WRITE_SCREENSHOTS ?? '' })
      isOver = true
      held.release()
      await supervisor.close({ force: true })
      await Promise.allSettled([...talks, ...cold])
    })
  },
)
