import { expect } from 'vitest'
import { openStage, type Stage, type StageOptions } from './browser.ts'

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
] as const

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
