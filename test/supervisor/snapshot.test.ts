import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createSupervisor } from '../../src/supervisor/supervisor.ts'

const open = async (providers: Record<string, unknown>, models: Record<string, unknown> = {}) => {
  const stateDir = await mkdtemp(join(tmpdir(), 'leasehold-snapshot-'))
  const toConfig = (more: Record<string, unknown>) =>
    ({ models: { providers: { ...providers, ...more } }, agents: { defaults: { models } } }) as never
  onTestFinished(() => rm(stateDir, { recursive: true, force: true }))
  const supervisor = createSupervisor({ config: toConfig({}), stateDir })
  onTestFinished(() => supervisor.close({ force: true }))
  return { supervisor, toConfig }
}

test('a service names its models with their aliases, and its address', async () => {
  const { supervisor } = await open(
    {
      far: {
        baseUrl: 'http://127.0.0.1:9/v1/',
        models: [{ id: 'm' }, { id: 'n', unlisted: true }],
      },
      any: { baseUrl: 'http://127.0.0.1:10/v1', models: [] },
    },
    { 'far/m': { alias: 'quick' } },
  )
  const { services } = supervisor.snapshot()
  expect(services.map(({ service, baseUrl, models }) => ({ service, baseUrl, models }))).toEqual([
    {
      service: 'far',
      baseUrl: 'http://127.0.0.1:9/v1',
      models: [
        { id: 'far/m', aliases: ['quick'] },
        { id: 'far/n', aliases: [] },
      ],
    },
    { service: 'any', baseUrl: 'http://127.0.0.1:10/v1', models: [] },
  ])
})

test('the configuration tells since when it is in force; a refused one does not change that', async () => {
  const { supervisor, toConfig } = await open({ a: { baseUrl: 'http://127.0.0.1:9/v1', models: [] } })
  const { loadedAt } = supervisor.snapshot().config
  expect(Math.abs(Date.parse(loadedAt) - Date.now())).toBeLessThan(60_000)
  await expect(supervisor.replaceConfig({ models: 7 } as never)).rejects.toThrow()
  const refused = supervisor.snapshot().config
  expect([refused.loadedAt, refused.refusal === null]).toEqual([loadedAt, false])
  await expect.poll(() => new Date().toISOString() > loadedAt).toBe(true)
  await supervisor.replaceConfig(toConfig({ b: { baseUrl: 'http://127.0.0.1:8/v1', models: [] } }))
  expect(supervisor.snapshot().config.loadedAt > loadedAt).toBe(true)
})

test('a provider that cannot be used names the models that it would serve', async () => {
  const { supervisor } = await open({
    gone: { baseUrl: 'http://127.0.0.1:9/v1', apiKey: `\${NOT_SET_ANYWHERE}`, models: [{ id: 'm' }] },
  })
  expect(supervisor.snapshot().config.unavailable).toEqual([
    {
      provider: 'gone',
      reason: expect.stringContaining('NOT_SET_ANYWHERE'),
      models: [{ id: 'gone/m', aliases: [] }],
    },
  ])
})

test('a start that fails is remembered as one, and its cause is a line of its output', async () => {
  const program = "console.error('CUDA error: out of memory'); process.exit(1)"
  const { supervisor } = await open({
    bad: {
      baseUrl: 'http://127.0.0.1:9/v1',
      models: [{ id: 'm' }],
      localService: { command: process.execPath, args: ['-e', program] },
    },
  })
  await expect(supervisor.start('bad')).rejects.toThrow('out of memory')
  const { starts, startTimes, explanation } = supervisor.service('bad')
  expect(starts).toEqual([{ ms: expect.any(Number), failed: true }])
  expect(startTimes).toBeNull()
  expect(explanation).toMatchObject({ cause: 'CUDA error: out of memory', short: 'Out of memory' })
})
