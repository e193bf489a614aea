// @module-tag waits

import { describe, expect, test } from 'vitest'
import { findFreePort } from '../../src/testing/real-host.ts'
import { ask, createLibrary, isRunning, type Library, longQuestion, toText, writeAndLoad } from './library.ts'

describe('an idle stop', () => {
  test('comes idleStopMs after the last release', async () => {
    await using library = await createLibrary({ service: { idleStopMs: 300 } })
    const first = await library.supervisor.acquire('demo/demo')
    const second = await library.supervisor.acquire('demo/demo')
    first.release()
    second.release()
    await library.untilState('idle-stopping')
    const released = library.all('lease.released').at(-1)
    const stopping = library.all('service.state').find(({ to }) => to.startsWith('idle-stopping'))
    expect(stopping).toMatchObject({ from: 'ready', reason: 'idle' })
    // A timer may fire a millisecond early by the monotonic clock.
    expect((stopping?.atMs ?? 0) - (released?.atMs ?? 0)).toBeGreaterThanOrEqual(299)
    expect(await library.until('process.settled')).toMatchObject({ receipt: { exitCode: 0, survivors: [] } })
  })

  test('that is under way is followed by a new generation for the request that came meanwhile (peer S-1)', async () => {
    await using library = await createLibrary({
      flags: ['--exit-on-sigterm-ms', '300'],
      service: { idleStopMs: 1 },
    })
    const first = await library.supervisor.acquire('demo/demo')
    first.release()
    await library.until('process.signalled')
    await using second = await library.supervisor.acquire('demo/demo')
    expect(second.generation).not.toBe(first.generation)
    const order = library.events.map(({ type }) => type).filter((type) => type.startsWith('process.'))
    expect(order.slice(0, 5)).toEqual([
      'process.spawned',
      'process.signalled',
      'process.exited',
      'process.settled',
      'process.spawned',
    ])
  })
})

describe('a stop that is asked for', () => {
  test('waits for a stream to end', async () => {
    await using library = await createLibrary({ flags: ['--token-delay-ms', '2'] })
    const reader = await startStream(library)
    const [text, stopped] = await Promise.all([reader.rest(), library.supervisor.stop('demo')])
    expect(text).toMatch(/ 199 200$/)
    expect(stopped).toMatchObject({ state: 'down.cold', leases: 0, receipt: { survivors: [] } })
    expect(library.all('leases.revoked')).toEqual([])
  })

  test('cuts a stream when it is forced', async () => {
    await using library = await createLibrary({ flags: ['--token-delay-ms', '100'] })
    const reader = await startStream(library)
    const stopping = library.supervisor.stop('demo', { force: true })
    await expect(reader.rest()).rejects.toThrow()
    expect(await stopping).toMatchObject({ state: 'down.cold', receipt: { survivors: [] } })
    expect(library.all('request.ended')).toMatchObject([{ outcome: 'failed', code: 'LEASEHOLD_STOPPED' }])
  })

  test('settles with the receipt of the run that it stopped although a request starts the next one', async () => {
    await using library = await createLibrary({ flags: ['--exit-on-sigterm-ms', '300'] })
    const first = await library.supervisor.acquire('demo/demo')
    first.release()
    const stopping = library.supervisor.stop('demo')
    await library.until('process.signalled')
    const acquiring = library.supervisor.acquire('demo/demo')
    expect((await stopping).receipt).toMatchObject({ generation: first.generation, survivors: [] })
    await using second = await acquiring
    expect(second.generation).not.toBe(first.generation)
  })

  test('of a service that does not run is over at once', async () => {
    await using library = await createLibrary()
    expect(await library.supervisor.stop('demo')).toMatchObject({ state: 'down.cold', receipt: null })
  })
})

describe('closing', () => {
  test('during a cold start refuses the waiters and ends the process', async () => {
    await using library = await createLibrary({ flags: ['--load-ms', '600000'] })
    const acquiring = library.supervisor.acquire('demo/demo')
    const refused = expect(acquiring).rejects.toMatchObject({ code: 'LEASEHOLD_SHUTTING_DOWN' })
    const { pid } = await library.until('process.spawned')
    await library.supervisor.close()
    await refused
    expect(isRunning(pid)).toBe(false)
  })

  test('during a stream lets it end', async () => {
    await using library = await createLibrary({ flags: ['--token-delay-ms', '2'] })
    const reader = await startStream(library)
    const { pid } = await library.until('process.spawned')
    const [text] = await Promise.all([reader.rest(), library.supervisor.close()])
    expect(text).toMatch(/ 199 200$/)
    expect(isRunning(pid)).toBe(false)
    expect(library.events.at(-1)?.type).toBe('supervisor.closed')
  })

  test('twice, at the same time and afterwards, is closing once', async () => {
    const library = await createLibrary()
    await library.supervisor.start('demo')
    await Promise.all([library.supervisor.close(), library.supervisor.close()])
    await library.supervisor.close()
    await library.supervisor[Symbol.asyncDispose]()
    expect(library.all('supervisor.closed')).toHaveLength(1)
    expect(library.all('process.signalled')).toHaveLength(1)
  })

  test('ends what comes after it with a refusal', async () => {
    const library = await createLibrary()
    await library.supervisor.close()
    await expect(library.supervisor.acquire('demo/demo')).rejects.toMatchObject({
      code: 'LEASEHOLD_SHUTTING_DOWN',
    })
  })
})

describe('replacing the configuration', () => {
  test('leaves a service that is the same in both alone, and adds the new one', async () => {
    await using library = await createLibrary()
    const { pid, generation } = await library.supervisor.start('demo')
    const both = JSON.parse(toText(library.port))
    const other = JSON.parse(toText(await findFreePort(), { providers: ['other'] }))
    both.models.providers.other = other.models.providers.other
    await library.supervisor.replaceConfig(await writeAndLoad(JSON.stringify(both)))
    await using lease = await library.supervisor.acquire('demo/demo')
    expect(lease.generation).toBe(generation)
    const { services } = library.supervisor.snapshot()
    expect(services).toMatchObject([
      { service: 'demo', pid, state: 'leased.open' },
      { service: 'other', pid: null, state: 'down.cold' },
    ])
    expect(library.all('process.signalled')).toEqual([])
  })

  test('lets a service that is gone from it finish, then ends it', async () => {
    await using library = await createLibrary({ flags: ['--token-delay-ms', '2'] })
    const reader = await startStream(library)
    await library.supervisor.replaceConfig(await writeAndLoad('{}'))
    expect(await reader.rest()).toMatch(/ 199 200$/)
    await library.until('service.retired')
    expect(library.all('leases.revoked')).toEqual([])
    expect(library.all('process.settled')).toMatchObject([{ receipt: { survivors: [] } }])
  })
})

describe('a service that is replaced by another at the same address', () => {
  test('finishes its stream; who comes meanwhile waits for the successor, and never gets the old server', async () => {
    await using library = await createLibrary({ flags: ['--token-delay-ms', '2'] })
    const reader = await startStream(library)
    const [old] = library.all('process.spawned')
    await library.supervisor.replaceConfig(
      await writeAndLoad(toText(library.port, { flags: ['--token-delay-ms', '3'] })),
    )
    expect(library.supervisor.snapshot().services.map(({ state }) => state)).toEqual([
      'leased.draining',
      'down.cold',
    ])
    const [text, lease] = await Promise.all([reader.rest(), library.supervisor.acquire('demo/demo')])
    expect(text).toMatch(/ 199 200$/)
    expect(lease.owned).toBe(true)
    lease.release()
    expect(library.all('process.spawned').map(({ pid }) => pid)).toEqual([old?.pid, expect.any(Number)])
    const order = library.events.map(({ type }) => type).filter((type) => /^process\.(sp|se)/.test(type))
    expect(order).toEqual(['process.spawned', 'process.settled', 'process.spawned'])
  })

  test('is forgotten when it is gone, and a closed supervisor takes no configuration', async () => {
    await using library = await createLibrary()
    await library.supervisor.start('demo')
    expect(library.supervisor.service('demo')).toMatchObject({ service: 'demo', state: 'ready' })
    await library.supervisor.replaceConfig(await writeAndLoad('{}'))
    await library.until('service.retired')
    expect(() => library.supervisor.service('demo')).toThrow(/There is no service/)
    expect(() => library.supervisor.output('demo')).toThrow(/There is no service/)
    await library.supervisor.close()
    await expect(library.supervisor.replaceConfig(await writeAndLoad('{}'))).rejects.toMatchObject({
      code: 'LEASEHOLD_SHUTTING_DOWN',
    })
  })
})

/** Begins a long answer and reads its first piece. */
async function startStream({ openai }: Library) {
  const stream = await openai.chat.completions.create({
    model: 'demo/demo',
    messages: ask(longQuestion),
    stream: true,
  })
  const chunks = stream[Symbol.asyncIterator]()
  await chunks.next()
  const rest = async () => {
    let text = ''
    for (let next = await chunks.next(); !next.done; next = await chunks.next())
      text += next.value.choices[0]?.delta.content ?? ''
    return text
  }
  return { rest }
}
