// @module-tag proof

import { expect, test } from 'vitest'
import { catchServiceError } from '../integration/library.ts'
import { describeWithOllama, openOllama } from './ollama.ts'

const LONG = 120_000

describeWithOllama('models of a real Ollama', () => {
  test.for(['a', 'A', 'a:latest', 'library/a', 'team/c:q4', 'HF.co/x/y:Q4', 'slow'])(
    '%s is loaded for a request, stays loaded, and is unloaded by a stop',
    { timeout: LONG },
    async (model) => {
      await using ollama = await openOllama({
        services: { m: { model } },
        // Its own time is shorter than that of the service.
        env: { OLLAMA_KEEP_ALIVE: '1s' },
      })
      expect(await ollama.ask('m')).toMatchObject({ status: 200 })
      expect(await ollama.loaded()).toHaveLength(1)
      const { expires_at: end = '' } = (await ollama.list())[0] ?? {}
      expect(Date.parse(end)).toBeGreaterThan(Date.now() + 86_400_000)
      expect(await ollama.supervisor.stop('m')).toMatchObject({ receipt: { outside: { status: 'gone' } } })
      expect(await ollama.loaded()).toEqual([])
    },
  )

  test('a model that only makes embeddings is loaded by its service', { timeout: LONG }, async () => {
    await using ollama = await openOllama({ services: { embedder: {} } })
    await ollama.supervisor.start('embedder')
    expect(await ollama.loaded()).toEqual(['embedder:latest'])
    await ollama.supervisor.stop('embedder')
    expect(await ollama.loaded()).toEqual([])
  })

  test('a second name of a model that is loaded is a failed start at once', { timeout: LONG }, async () => {
    await using ollama = await openOllama({ services: { a: {}, twin: {} } })
    await ollama.run('cp', 'a', 'twin')
    await ollama.ask('a')
    const { message } = await catchServiceError(ollama, 'twin/twin')
    expect(message).toContain('its daemon does not list "twin:latest" as loaded')
  })

  test('of two models that do not fit together one is unloaded first', { timeout: LONG }, async () => {
    const service = { needs: { vramMiB: 20 }, minResidencyMs: 0 }
    await using ollama = await openOllama({
      services: { a: service, b: service },
      leasehold: { budgets: { vramMiB: 24 } },
    })
    for (const id of ['a', 'b', 'a']) {
      expect(await ollama.ask(id)).toMatchObject({ status: 200 })
      expect(await ollama.loaded()).toEqual([`${id}:latest`])
    }
    expect(ollama.hearing.all('stop.incomplete')).toEqual([])
  })

  test('a model that Ollama unloads for another client, or by hand, is loaded again', {
    timeout: LONG,
  }, async () => {
    await using ollama = await openOllama({ env: { OLLAMA_MAX_LOADED_MODELS: '1' } })
    for (const unload of [
      () => ollama.post('/api/generate', { model: 'b' }),
      () => ollama.run('stop', 'a'),
    ]) {
      expect(await ollama.ask('a')).toMatchObject({ status: 200 })
      await ollama.hearing.until('process.detached')
      await unload()
      const look = () => ollama.supervisor.service('a')
      await expect.poll(look, { timeout: 30_000 }).toMatchObject({ state: 'down.cold', failures: 0 })
    }
    expect(await ollama.ask('a')).toMatchObject({ status: 200 })
    expect(await ollama.loaded()).toEqual(['a:latest'])
  })

  test('an answer that streams is finished when the model is unloaded meanwhile', {
    timeout: LONG,
  }, async () => {
    await using ollama = await openOllama({ services: { slow: {} } })
    await ollama.supervisor.start('slow')
    const answer = ollama.ask('slow', { stream: true, max_tokens: 300 })
    await ollama.hearing.until('lease.granted')
    await ollama.run('stop', 'slow')
    const { status, text } = await answer
    expect(status).toBe(200)
    expect(text).toContain('[DONE]')
  })

  test('a stream ends when Ollama restarts, and the next request loads the model again', {
    timeout: LONG,
  }, async () => {
    await using ollama = await openOllama({ services: { slow: {} } })
    await ollama.supervisor.start('slow')
    const answer = ollama.ask('slow', { stream: true, max_tokens: 400 }).catch(() => undefined)
    await ollama.hearing.until('lease.granted')
    await ollama.restart()
    await answer
    await expect.poll(() => ollama.ask('slow').then(({ status }) => status), { timeout: LONG }).toBe(200)
    expect(await ollama.loaded()).toEqual(['slow:latest'])
  })
})
