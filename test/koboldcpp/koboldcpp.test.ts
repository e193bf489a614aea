// @module-tag proof

import { accessSync, constants } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createSupervisor } from '../../src/index.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { listen, writeAndLoad } from '../integration/library.ts'
import { slowCountModel } from '../llama/llama-server.ts'
import { writeModel } from '../llama/model.ts'

const LONG = 120_000
const { LEASEHOLD_KOBOLDCPP: program } = process.env
// A name that leads nowhere is a mistake, and must not look like a host without koboldcpp.
if (program) accessSync(program, constants.X_OK)

const describeWithKoboldcpp = (title: string, tests: () => void): void => {
  if (program) describe(title, tests)
  else describe.skip(`${title} (LEASEHOLD_KOBOLDCPP names no program)`, tests)
}

interface Answer {
  readonly choices: readonly {
    readonly message: { readonly content: string }
    readonly finish_reason: string
  }[]
}

/** A supervisor with one real koboldcpp that unloads its model when it is idle. */
async function openKoboldcpp(afterMs = 200) {
  const directory = await mkdtemp(join(tmpdir(), 'leasehold-koboldcpp-'))
  const model = join(directory, 'count.gguf')
  await writeModel(model, slowCountModel)
  const port = await findFreePort()
  const localService = {
    engine: 'koboldcpp',
    command: program,
    model,
    args: ['--contextsize', '2048', '--skiplauncher', '--quiet'],
    inheritEnv: ['PATH', 'HOME'],
    needs: { ramMiB: 1000 },
    sleep: { afterMs, needs: { ramMiB: 300 } },
  }
  const baseUrl = `http://127.0.0.1:${port}/v1`
  const config = await writeAndLoad(
    JSON.stringify({
      models: { mode: 'replace', providers: { k: { baseUrl, localService } } },
      leasehold: { heartbeatMs: 60_000, budgets: { ramMiB: 2000 } },
    }),
  )
  const supervisor = createSupervisor({ config, stateDir: join(directory, 'state') })
  const origin = new URL(baseUrl).origin
  const reload = (filename: string) =>
    fetch(`${origin}/api/admin/reload_config`, { method: 'POST', body: JSON.stringify({ filename }) })
  return {
    supervisor,
    hearing: listen(supervisor),
    origin,
    reload,
    find: async () =>
      ((await (await fetch(`${origin}/api/v1/model`)).json()) as { readonly result: string }).result,
    ask: async () => {
      const answer = await supervisor.fetch('http://leasehold/v1/chat/completions', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          model: 'k/k',
          max_tokens: 4,
          messages: [{ role: 'user', content: 'Count!' }],
        }),
      })
      return ((await answer.json()) as Answer).choices[0]
    },
    [Symbol.asyncDispose]: async () => {
      await supervisor.close({ force: true })
      await rm(directory, { recursive: true })
    },
  }
}

describeWithKoboldcpp('a real koboldcpp', () => {
  test('unloads its model when it is idle, loads it for the next request, and is one process', {
    timeout: LONG,
  }, async () => {
    await using kobold = await openKoboldcpp()
    for (const _ of [1, 2]) {
      expect((await kobold.ask())?.message.content).toContain('0 1')
      await expect.poll(() => kobold.supervisor.service('k').state, { timeout: LONG }).toBe('ready.asleep')
      expect(await kobold.find()).toBe('inactive')
    }
    expect(kobold.hearing.all('process.spawned')).toHaveLength(1)
    expect(kobold.hearing.all('process.exited')).toEqual([])
  })

  test('without a model answers 200 with an empty text, and leasehold sends it no request', {
    timeout: LONG,
  }, async () => {
    await using kobold = await openKoboldcpp()
    await kobold.ask()
    await expect.poll(() => kobold.supervisor.service('k').state, { timeout: LONG }).toBe('ready.asleep')
    const direct = await fetch(`${kobold.origin}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ messages: [{ role: 'user', content: 'Count!' }] }),
    })
    expect(direct.status).toBe(200)
    expect(((await direct.json()) as Answer).choices[0]).toMatchObject({
      message: { content: '' },
      finish_reason: 'error',
    })
    expect((await kobold.ask())?.message.content).toContain('0 1')
  })

  test('that unloads its model is gone from its port for a moment, and a stop leaves none of its processes', {
    timeout: LONG,
  }, async () => {
    await using kobold = await openKoboldcpp(0)
    await kobold.supervisor.start('k')
    await kobold.reload('unload_model')
    const isRefused = () =>
      kobold.find().then(
        () => false,
        () => true,
      )
    await expect.poll(isRefused, { timeout: LONG, interval: 10 }).toBe(true)
    await expect.poll(isRefused, { timeout: LONG }).toBe(false)
    await kobold.supervisor.stop('k')
    expect(await isRefused()).toBe(true)
    expect(kobold.hearing.all('stop.incomplete')).toEqual([])
  })
})
