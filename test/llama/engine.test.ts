import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import OpenAI from 'openai'
import { expect, onTestFinished, test } from 'vitest'
import { loadWithValues } from '../../src/config/load.ts'
import { toPrintable } from '../../src/config/printable.ts'
import { createSupervisor, loadConfig } from '../../src/index.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { listen } from '../integration/library.ts'
import { ask, countModel, describeWithLlama, llamaServer } from './llama-server.ts'
import { writeModel } from './model.ts'

describeWithLlama('a real llama-server that is only named as an engine', () => {
  test('is found on PATH, loads the model, and serves it under several names with params of their own', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'leasehold-engine-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    await writeModel(join(folder, 'count.gguf'), countModel)
    const file = join(folder, 'leasehold.json5')
    const env = { ...process.env, PATH: dirname(llamaServer ?? ''), XDG_CONFIG_HOME: folder }
    await writeFile(
      file,
      `{
        leasehold: { firstPort: ${await findFreePort()}, defaults: { engine: 'llama.cpp', idleStopMs: '10m', args: ['-t', '1'] } },
        models: { providers: { count: {
          localService: { model: 'count.gguf', context: 2048 },
          models: [{ id: 'count' }, { id: 'short', alias: 'gpt-4o', params: { max_tokens: 3 }, dropParams: ['max_tokens'] }],
        } } },
      }`,
    )
    const loaded = await loadWithValues(file, { env })
    expect(loaded.config.problems).toEqual([])
    expect(loaded.config.providers[0]?.localService?.command).toBe(llamaServer)

    // What is printed is a file that runs the same server.
    const printed = join(folder, 'printed.json')
    await writeFile(printed, JSON.stringify(toPrintable(loaded)))
    const config = await loadConfig(printed, { env })
    expect(config.providers[0]?.localService?.key).toBe(loaded.config.providers[0]?.localService?.key)

    const supervisor = createSupervisor({ config })
    onTestFinished(() => supervisor.close({ force: true }))
    const { all } = listen(supervisor)
    const openai = new OpenAI({ baseURL: 'http://leasehold/v1', apiKey: 'unused', fetch: supervisor.fetch })
    const chat = async (model: string) => {
      const { choices, model: said } = await openai.chat.completions.create({
        model,
        messages: ask('Count!'),
        max_tokens: 5,
      })
      return [choices[0]?.message.content, said]
    }
    expect(await chat('count')).toEqual(['0 1 2 3 4', 'count'])
    expect(await chat('GPT-4o')).toEqual(['0 1 2', 'count'])
    expect(all('process.spawned')).toHaveLength(1)
    await expect.poll(() => supervisor.models()[0]).toMatchObject({ id: 'count/count', context_length: 2048 })
  })
})
