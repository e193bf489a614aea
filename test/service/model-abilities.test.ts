import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { listCapabilities, toStatedAbilities } from '../../src/service/model-abilities.ts'
import { writeGguf } from '../config/gguf-file.ts'
import { openHouse } from '../gateway/house.ts'

describe('what a model can do', () => {
  test.each([
    [
      'llama-server',
      { architecture: { input_modalities: ['text', 'image'] } },
      { chat_template_caps: { supports_tools: true } },
      { input: ['text', 'image'], tools: true },
    ],
    [
      'an older llama-server',
      {},
      {
        modalities: { vision: true, audio: true, video: false },
        chat_template_caps: { supports_tools: false },
      },
      { input: ['text', 'image', 'audio'], tools: false },
    ],
    [
      'a server that lists capabilities',
      { capabilities: ['completion', 'tools', 'vision', 'thinking'] },
      undefined,
      { input: ['text', 'image'], tools: true, thinking: true },
    ],
    [
      'a server of embeddings',
      { capabilities: ['embedding'] },
      undefined,
      { tools: false, kind: 'embedding' },
    ],
    ['a server that says nothing', { id: 'x' }, undefined, {}],
    ['a server that says nonsense', { architecture: 7, capabilities: { a: 1 } }, 'no', {}],
    ['a server with unknown kinds', { architecture: { input_modalities: ['smell'] } }, undefined, {}],
  ])('is read from what %s states', (_, entry, props, abilities) => {
    expect(toStatedAbilities(entry, props)).toEqual(abilities)
  })

  test('has the words of Ollama, and none where nothing is known', () => {
    expect(listCapabilities({})).toBeUndefined()
    expect(listCapabilities({ input: ['text'] })).toEqual(['completion'])
    expect(listCapabilities({ input: ['text', 'image', 'audio'], tools: true, thinking: true })).toEqual([
      'completion',
      'tools',
      'vision',
      'audio',
      'thinking',
    ])
    expect(listCapabilities({ kind: 'rerank', tools: true })).toEqual(['rerank'])
  })
})

describe('GET /v1/models', () => {
  test('says what the GGUF files of services that are down say, and follows a file that changes', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'leasehold-abilities-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    const chat = await writeGguf(join(folder, 'chat.gguf'), {
      'general.architecture': 'x',
      'tokenizer.chat_template': '{% if tools %}{{ tools }}{% endif %}<think>',
    })
    await writeGguf(join(folder, 'mmproj.gguf'), {
      'general.architecture': 'clip',
      'clip.has_vision_encoder': true,
    })
    await writeGguf(join(folder, 'embed.gguf'), { 'general.architecture': 'nomic-bert' })
    const toProvider = (port: number, args: readonly string[], models: readonly object[]) => ({
      baseUrl: `http://127.0.0.1:${port}/v1`,
      models,
      localService: { command: process.execPath, args, cwd: folder },
    })
    const providers = {
      local: toProvider(9, ['-m', 'chat.gguf', '--mmproj', 'mmproj.gguf'], [{ id: 'eyes' }]),
      plain: toProvider(
        10,
        [`--model=${chat}`, '--no-jinja'],
        [{ id: 'plain' }, { id: 'set', compat: { supportsTools: true }, input: ['text', 'image'] }],
      ),
      vectors: toProvider(11, ['-m', 'embed.gguf'], [{ id: 'e' }]),
      gone: toProvider(12, ['-m', 'gone.gguf'], [{ id: 'g' }]),
    }
    await using house = await openHouse({ serverUrl: 'http://127.0.0.1:1', rest: { models: { providers } } })
    const list = async () => {
      const { data } = await (await fetch(`${house.url}/v1/models`)).json()
      const said = data.map(({ id, architecture, capabilities }: Record<string, unknown>) => [
        id,
        (architecture as { input_modalities?: unknown } | undefined)?.input_modalities,
        capabilities,
      ])
      return Object.fromEntries(said.map(([id, ...rest]: unknown[]) => [id, rest]))
    }
    expect(await list()).toEqual({
      'local/eyes': [
        ['text', 'image'],
        ['completion', 'tools', 'vision', 'thinking'],
      ],
      'plain/plain': [['text'], ['completion', 'thinking']],
      'plain/set': [
        ['text', 'image'],
        ['completion', 'tools', 'vision', 'thinking'],
      ],
      'vectors/e': [['text'], ['embedding']],
      'gone/g': [undefined, undefined],
    })
    const fetched = await house.supervisor.fetch('http://leasehold/v1/models/local/eyes')
    expect((await fetched.json()).capabilities).toContain('vision')
    const shown = await house.post('/api/show', { model: 'vectors/e' })
    expect((await shown.json()).capabilities).toEqual(['embedding'])
    await writeGguf(join(folder, 'gone.gguf'), {
      'general.architecture': 'x',
      'tokenizer.chat_template': 'x',
    })
    expect((await list())['gone/g']).toEqual([['text'], ['completion']])
    expect(house.events.some(({ type }) => type === 'lease.requested')).toBe(false)
  })
})
