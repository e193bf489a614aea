import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { findFreePort } from '../../src/testing/real-host.ts'
import { openHouse } from '../gateway/house.ts'

const program = fileURLToPath(new URL('../fixtures/infills.mjs', import.meta.url))

/** A house with a server of llama.cpp's `/infill` behind it, which is down and loads for a while. */
async function openEditorHouse() {
  const port = await findFreePort()
  const local = {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    models: [{ id: 'fim' }],
    localService: {
      command: process.execPath,
      args: [program, String(port), '400'],
      healthUrl: `http://127.0.0.1:${port}/health`,
    },
  }
  return openHouse({
    serverUrl: 'http://127.0.0.1:1',
    rest: { models: { providers: { local } }, agents: { defaults: { model: 'local/fim' } } },
  })
}

/** What llama.vim and llama.vscode send ahead, so that the server has read the text around the cursor. */
const warming = {
  id_slot: 0,
  input_prefix: '',
  input_suffix: '',
  input_extra: [{ text: 'export const a = 1\n', filename: 'a.ts' }],
  prompt: '',
  n_predict: 0,
  temperature: 0.0,
  samplers: ['temperature'],
  stream: false,
  cache_prompt: true,
  t_max_prompt_ms: 1,
  t_max_predict_ms: 1,
  response_fields: [''],
}

/** What they send for a completion. */
const completion = {
  id_slot: 0,
  input_prefix: 'import { a } from "./a.ts"\n',
  input_suffix: '\nconsole.log(c)\n',
  input_extra: warming.input_extra,
  prompt: 'const c = a +',
  n_predict: 128,
  n_indent: 0,
  top_k: 40,
  top_p: 0.9,
  stop: [],
  samplers: ['top_k', 'top_p', 'infill'],
  stream: false,
  cache_prompt: true,
  t_max_prompt_ms: 500,
  t_max_predict_ms: 1000,
  response_fields: ['content', 'timings/prompt_n', 'timings/predicted_n', 'truncated', 'tokens_cached'],
}

describe('an editor that speaks llama.cpp', () => {
  test.each(['/infill', '/v1/infill'])(
    'is served by a cold start, its fields untouched, at %s',
    async (path) => {
      await using house = await openEditorHouse()
      expect(house.service().state).toBe('down.cold')
      // Each key that is typed sends one: they share the start.
      const answers = await Promise.all(
        [warming, completion, completion].map(async (body) => (await house.post(path, body)).json()),
      )
      expect(answers).toEqual(
        [warming, completion, completion].map((body) => ({ content: ' b', got: { ...body, model: 'fim' } })),
      )
      expect(house.events.filter(({ type }) => type === 'process.spawned')).toHaveLength(1)
      const started = house.events.flatMap((event) => (event.type === 'request.started' ? [event] : []))
      expect(started).toMatchObject(
        Array.from({ length: 3 }, () => ({ route: path.replace('/v1', ''), ref: 'local/fim' })),
      )
    },
  )

  test('that moves on while the server loads leaves the queue, and the start serves the next key', async () => {
    await using house = await openEditorHouse()
    const leaving = new AbortController()
    const left = house.post('/infill', completion, { signal: leaving.signal }).catch(() => undefined)
    await expect.poll(() => house.service().queue.length).toBe(1)
    leaving.abort()
    await left
    const answer = await house.post('/infill', completion, { headers: { authorization: 'Bearer any' } })
    expect([answer.status, (await answer.json()).content]).toEqual([200, ' b'])
    expect(house.events.filter(({ type }) => type === 'process.spawned')).toHaveLength(1)
    await expect.poll(() => house.service().leases).toBe(0)
  })
})
