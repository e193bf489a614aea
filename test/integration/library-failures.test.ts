import { describe, expect, test } from 'vitest'
import { ServiceError } from '../../src/index.ts'
import { ask, createLibrary, type Library, longQuestion } from './library.ts'

describe('a start that fails', () => {
  test('says how the process ended, what it printed, and when to try again', async () => {
    await using library = await createLibrary({
      flags: ['--fail-load', 'exit'],
      leasehold: { backoffMs: 60_000 },
    })
    const error = await catchServiceError(library)
    expect(error).toMatchObject({
      code: 'LEASEHOLD_EXITED_BEFORE_READY',
      service: 'demo',
      retryAfterMs: 60_000,
      failure: {
        exitCode: 1,
        signal: null,
        tail: expect.arrayContaining(['demo-server: failed to load model']),
      },
    })
    expect(error.message).toContain('exited with code 1')
  })

  test('of a program that hangs is ended at the deadline, with the last verdict and the last output (fault 15)', async () => {
    await using library = await createLibrary({
      flags: ['--load-ms', '600000'],
      service: { readyTimeoutMs: 6_000 },
    })
    expect(await catchServiceError(library)).toMatchObject({
      code: 'LEASEHOLD_READY_TIMEOUT',
      failure: {
        verdict: { kind: 'loading', status: 503 },
        tail: expect.arrayContaining(['demo-server: loading model']),
      },
    })
    expect(await library.until('process.settled')).toMatchObject({ receipt: { survivors: [] } })
  })

  test('breakerFailures times in a row opens the circuit, which says so and why (fault 75)', async () => {
    await using library = await createLibrary({
      flags: ['--fail-load', 'exit'],
      leasehold: { breakerFailures: 2, breakerCooldownMs: 60_000 },
    })
    await catchServiceError(library)
    await catchServiceError(library)
    const error = await catchServiceError(library)
    expect(error).toMatchObject({
      code: 'LEASEHOLD_CIRCUIT_OPEN',
      failure: { cause: { code: 'LEASEHOLD_EXITED_BEFORE_READY', exitCode: 1 } },
    })
    expect(error.retryAfterMs).toBeGreaterThan(0)
    expect(error.retryAfterMs).toBeLessThanOrEqual(60_000)
    expect(library.all('process.spawned')).toHaveLength(2)
  })

  test('is tried again at once when somebody starts the service by hand (fault 78)', async () => {
    await using library = await createLibrary({
      flags: ['--fail-load', 'exit'],
      leasehold: { breakerFailures: 1, breakerCooldownMs: 600_000 },
    })
    await catchServiceError(library)
    await expect(library.supervisor.start('demo')).rejects.toMatchObject({
      code: 'LEASEHOLD_EXITED_BEFORE_READY',
    })
    expect(library.all('process.spawned')).toHaveLength(2)
  })
})

describe('a server that is killed in the middle of a stream', () => {
  test('breaks the stream off with an error, revokes every lease with the cause, and is replaced (fault 31)', async () => {
    await using library = await createLibrary({ flags: ['--token-delay-ms', '20'] })
    const lease = await library.supervisor.acquire('demo/demo')
    const { pid } = await library.until('process.spawned')
    const stream = await library.openai.chat.completions.create({
      model: 'demo/demo',
      messages: ask(longQuestion),
      stream: true,
    })
    const read = async () => {
      let chunks = 0
      for await (const _ of stream) if (++chunks === 3) process.kill(pid, 'SIGKILL')
    }
    await expect(read()).rejects.toThrow(/SIGKILL/)
    expect(lease.signal.reason).toBeInstanceOf(ServiceError)
    expect(lease.signal.reason).toMatchObject({
      code: 'LEASEHOLD_SERVICE_EXITED',
      failure: { signal: 'SIGKILL', generation: lease.generation },
    })
    expect(library.all('request.ended')).toMatchObject([
      { outcome: 'failed', code: 'LEASEHOLD_SERVICE_EXITED' },
    ])

    await using next = await library.supervisor.acquire('demo/demo')
    expect(next.generation).not.toBe(lease.generation)
    // The lease of the dead generation counts for nothing any more.
    lease.release()
    expect(library.supervisor.snapshot().services[0]?.leases).toBe(1)
  })

  test('fails a request that waits for the head of its answer', async () => {
    await using library = await createLibrary({ flags: ['--crash-before-response'] })
    await expect(
      library.openai.chat.completions.create({ model: 'demo/demo', messages: ask('hello') }),
    ).rejects.toMatchObject({ code: 'LEASEHOLD_SERVICE_EXITED' })
  })
})

describe('a stream that ends without its proper ending', () => {
  test.each([
    ['that ends in chunks', ['--truncate-after', '3']],
    ['that ends with its connection', ['--truncate-after', '3', '--close-delimited']],
  ])('is an error for an answer %s', async (_, flags) => {
    await using library = await createLibrary({ flags })
    const response = await library.supervisor.fetch('http://leasehold/v1/chat/completions', {
      method: 'POST',
      body: JSON.stringify({ model: 'demo/demo', messages: ask(longQuestion), stream: true }),
    })
    expect(response.status).toBe(200)
    await expect(response.text()).rejects.toMatchObject({ code: 'LEASEHOLD_STREAM_TRUNCATED' })
    expect(library.supervisor.snapshot().services[0]).toMatchObject({ state: 'ready', leases: 0 })
  })

  test('is no error when it only lacks the last marker, as some servers do', async () => {
    await using library = await createLibrary({ flags: ['--omit-done'] })
    const response = await library.supervisor.fetch('http://leasehold/v1/chat/completions', {
      method: 'POST',
      body: JSON.stringify({ model: 'demo/demo', messages: ask('count to 3'), stream: true }),
    })
    expect(await response.text()).toMatch(/"finish_reason":"stop"/)
  })
})

async function catchServiceError({ supervisor }: Library): Promise<ServiceError> {
  const error = await supervisor.acquire('demo/demo').then(
    () => new Error('It was granted.'),
    (reason: unknown) => reason,
  )
  if (!(error instanceof ServiceError)) throw error
  return error
}
