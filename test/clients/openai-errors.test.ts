import { APIError, NotFoundError, RateLimitError } from 'openai'
import { describe, expect, test } from 'vitest'
import { ask } from '../integration/library.ts'
import { catchError, countRequests, doors, openDoors, toOpenAi } from './doors.ts'

const question = { model: 'demo/demo', messages: ask('count to 9') }

describe.each(doors)('the openai client, through the %s,', (door) => {
  test('is told at once that a start failed, and why: it does not try again', async () => {
    await using house = await openDoors({ flags: ['--fail-load', 'exit'], leasehold: { backoffMs: 60_000 } })
    const { way, sent } = countRequests(house.ways[door])
    const error = await catchError(toOpenAi(way).chat.completions.create(question))
    expect(error).toBeInstanceOf(APIError)
    expect(error).toMatchObject({
      status: 503,
      code: 'LEASEHOLD_EXITED_BEFORE_READY',
      type: 'service_unavailable',
      message: expect.stringMatching(/exited with code 1.*failed to load model/s),
    })
    const headers = error instanceof APIError ? error.headers : undefined
    expect(headers?.get('x-should-retry')).toBe('false')
    expect(headers?.get('retry-after')).toBe('60')
    expect(sent).toHaveLength(1)
    expect(house.library.all('process.spawned')).toHaveLength(1)
  })

  test('is told once that a server was not ready in time', async () => {
    await using house = await openDoors({
      flags: ['--load-ms', '600000'],
      service: { readyTimeoutMs: 500 },
    })
    const { way, sent } = countRequests(house.ways[door])
    const error = await catchError(toOpenAi(way).chat.completions.create(question))
    expect(error).toMatchObject({ status: 504, code: 'LEASEHOLD_READY_TIMEOUT' })
    expect(sent).toHaveLength(1)
  })

  test('is told that its server was stopped while it loaded, and does not start it again', async () => {
    await using house = await openDoors({ flags: ['--load-ms', '600000'] })
    const { way, sent } = countRequests(house.ways[door])
    const asked = catchError(toOpenAi(way).chat.completions.create(question))
    await house.library.until('process.spawned')
    await house.library.supervisor.stop('demo', { force: true })
    expect(await asked).toMatchObject({ status: 503, code: 'LEASEHOLD_STOPPED' })
    expect(sent).toHaveLength(1)
    expect(house.library.all('process.spawned')).toHaveLength(1)
  })

  test('is told that its request was cancelled, and does not send it again', async () => {
    await using house = await openDoors({ flags: ['--load-ms', '600000'] })
    const { way, sent } = countRequests(house.ways[door])
    const asked = catchError(toOpenAi(way).chat.completions.create(question))
    await house.library.until('process.spawned')
    const [request] = house.library.supervisor.requests()
    expect(house.library.supervisor.cancel(request?.id ?? '')).toBe(true)
    expect(await asked).toMatchObject({ code: 'LEASEHOLD_ABORTED' })
    expect(sent).toHaveLength(1)
  })

  test.each([
    ['chat', 'bad argument', 'error: invalid argument: --foo'],
    ['responses', 'missing file', "failed to open GGUF file 'x' (No such file or directory)"],
  ] as const)(
    'of %s, asked again and again after a lasting failure, %s, meets it and no second start',
    async (api, _, line) => {
      await using house = await openDoors({
        service: { command: '/bin/sh', args: ['-c', `echo "${line}" >&2; exit 1`] },
        leasehold: { backoffMs: 1, backoffMaxMs: 1, coldStartCommentsMs: 1 },
      })
      const openai = toOpenAi(house.ways[door])
      const tries = {
        chat: () => openai.chat.completions.create(question),
        responses: () => openai.responses.create({ model: 'demo/demo', input: 'x' }),
      }
      const codes: unknown[] = []
      for (const _try of [1, 2, 3]) codes.push(await catchError(tries[api]()))
      expect(codes).toMatchObject([
        { code: 'LEASEHOLD_EXITED_BEFORE_READY', message: expect.stringContaining(line) },
        { code: 'LEASEHOLD_CIRCUIT_OPEN', message: expect.stringContaining(line) },
        { code: 'LEASEHOLD_CIRCUIT_OPEN', message: expect.stringContaining(line) },
      ])
      expect(house.library.all('process.spawned')).toHaveLength(1)
    },
  )

  test('is told of a model that does not exist, and nothing is started', async () => {
    await using house = await openDoors()
    const error = await catchError(toOpenAi(house.ways[door]).models.retrieve('demo/dome'))
    const other = await catchError(
      toOpenAi(house.ways[door]).chat.completions.create({ ...question, model: 'demo/dome' }),
    )
    for (const one of [error, other]) {
      expect(one).toBeInstanceOf(NotFoundError)
      expect(one).toMatchObject({
        code: 'LEASEHOLD_MODEL_UNKNOWN',
        param: 'model',
        message: expect.stringContaining('demo/demo'),
      })
    }
    expect(house.library.all('process.spawned')).toEqual([])
  })

  test('sees what the server refuses as the server said it', async () => {
    await using house = await openDoors({
      flags: ['--status-once', '{"status":422,"headers":{"x-why":"y"}}'],
    })
    const error = await catchError(toOpenAi(house.ways[door]).chat.completions.create(question))
    expect(error).toMatchObject({ status: 422, message: expect.stringContaining('Status 422') })
    expect(error instanceof APIError && error.headers?.get('x-why')).toBe('y')
  })

  test('waits as long as a busy server asks it to, and is answered', async () => {
    const refusal = { status: 429, headers: { 'retry-after-ms': '1' } }
    await using house = await openDoors({ flags: ['--status-once', JSON.stringify(refusal)] })
    const { way, sent } = countRequests(house.ways[door])
    const { choices } = await toOpenAi(way).chat.completions.create(question)
    expect(choices[0]?.message.content).toBe('1 2 3 4 5 6 7 8 9')
    expect(sent).toHaveLength(2)
  })

  test('is told that the queue is full', async () => {
    await using house = await openDoors({ service: { maxConcurrent: 1, maxQueue: 1 } })
    await using _lease = await house.library.supervisor.acquire('demo/demo')
    const openai = toOpenAi(house.ways[door], { maxRetries: 0 })
    const waiting = catchError(openai.chat.completions.create(question))
    await expect.poll(() => house.service().queue.length).toBe(1)
    const error = await catchError(openai.chat.completions.create(question))
    expect(error).toBeInstanceOf(RateLimitError)
    expect(error).toMatchObject({ code: 'LEASEHOLD_QUEUE_FULL', type: 'rate_limit_error' })
    await house.library.supervisor.close({ force: true })
    expect(await waiting).toMatchObject({ status: 503, code: 'LEASEHOLD_SHUTTING_DOWN' })
  })

  test.each([
    ['that dies', { crashMidStreamAfter: 3 }, 'LEASEHOLD_SERVICE_EXITED'],
    ['that ends too early', { truncateAfter: 3 }, 'LEASEHOLD_STREAM_TRUNCATED'],
  ])('throws our code out of a stream %s, after what arrived of it', async (_, fault, code) => {
    await using house = await openDoors()
    await house.library.supervisor.start('demo')
    await house.steer(fault)
    const stream = await toOpenAi(house.ways[door]).chat.completions.create({ ...question, stream: true })
    let text = ''
    const read = async () => {
      for await (const { choices } of stream) text += choices[0]?.delta.content ?? ''
    }
    expect(await catchError(read())).toMatchObject({ code })
    expect(text).toBe('1 2 3')
    expect(house.service().leases).toBe(0)
  })
})
