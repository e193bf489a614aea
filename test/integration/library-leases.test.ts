import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import { AbortedError } from '../../src/index.ts'
import { createModelServer } from '../../src/testing/model-server/model-server.ts'
import { ask, createLibrary, createLibraryOf, isRunning } from './library.ts'

describe('a lease', () => {
  test('is held for the length of an await using block', async () => {
    await using library = await createLibrary()
    {
      await using lease = await library.supervisor.acquire('demo/demo')
      expect(lease).toMatchObject({
        baseUrl: `http://127.0.0.1:${library.port}/v1`,
        model: 'demo',
        headers: {},
        owned: true,
      })
      expect((await fetch(`${lease.baseUrl}/models`)).status).toBe(200)
      expect(library.supervisor.snapshot().services[0]).toMatchObject({ state: 'leased.open', leases: 1 })
    }
    expect(library.supervisor.snapshot().services[0]).toMatchObject({ state: 'ready', leases: 0 })
  })

  test('that is released twice is released once (fault 81)', async () => {
    await using library = await createLibrary()
    const lease = await library.supervisor.acquire('demo/demo')
    await using _ = await library.supervisor.acquire('demo/demo')
    lease.release()
    lease.release()
    expect(library.supervisor.snapshot().services[0]?.leases).toBe(1)
    expect(library.all('lease.released')).toHaveLength(1)
  })

  test('that was cancelled delays no other waiter', async () => {
    await using library = await createLibrary({ flags: ['--load-ms', '200'] })
    const leave = new AbortController()
    const leaving = library.supervisor.acquire('demo/demo', { signal: leave.signal })
    const staying = library.supervisor.acquire('demo/demo')
    leave.abort()
    await expect(leaving).rejects.toBeInstanceOf(AbortedError)
    await using lease = await staying
    expect(lease.owned).toBe(true)
    expect(library.all('lease.granted')).toHaveLength(1)
  })

  test('is not asked for when its signal is aborted already', async () => {
    await using library = await createLibrary()
    const acquiring = library.supervisor.acquire('demo/demo', { signal: AbortSignal.abort() })
    await expect(acquiring).rejects.toMatchObject({ code: 'LEASEHOLD_ABORTED' })
    expect(library.all('lease.requested')).toEqual([])
  })

  test('that was given up does not end the start that it caused (fault 11)', async () => {
    await using library = await createLibrary({ flags: ['--load-ms', '100'] })
    const leave = new AbortController()
    const leaving = library.supervisor.acquire('demo/demo', { signal: leave.signal })
    await Promise.all([
      expect(leaving).rejects.toBeInstanceOf(AbortedError),
      library.until('process.spawned').then(() => leave.abort()),
    ])
    await library.untilState('ready')
    expect(library.all('lease.granted')).toEqual([])
    expect(library.all('process.signalled')).toEqual([])
  })

  test('of one provider keeps up the process that it shares with another', async () => {
    await using library = await createLibrary({ providers: ['chat', 'code'], service: { idleStopMs: 1 } })
    await using chat = await library.supervisor.acquire('chat/demo')
    {
      await using code = await library.supervisor.acquire('code/demo')
      expect(code.generation).toBe(chat.generation)
    }
    expect(library.supervisor.snapshot().services).toMatchObject([
      { service: 'chat+code', state: 'leased.open', leases: 1 },
    ])
    expect(library.all('process.spawned')).toHaveLength(1)
  })
})

describe('a server that already answers', () => {
  test('is used, is never signalled, and survives the supervisor (faults 73, 84)', async () => {
    await using library = await createLibrary()
    await using stranger = createModelServer({ port: library.port })
    const { url } = await stranger.listen()
    {
      await using lease = await library.supervisor.acquire('demo/demo')
      expect(lease.owned).toBe(false)
    }
    const answer = await library.openai.chat.completions.create({
      model: 'demo/demo',
      messages: ask('1 + 1'),
    })
    expect(answer.choices[0]?.message.content).toBe('1 + 1 = 2.')
    await library.supervisor.close()
    expect((await fetch(`${url}/health`)).status).toBe(200)
    expect(library.events.filter(({ type }) => type.startsWith('process.'))).toEqual([])
  })
})

describe('a server that already answers and serves other models', () => {
  test.each([
    ['other', /but it serves other models: other/],
    // Ollama adds a tag to the name.
    ['demo:latest', /^200$/],
  ])('is used; whether a list of %s is what was configured is told (fault 88)', async (model, detail) => {
    await using library = await createLibraryOf(process.execPath, () => [])
    await using stranger = createModelServer({ port: library.port, models: [model] })
    await stranger.listen()
    await using lease = await library.supervisor.acquire('demo/demo')
    expect(lease.owned).toBe(false)
    expect(
      await library.until('service.state', ({ to }) => to === 'ready' || to.startsWith('leased')),
    ).toMatchObject({
      why: { kind: 'adopted', verdict: { kind: 'ready', detail: expect.stringMatching(detail) } },
    })
  })
})

describe('what has ended leaves nothing behind', () => {
  test('a thousand requests leave no lease, no waiter, no timer and no listener (peer L-3)', async () => {
    await using library = await createLibrary({
      provider: { timeoutSeconds: 600 },
      leasehold: { heartbeatMs: 600_000 },
    })
    const { signal } = new AbortController()
    const { pid } = await library.supervisor.start('demo')
    const chat = () =>
      library.supervisor.fetch('http://leasehold/v1/chat/completions', {
        method: 'POST',
        body: JSON.stringify({ model: 'demo/demo', messages: ask('1 + 1') }),
      })
    const hold = async () => {
      await using _ = await library.supervisor.acquire('demo/demo', { signal })
    }
    const round = () =>
      Promise.all([
        ...Array.from({ length: 10 }, async () =>
          expect(await (await chat()).text()).toContain('1 + 1 = 2.'),
        ),
        ...Array.from({ length: 10 }, hold),
      ])
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    await round()
    const before = timers()
    for (let index = 0; index < 50; index += 1) await round()
    await expect.poll(timers).toBeLessThanOrEqual(before)
    expect(library.all('lease.granted').length).toBeGreaterThan(1000)
    expect(library.supervisor.snapshot().services[0]).toMatchObject({
      state: 'ready',
      leases: 0,
      queue: [],
      pid,
    })
    expect(getEventListeners(signal, 'abort')).toEqual([])
    await library.supervisor.close()
    expect(isRunning(pid ?? 0)).toBe(false)
  })
})
