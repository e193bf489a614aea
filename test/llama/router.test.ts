import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createSupervisor } from '../../src/index.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { listen, writeAndLoad } from '../integration/library.ts'
import { ask, countModel, describeWithLlama, llamaServer } from './llama-server.ts'
import { writeModel } from './model.ts'

interface Listed {
  readonly data: readonly { readonly id: string; readonly status: { readonly value: string } }[]
}

/** The router of a real llama-server with the models `one` and `two`, of which none is loaded. */
async function createRouter() {
  const directory = await mkdtemp(join(tmpdir(), 'leasehold-router-'))
  const models = join(directory, 'models')
  await mkdir(models)
  for (const name of ['one', 'two']) await writeModel(join(models, `${name}.gguf`), countModel)
  await writeFile(join(models, 'broken.gguf'), 'no model')
  const port = await findFreePort()
  const origin = `http://127.0.0.1:${port}`
  const router = spawn(
    llamaServer ?? 'llama-server',
    [
      ...['--models-dir', models, '--no-models-autoload', '--threads', '1'],
      ...['--host', '127.0.0.1', '--port', String(port)],
    ],
    {
      cwd: directory,
      env: { ...process.env, XDG_CONFIG_HOME: directory, XDG_CACHE_HOME: directory },
      stdio: 'ignore',
    },
  )
  const exited = once(router, 'exit')
  const isUp = () =>
    fetch(`${origin}/health`).then(
      ({ ok }) => ok,
      () => false,
    )
  while (!(await isUp()))
    if (router.exitCode !== null) throw new Error(`The router exited with code ${router.exitCode}.`)
  return {
    origin,
    loaded: async () => {
      const { data } = (await (await fetch(`${origin}/models`)).json()) as Listed
      return data.filter(({ status }) => status.value !== 'unloaded').map(({ id }) => id)
    },
    [Symbol.asyncDispose]: async () => {
      router.kill()
      await exited
      await rm(directory, { recursive: true })
    },
  }
}

describeWithLlama('a model in the router of a real llama-server', () => {
  test('is loaded for a request, and unloaded for another model that needs its room', async () => {
    await using router = await createRouter()
    const toProvider = (model: string) => ({
      baseUrl: `${router.origin}/v1`,
      localService: { engine: 'llama.cpp', model, daemon: {}, needs: { vramMiB: 20 }, minResidencyMs: 0 },
    })
    const config = await writeAndLoad(
      JSON.stringify({
        models: { mode: 'replace', providers: { one: toProvider('one'), two: toProvider('two') } },
        leasehold: { budgets: { vramMiB: 24 } },
      }),
    )
    const supervisor = createSupervisor({ config })
    try {
      const hearing = listen(supervisor)
      expect(await router.loaded()).toEqual([])
      for (const name of ['one', 'two', 'one']) {
        const answer = await supervisor.fetch('http://leasehold/v1/chat/completions', {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ model: `${name}/${name}`, messages: ask('Count!'), max_tokens: 3 }),
        })
        expect(await answer.json()).toMatchObject({ choices: [{ message: { content: '0 1 2' } }] })
        expect(await router.loaded()).toEqual([name])
      }
      await supervisor.stop('one')
      expect(await router.loaded()).toEqual([])
      expect(hearing.all('stop.incomplete')).toEqual([])
    } finally {
      await supervisor.close({ force: true })
    }
  })

  test('whose load fails after its answer is a failed start at once', async () => {
    await using router = await createRouter()
    const config = await writeAndLoad(
      JSON.stringify({
        models: {
          mode: 'replace',
          providers: {
            broken: {
              baseUrl: `${router.origin}/v1`,
              localService: { engine: 'llama.cpp', model: 'broken', daemon: {} },
            },
          },
        },
      }),
    )
    const supervisor = createSupervisor({ config })
    try {
      await expect(supervisor.acquire('broken/broken')).rejects.toMatchObject({
        code: 'LEASEHOLD_BACKEND_FAILED',
        message: expect.stringContaining('its daemon says that its load has failed'),
      })
    } finally {
      await supervisor.close({ force: true })
    }
  })
})
