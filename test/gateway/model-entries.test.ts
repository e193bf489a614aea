import { describe, expect, test } from 'vitest'
import { openHouseWithServer } from './house.ts'

const models = [
  { id: 'demo', alias: ['gpt-4o', 'Fast'] },
  {
    id: 'demo-cold',
    alias: 'cold',
    upstreamId: 'demo',
    unlisted: true,
    params: { temperature: 0.1, top_k: 5 },
    dropParams: ['temperature', 'logit_bias', 'stream_options'],
  },
]

describe('several entries of one loaded model', () => {
  test('send the name that the server knows, each with its own params', async () => {
    await using house = await openHouseWithServer({ provider: { models } })
    const ask = async (model: string) => {
      const messages = [{ role: 'user', content: 'What is 6 * 7?' }]
      const fields = { temperature: 0.9, logit_bias: {}, stream: true }
      const response = await house.post('/v1/chat/completions', { model, messages, ...fields })
      expect(await response.text()).toContain('42')
      return response.headers.get('x-leasehold-dropped')
    }
    expect(await ask('fast')).toBeNull()
    expect(await ask('COLD')).toBe('logit_bias')
    const sent = house.server.requests
      .filter(({ path }) => path.endsWith('/chat/completions'))
      .map(({ body }) => JSON.parse(String(body)))
    expect(sent).toMatchObject([
      { model: 'demo', temperature: 0.9, logit_bias: {}, stream_options: { include_usage: true } },
      { model: 'demo', temperature: 0.1, top_k: 5 },
    ])
    expect(Object.keys(sent[1])).not.toContain('logit_bias')
    expect(Object.keys(sent[1])).not.toContain('stream_options')
    // What the configuration drops is no news to the one who wrote it.
    expect(house.events.filter(({ type }) => type === 'request.advised')).toEqual([])
  })

  test('are listed unless they are not to be; aliases where they are asked for', async () => {
    const list = async (leasehold: object) => {
      await using house = await openHouseWithServer({ provider: { models }, leasehold })
      const response = await fetch(`${house.url}/v1/models`)
      const one = await fetch(`${house.url}/v1/models/cold`)
      expect(await one.json()).toMatchObject({ id: 'local/demo-cold', aliases: ['cold'] })
      return (await response.json()).data
    }
    expect(await list({})).toMatchObject([{ id: 'local/demo', aliases: ['gpt-4o', 'Fast'], default: true }])
    const listed = await list({ listAliases: true })
    expect(listed).toMatchObject([
      { id: 'local/demo', aliases: ['gpt-4o', 'Fast'] },
      { id: 'gpt-4o', aliases: [], alias_of: 'local/demo', owned_by: 'local', default: false },
      { id: 'Fast', aliases: [], alias_of: 'local/demo' },
    ])
    expect(listed).toHaveLength(3)
  })
})
