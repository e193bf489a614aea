// @module-tag waits

import { mkdtemp, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ServiceError } from '../../src/index.ts'
import { toFixturePath } from '../process/world.ts'
import {
  afterBackoff,
  ask,
  catchServiceError,
  createLibrary,
  createLibraryOf,
  demoServer,
  isRunning,
  longQuestion,
} from './library.ts'

describe('a start that fails', () => {
  test('because its program is missing is tried once for fifty requests, and names the program (fault 1)', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'leasehold-missing-'))
    const command = join(directory, 'server')
    await symlink(process.execPath, command)
    await using library = await createLibrary({ service: { command } })
    // Of one that is missing from the beginning the provider cannot be used at all.
    await rm(directory, { recursive: true })
    const ask50 = () => Promise.all(Array.from({ length: 50 }, () => catchServiceError(library)))
    // Together, and again when nothing has changed.
    for (const error of [...(await ask50()), ...(await ask50())]) {
      expect(error).toMatchObject({ code: 'LEASEHOLD_SPAWN_FAILED', service: 'demo' })
      expect(error.message).toContain(`"${command}" does not exist`)
    }
    expect(library.all('process.failed')).toHaveLength(1)
  })

  test('for a while, as any other, is tried once per back-off for fifty requests at once (fault 1)', async () => {
    await using library = await createLibrary({
      flags: ['--fail-load', 'exit'],
      leasehold: { backoffMs: 10, breakerFailures: 100 },
    })
    const steps = 3
    for (let step = 0; step < steps; step += 1) {
      await Promise.all(Array.from({ length: 50 }, () => catchServiceError(library)))
      await afterBackoff(library)
    }
    expect(library.all('process.spawned')).toHaveLength(steps)
  })

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
      service: { readyTimeoutMs: 3_000 },
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

  test('breakerFailures times in a row opens the circuit, which says so and why (fault 75, peer O-e)', async () => {
    await using library = await createLibrary({
      flags: ['--fail-load', 'exit'],
      leasehold: { breakerFailures: 2, breakerCooldownMs: 60_000 },
    })
    await catchServiceError(library)
    await afterBackoff(library)
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

  test('is tried again at once when the service is started by hand (fault 78)', async () => {
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

describe.runIf(process.platform === 'linux')('a server that has bad luck', () => {
  test('because the memory of the one before it is not free yet is tried again for the same waiters (fault 14)', async ({
    onTestFinished,
  }) => {
    const directory = await mkdtemp(join(tmpdir(), 'leasehold-'))
    onTestFinished(() => rm(directory, { recursive: true }))
    const starts = join(directory, 'starts')
    // The second and the third start fail.
    const toScript = (port: number) => `
      require('fs').appendFileSync('${starts}', 'x')
      const number = require('fs').readFileSync('${starts}').length
      if (number === 2 || number === 3) { console.error('CUDA error: out of memory'); process.exit(1) }
      require('http').createServer((_, response) => response.end('{"data":[]}')).listen(${port}, '127.0.0.1')`
    await using library = await createLibraryOf(process.execPath, (port) => ['-e', toScript(port)], {
      leasehold: { breakerFailures: 10 },
    })
    const first = await library.supervisor.acquire('demo/demo')
    first.release()
    const stopping = library.supervisor.stop('demo')
    await using second = await library.supervisor.acquire('demo/demo')
    expect(second.owned).toBe(true)
    await stopping
    expect(library.all('process.spawned')).toHaveLength(4)
    expect(library.all('lease.refused')).toEqual([])
  })

  test('and hangs without a lease is ended and replaced (fault 33)', { tags: ['proof'] }, async () => {
    await using library = await createLibrary({ leasehold: { heartbeatMs: 100 } })
    const first = await library.supervisor.acquire('demo/demo')
    first.release()
    const { pid } = await library.until('process.spawned')
    process.kill(pid, 'SIGSTOP')
    expect(await library.until('process.settled')).toMatchObject({ receipt: { survivors: [] } })
    expect(isRunning(pid)).toBe(false)
    await using second = await library.supervisor.acquire('demo/demo')
    expect(second.generation).not.toBe(first.generation)
  })
})

test('a request of which its server dies on a kept connection is executed once', async ({
  onTestFinished,
}) => {
  const directory = await mkdtemp(join(tmpdir(), 'leasehold-'))
  onTestFinished(() => rm(directory, { recursive: true }))
  const executed = join(directory, 'executed')
  const toScript = (port: number) => `
    require('http').createServer(async (request, response) => {
      let text = ''
      for await (const chunk of request) text += chunk
      if (text.includes('poison')) {
        require('fs').appendFileSync('${executed}', 'x')
        setTimeout(() => process.exit(1), 50)
      } else response.setHeader('content-type', 'application/json').end('{"data":[],"choices":[]}')
    }).listen(${port}, '127.0.0.1')`
  await using library = await createLibraryOf(process.execPath, (port) => ['-e', toScript(port)])
  const askFor = (text: string) =>
    library.openai.chat.completions.create({ model: 'demo/demo', messages: ask(text) })
  await askFor('hello')
  await expect(askFor('poison')).rejects.toMatchObject({ code: 'LEASEHOLD_SERVICE_EXITED' })
  expect(await readFile(executed, 'utf8')).toBe('x')
  expect(library.all('process.spawned')).toHaveLength(1)
})

describe('a server that is killed in the middle of a stream', () => {
  test('breaks the stream off with an error, revokes every lease with the cause, and is replaced (faults 31, 34)', async () => {
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
      message: expect.stringContaining(
        'was ended by SIGKILL, which was not ours: the system may have been out of memory',
      ),
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

describe.runIf(process.platform === 'linux')('a server whose output is unusual', () => {
  const inShell = (line: string) => (port: number) => [
    '-c',
    line.replace('SERVER', `${process.execPath} ${demoServer} --port ${port} --control`),
  ]

  test('is ready although it prints ten megabytes first, and little of that is kept (fault 9)', async () => {
    const flood = `${process.execPath} ${toFixturePath('floods')} 10485760 80 1>&2`
    await using library = await createLibraryOf('/bin/sh', inShell(`${flood}; exec SERVER`))
    await using lease = await library.supervisor.acquire('demo/demo')
    expect(lease.owned).toBe(true)
    const output = library.supervisor.output('demo')
    expect(output?.droppedLines).toBeGreaterThan(100_000)
    const kept = output?.tail().map(({ text }) => text) ?? []
    expect(kept.join('\n').length).toBeLessThanOrEqual(64 * 1024)
  })

  test('serves and stops as any other although it has closed its stdout and stderr (fault 37)', async () => {
    await using library = await createLibraryOf('/bin/sh', inShell('exec SERVER >&- 2>&-'))
    for (const _ of [1, 2]) {
      const { choices } = await library.openai.chat.completions.create({
        model: 'demo/demo',
        messages: ask('count to 3'),
      })
      expect(choices[0]?.message.content).toBe('1 2 3')
    }
    expect(library.all('process.spawned')).toHaveLength(1)
    expect(library.all('process.exited')).toEqual([])
    expect(await library.supervisor.stop('demo')).toMatchObject({ receipt: { exitCode: 0, survivors: [] } })
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
