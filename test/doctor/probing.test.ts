import { describe, expect, test } from 'vitest'
import type { CompatFlags } from '../../src/compat/flags.ts'
import { compatSchema } from '../../src/config/compat-schema.ts'
import { type Answer, parseAnswer, toSilence } from '../../src/doctor/probe-answer.ts'
import { probes, thinkingFlags, unprobed } from '../../src/doctor/probes.ts'
import { probeModel } from '../../src/doctor/probing.ts'
import { createModelServer } from '../../src/testing/model-server/model-server.ts'
import { type Personality, personalities, toBody } from './personalities.ts'

describe.each(personalities)('$name', (personality) => {
  const { compat, dropParams = [], uncured = [] } = personality

  test('the probes find the smallest settings, and tell what no setting cures', async () => {
    await using server = await play(personality)
    const { settings, results, ended } = await probe(server)
    expect({ ...settings, ended }).toEqual({ compat, dropParams, ended: undefined })
    const failed = results.filter(({ outcome }) => outcome === 'refused' || outcome === 'missing')
    expect(failed.map(({ probe }) => probe)).toEqual(uncured)
    for (const { detail } of failed) expect(detail).toEqual(expect.any(String))
  })
})

test('every flag is found by a probe, or there is a reason why not', () => {
  const flags = new Set<string>([
    ...probes.flatMap(({ remedies }) => remedies.flatMap(({ compat = {} }) => Object.keys(compat))),
    ...thinkingFlags,
  ])
  expect(Object.keys(unprobed).filter((flag) => flags.has(flag))).toEqual([])
  expect([...flags, ...Object.keys(unprobed)].sort()).toEqual(Object.keys(compatSchema.shape).sort())
})

test('flags that are not probed stay as they are', async () => {
  await using server = await play({ name: 'plain', flags: {}, compat: {} })
  const { settings } = await probe(server, { supportsStore: true })
  expect(settings.compat).toEqual({ supportsStore: true })
})

test('the probes end when the server has ended, and tell which one it was', async () => {
  await using server = await play({ name: 'plain', flags: {}, compat: {} })
  let isGone = false
  const { results, ended } = await probeModel({
    ...options(server),
    ask: async (body) => {
      const answer = await server.ask(body)
      isGone = body.includes('get_weather')
      return answer
    },
    ended: () => (isGone ? 'exited with SIGSEGV' : undefined),
  })
  expect(ended).toBe('exited with SIGSEGV')
  expect(results.at(-1)).toMatchObject({ probe: 'tools', outcome: 'refused', detail: 'exited with SIGSEGV' })
})

test('a server that does not answer a plain question gets no other', async () => {
  await using server = await play({
    name: 'broken',
    flags: {},
    refuse: () => ({ status: 404, message: 'no such model' }),
    compat: {},
  })
  const { results, ended } = await probe(server)
  expect(ended).toBe('the server does not answer a plain question')
  expect(results).toMatchObject([
    { probe: 'plain', outcome: 'refused', detail: 'no such model', isWarning: true },
  ])
})

test('a prompt that is too long for the server tells nothing about the form of a request', async () => {
  await using server = await play({
    name: 'small',
    flags: {},
    refuse: ({ messages }) =>
      messages.length > 2 ? { status: 400, message: 'exceeds the available context size' } : undefined,
    compat: {},
  })
  const { settings, results } = await probe(server)
  expect(settings).toEqual({ compat: {}, dropParams: [] })
  expect(results.find(({ probe }) => probe === 'tool-result')).toMatchObject({
    outcome: 'unclear',
    isWarning: false,
  })
})

test('a server that falls silent is not asked for ever', async () => {
  await using server = await play({ name: 'plain', flags: {}, compat: {} })
  let asked = 0
  const { results, ended } = await probeModel({
    ...options(server),
    ask: async (body) => {
      asked += 1
      return asked > 3 ? toSilence('no answer') : server.ask(body)
    },
  })
  expect(ended).toBe('the server does not answer any more (no answer)')
  expect(results.slice(-2)).toMatchObject([{ outcome: 'unclear' }, { outcome: 'unclear' }])
})

test('tools that do not reach the model are told, and no flag is set', async () => {
  await using server = await play({
    name: 'a template without tools',
    flags: { ignoreFields: ['tools', 'tool_choice'] },
    compat: {},
  })
  const { settings, results } = await probe(server)
  expect(settings.compat).toEqual({})
  expect(results.find(({ probe }) => probe === 'tools')).toMatchObject({
    outcome: 'missing',
    isWarning: true,
  })
})

/** A server under way, and what is asked of it. */
interface Played extends AsyncDisposable {
  readonly personality: Personality
  ask(body: Buffer): Promise<Answer>
}

async function play(personality: Personality): Promise<Played> {
  const server = createModelServer(personality.flags)
  const { url } = await server.listen()
  return {
    personality,
    ask: async (body) => {
      const refusal = personality.refuse?.(toBody(JSON.parse(body.toString())))
      if (refusal !== undefined)
        return parseAnswer(refusal.status, JSON.stringify({ error: { message: refusal.message } }))
      const response = await fetch(`${url}/v1/chat/completions`, {
        method: 'POST',
        body: new Uint8Array(body),
      })
      return parseAnswer(response.status, await response.text())
    },
    [Symbol.asyncDispose]: () => server.close(),
  }
}

function options({ personality, ask }: Played) {
  return {
    model: 'demo',
    compat: {},
    isReasoning: personality.isReasoning === true,
    ask,
    ended: () => undefined,
    explain: ({ failure = '' }: Answer) => failure,
    isUnrelated: ({ status, failure = '' }: Answer) => status === 0 || failure.includes('context size'),
  }
}

function probe(server: Played, compat: CompatFlags = {}) {
  return probeModel({ ...options(server), compat })
}
