import { describe, expect, test } from 'vitest'
import { requestMachine } from '../../machines/request.ts'
import { parseConfig } from '../../src/config/load.ts'
import { type LeaseholdError, ServiceError } from '../../src/errors.ts'
import type { RequestEventBody } from '../../src/events/events.ts'
import type { LeaseListener } from '../../src/lease/desk.ts'
import { rememberClientNames } from '../../src/request/client-name.ts'
import type { Exchange, ModelRequest } from '../../src/request/exchange.ts'
import { createRequestBook } from '../../src/request/open-requests.ts'
import type { RequestRecord } from '../../src/request/request-log.ts'
import { createRequests } from '../../src/request/requests.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'
import type { AnswerHandler } from '../../src/transport/answer-handler.ts'
import { UnsentError, type UpstreamRequest } from '../../src/transport/upstream.ts'

const toConfig = (fallbacks: readonly string[]) =>
  parseConfig(
    JSON.stringify({
      models: {
        providers: {
          a: { baseUrl: 'http://127.0.0.1:1/v1', timeoutSeconds: 60, models: [{ id: 'm' }] },
          b: { baseUrl: 'http://127.0.0.1:2/v1', stallTimeoutMs: 30_000, models: [{ id: 'm' }] },
          c: { baseUrl: 'http://127.0.0.1:3/v1', apiKey: `\${NOT_SET}`, models: [{ id: 'm' }] },
        },
      },
      agents: { defaults: { model: { primary: 'a/m', fallbacks } } },
    }),
  )

/** One attempt as it reached a server. */
interface Sent {
  readonly provider: string
  readonly request: UpstreamRequest
  readonly handler: AnswerHandler
  aborts: number
}

/** An exchange whose leases and servers do what the test says; an abort is answered at once, as undici does. */
function createWorld(fallbacks: readonly string[] = ['b/m']) {
  const clock = createVirtualClock()
  const config = toConfig(fallbacks)
  const events: RequestEventBody[] = []
  const waiting: { readonly key: string; readonly listener: LeaseListener }[] = []
  const ended: string[] = []
  const refused: string[] = []
  const sent: Sent[] = []
  const told: string[] = []
  /** Whether the client wants a pause after each chunk. */
  const isFull = { now: false }
  /** Providers behind which is another leasehold that would pass a request on. */
  const gateways = new Set<string>()
  const errors: LeaseholdError[] = []
  const book = createRequestBook<Exchange>()
  const records: RequestRecord[] = []
  /** How long the service has been loading. */
  const load = { ms: 0 }
  const dispatch = createRequests({
    machine: requestMachine,
    compile: (machine) => machine,
    scrub: (text) => text,
    secretsOf: () => undefined,
    isFromListed: () => false,
    neighbourhood: () => undefined,
    leadsOn: (_, { id }) => gateways.has(id),
    clock,
    requests: book,
    inspection: () => ({}),
    config: () => config,
    ownConfig: () => config,
    sharedConfig: () => config,
    leases: {
      request: (key, _, listener) => waiting.push({ key, listener }),
      end: (id) => ended.push(id),
    },
    rank: (replicas) => replicas,
    explainChoice: () => undefined,
    findRoom: () => undefined,
    findAway: () => undefined,
    noteRefused: (key, generation) => refused.push(`${key} ${generation}`),
    upstreamOf: ({ provider }) => ({
      send: (request, handler) => {
        const one: Sent = { provider: provider.id, request, handler, aborts: 0 }
        sent.push(one)
        return {
          resume: () => told.push('resumed'),
          abort: (reason) => {
            one.aborts += 1
            handler.onError(reason)
          },
        }
      },
      close: async () => {},
    }),
    createId: () => 'r1',
    publish: (_, event) => events.push(event),
    clientOf: rememberClientNames(),
    loadMsOf: () => load.ms,
    watchBodies: (_id, _request, client) => client,
    keep: (record) => records.push(record),
  })
  const ask = (body: object | string = {}, more: Partial<ModelRequest> = {}) =>
    dispatch(
      {
        method: 'POST',
        path: '/v1/chat/completions',
        headers: { 'content-type': 'application/json' },
        body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
        ...more,
      },
      {
        onHead: (status, headers) => told.push(`head ${status} ${headers['x-leasehold-model']}`),
        onData: (chunk) => told.push(`data ${chunk}`) > 0 && !isFull.now,
        onEnd: () => told.push('end'),
        onError: (error) => {
          told.push(`error ${error.code}`)
          errors.push(error)
        },
      },
    )
  const last = <Item>(items: readonly Item[]): Item => {
    const item = items.at(-1)
    if (item === undefined) throw new Error('something was expected to have happened')
    return item
  }
  const grant = () => last(waiting).listener.granted({ generation: 'g', owned: true })
  /** A request that has been granted its lease and sent. */
  const askAndSend = (body: object = {}, more: Partial<ModelRequest> = {}) => {
    const call = ask(body, more)
    grant()
    return call
  }
  return {
    clock,
    events,
    waiting,
    ended,
    refused,
    sent,
    told,
    isFull,
    gateways,
    errors,
    records,
    load,
    book,
    ask,
    askAndSend,
    grant,
    server: () => last(sent),
  }
}

const exit = new ServiceError('a', { code: 'LEASEHOLD_SERVICE_EXITED', message: 'it exited with 1' })
const refusal = new ServiceError('a', { code: 'LEASEHOLD_SPAWN_FAILED', message: 'no such file' })
const named = { model: 'a/m' }
const json = { 'content-type': 'application/json', 'content-length': '2' }

test('an event tells a bounded part of a long path', () => {
  const world = createWorld()
  world.ask(named, { path: `/v1/chat/completions/${'x'.repeat(14_000)}?key=k` })
  const [started] = world.events
  if (started?.type !== 'request.started') throw new Error('request.started comes first')
  expect(started.route).toHaveLength(256)
})

describe('a request that has passed another leasehold', () => {
  const marked = { failover: true, headers: { ...json, 'x-leasehold-hop': '0a1b#1' } }

  test('is not asked of a server that would pass it on', () => {
    const world = createWorld()
    world.gateways.add('a')
    world.ask(named, marked)
    expect(world.waiting.at(-1)?.key).toBe('remote:http://127.0.0.1:2/v1')
  })

  test('goes to the next one when such a server is known for what it is only with its lease', () => {
    const world = createWorld()
    world.ask(named, marked)
    world.gateways.add('a')
    world.grant()
    expect(world.sent).toEqual([])
    expect(world.events).toContainEqual({ type: 'request.attempted', ref: 'a/m', code: 'LEASEHOLD_LOOP' })
    world.grant()
    expect(world.server().provider).toBe('b')
  })

  test('fails where there is no other', () => {
    const world = createWorld()
    world.gateways.add('a')
    world.ask(named, { headers: marked.headers })
    world.grant()
    expect(world.told).toEqual(['error LEASEHOLD_LOOP'])
  })
})

describe('a request', () => {
  test('is leased, sent, answered and let go of, in this order', () => {
    const world = createWorld()
    world.ask(named)
    expect(world.sent).toEqual([])
    world.grant()
    const { handler, request, provider } = world.server()
    expect([provider, request.method, request.path]).toEqual(['a', 'POST', '/chat/completions'])
    handler.onHead(200, json)
    handler.onData(Buffer.from('{}'))
    expect(world.ended).toEqual([])
    handler.onEnd()
    expect(world.told).toEqual(['head 200 a/m', 'data {}', 'end'])
    expect(world.ended).toEqual(['r1'])
    expect(world.server().aborts).toBe(0)
    expect(world.clock.pending).toBe(0)
    expect(world.events.map(({ type }) => type)).toEqual([
      'request.started',
      'request.sent',
      'request.responded',
      'request.ended',
    ])
  })

  test.each([
    ['is not JSON', '{', 'LEASEHOLD_BAD_REQUEST'],
    ['names a model that does not exist', '{"model":"x/y"}', 'LEASEHOLD_MODEL_UNKNOWN'],
    ['names a model that several have', '{"model":"m"}', 'LEASEHOLD_MODEL_AMBIGUOUS'],
    ['names a provider that cannot be used', '{"model":"c/m"}', 'LEASEHOLD_PROVIDER_UNAVAILABLE'],
  ])('that %s asks for no lease', (_, body, code) => {
    const world = createWorld()
    world.ask(body)
    expect(world.told).toEqual([`error ${code}`])
    expect(world.waiting).toEqual([])
  })

  test('of another method than POST is refused', () => {
    const world = createWorld()
    world.ask(named, { method: 'GET' })
    expect(world.errors[0]).toMatchObject({ status: 405 })
  })

  test('that is refused its lease tells why', () => {
    const world = createWorld()
    world.ask(named)
    world.waiting[0]?.listener.refused(refusal)
    expect(world.errors).toEqual([refusal])
  })
})

describe('a broken answer', () => {
  test.each(['before', 'after'])('tells the story of the process whose exit is seen %s it', async (order) => {
    const world = createWorld()
    world.askAndSend(named)
    const { handler } = world.server()
    handler.onHead(200, { 'content-type': 'text/event-stream' })
    const revoke = () => world.waiting[0]?.listener.revoked(exit)
    if (order === 'before') revoke()
    handler.onError(new Error('other side closed'))
    if (order === 'after') {
      await world.clock.advanceTo(199)
      expect(world.errors).toEqual([])
      revoke()
    }
    await world.clock.advanceTo(1_000)
    expect(world.errors).toEqual([exit])
    expect(world.clock.pending).toBe(0)
  })

  test('tells of the connection when no exit is seen in time', async () => {
    const world = createWorld()
    world.askAndSend(named)
    world.server().handler.onError(Object.assign(new Error('other side closed'), { code: 'UND_ERR_SOCKET' }))
    await world.clock.advanceTo(200)
    expect(world.told).toEqual(['error LEASEHOLD_UPSTREAM_FAILED'])
    expect(world.errors[0]?.message).toContain('other side closed')
    expect(world.ended).toEqual(['r1'])
  })

  test('that ends without its ending is truncated', async () => {
    const world = createWorld()
    world.askAndSend(named)
    const { handler } = world.server()
    handler.onHead(200, { 'content-type': 'text/event-stream' })
    handler.onData(Buffer.from('data: {}\n\n'))
    handler.onEnd()
    await world.clock.advanceTo(200)
    expect(world.told.at(-1)).toBe('error LEASEHOLD_STREAM_TRUNCATED')
  })
})

describe('the time limit', () => {
  test('counts from dispatch, not from the wait for a lease', async () => {
    const world = createWorld()
    world.ask(named)
    await world.clock.advanceTo(600_000)
    world.grant()
    await world.clock.advanceTo(659_999)
    expect(world.told).toEqual([])
    await world.clock.advanceTo(660_000)
    expect(world.told).toEqual(['error LEASEHOLD_UPSTREAM_TIMEOUT'])
    expect(world.server().aborts).toBe(1)
    expect(world.ended).toEqual(['r1'])
  })

  test('covers the whole answer', async () => {
    const world = createWorld()
    world.askAndSend(named)
    world.server().handler.onHead(200, json)
    await world.clock.advanceTo(60_000)
    expect(world.told).toEqual(['head 200 a/m', 'error LEASEHOLD_UPSTREAM_TIMEOUT'])
  })

  test('is none where none is configured', async () => {
    const world = createWorld()
    world.askAndSend({ model: 'b/m' })
    expect(world.clock.pending).toBe(0)
  })
})

describe('a client that leaves', () => {
  test.each(['leasing', 'sending', 'streaming', 'breaking'])(
    'while %s lets go of everything, once',
    async (state) => {
      const world = createWorld()
      const call = world.ask(named)
      if (state !== 'leasing') world.grant()
      if (state === 'streaming') world.server().handler.onHead(200, json)
      if (state === 'breaking') world.server().handler.onError(new Error('reset'))
      call.abort()
      call.abort()
      await world.clock.advanceTo(600_000)
      expect(world.told.filter((text) => !text.startsWith('head'))).toEqual(['error LEASEHOLD_ABORTED'])
      expect(world.ended).toEqual(['r1'])
      expect(world.sent.map(({ aborts }) => aborts)).toEqual(
        state === 'leasing' ? [] : [state === 'breaking' ? 0 : 1],
      )
      expect(world.events.at(-1)).toMatchObject({ type: 'request.ended', outcome: 'cancelled' })
      expect(world.clock.pending).toBe(0)
    },
  )

  test('hears nothing of what arrives afterwards', () => {
    const world = createWorld()
    const call = world.askAndSend(named)
    const { handler } = world.server()
    handler.onHead(200, json)
    call.abort()
    handler.onData(Buffer.from('late'))
    handler.onEnd()
    expect(world.told).toEqual(['head 200 a/m', 'error LEASEHOLD_ABORTED'])
  })
})

describe('failover', () => {
  type World = ReturnType<typeof createWorld>
  const attempts = ({ events }: World) =>
    events.flatMap((event) => (event.type === 'request.attempted' ? [event.ref] : []))
  const failures: readonly (readonly [string, (world: World) => void | Promise<void>])[] = [
    ['its start fails', ({ waiting }) => waiting[0]?.listener.refused(refusal)],
    [
      'its connection breaks',
      async ({ grant, server, clock }) => {
        grant()
        server().handler.onError(new Error('reset'))
        await clock.advanceTo(200)
      },
    ],
    [
      'it exits',
      ({ grant, waiting }) => {
        grant()
        waiting[0]?.listener.revoked(exit)
      },
    ],
    [
      'its time is up',
      async ({ grant, clock }) => {
        grant()
        await clock.advanceTo(60_000)
      },
    ],
    ...[408, 429, 500, 502, 503, 529].map(
      (status) =>
        [
          `it answers ${status}`,
          ({ grant, server }: World) => {
            grant()
            server().handler.onHead(status, json)
            // Of a 503 the body decides: the server may only be loading.
            if (status === 503) server().handler.onEnd()
          },
        ] as const,
    ),
  ]

  test('waits for a candidate that says it is loading', async () => {
    const world = createWorld()
    world.ask({})
    world.grant()
    world.server().handler.onHead(503, json)
    world.server().handler.onData(Buffer.from('{"error":{"message":"Loading model"}}'))
    world.server().handler.onEnd()
    await world.clock.advanceTo(1_000)
    expect(world.sent.map(({ provider }) => provider)).toEqual(['a', 'a'])
    expect(attempts(world)).toEqual([])
  })

  test.each(failures)('moves on to the next candidate when %s', async (_, failIt) => {
    const world = createWorld()
    world.ask({})
    await failIt(world)
    world.grant()
    expect(world.server().provider).toBe('b')
    // Whatever the first server still says about its end is not about the second.
    const startMs = world.clock.now()
    await world.clock.advanceTo(startMs + 10_000)
    world.server().handler.onHead(200, json)
    world.server().handler.onData(Buffer.from('{}'))
    world.server().handler.onEnd()
    expect(world.told).toEqual(['head 200 b/m', 'data {}', 'end'])
    expect(attempts(world)).toEqual(['a/m'])
  })

  test('discards the late answer of a slow candidate (race R20)', async () => {
    const world = createWorld()
    world.ask({})
    world.grant()
    const slow = world.server()
    await world.clock.advanceTo(60_000)
    world.grant()
    expect(world.sent.map(({ provider, aborts }) => [provider, aborts])).toEqual([
      ['a', 1],
      ['b', 0],
    ])
    const chosen = world.server().handler
    const answerLate = () => {
      slow.handler.onHead(200, json)
      slow.handler.onData(Buffer.from('late'))
    }
    answerLate()
    chosen.onHead(200, json)
    answerLate()
    chosen.onData(Buffer.from('{}'))
    slow.handler.onEnd()
    slow.handler.onError(new Error('late'))
    expect(world.told).toEqual(['head 200 b/m', 'data {}'])
    chosen.onEnd()
    expect(world.told).toEqual(['head 200 b/m', 'data {}', 'end'])
  })

  test('passes over a candidate that cannot be used', () => {
    const world = createWorld(['c/m', 'b/m'])
    world.ask({})
    world.waiting[0]?.listener.refused(refusal)
    world.grant()
    expect(world.server().provider).toBe('b')
    expect(attempts(world)).toEqual(['a/m', 'c/m'])
  })

  test('does not happen for a model that the client named, unless it asks for it', () => {
    const world = createWorld()
    world.ask(named)
    world.waiting[0]?.listener.refused(refusal)
    expect(world.told).toEqual(['error LEASEHOLD_SPAWN_FAILED'])
    const other = createWorld()
    other.ask(named, { failover: true })
    other.waiting[0]?.listener.refused(refusal)
    expect(other.told).toEqual([])
    expect(other.waiting).toHaveLength(2)
  })

  test.each([400, 401, 404, 413, 422])('does not happen for the status %d (fault 52)', (status) => {
    const world = createWorld()
    world.askAndSend({})
    const { handler } = world.server()
    handler.onHead(status, json)
    handler.onData(Buffer.from('{}'))
    handler.onEnd()
    expect(world.told).toEqual([`head ${status} a/m`, 'data {}', 'end'])
  })

  test('does not happen after the first byte', async () => {
    const world = createWorld()
    world.askAndSend({})
    world.server().handler.onHead(200, json)
    world.server().handler.onError(new Error('reset'))
    await world.clock.advanceTo(200)
    expect(world.told).toEqual(['head 200 a/m', 'error LEASEHOLD_UPSTREAM_FAILED'])
    expect(world.sent).toHaveLength(1)
  })

  test('does not happen when the client leaves', () => {
    const world = createWorld()
    world.askAndSend({}).abort()
    expect(world.waiting).toHaveLength(1)
  })

  test('ends with the last candidate, whose own answer is told', () => {
    const world = createWorld()
    world.ask({})
    world.waiting[0]?.listener.refused(refusal)
    world.grant()
    const { handler } = world.server()
    handler.onHead(500, json)
    handler.onData(Buffer.from('{}'))
    handler.onEnd()
    expect(world.told).toEqual(['head 500 b/m', 'data {}', 'end'])
  })
})

test('a request that finds no listener says so after its lease is given back, and asks again for a few seconds (fault 39)', async () => {
  const { askAndSend, clock, grant, server, ended, refused, told } = createWorld([])
  const refuse = () =>
    server().handler.onError(
      new UnsentError(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })),
    )
  askAndSend()
  refuse()
  expect([ended, refused]).toEqual([['r1'], ['remote:http://127.0.0.1:1/v1 g']])
  expect(told).toEqual([])
  for (const untilMs of [500, 1_400, 3_100]) {
    grant()
    refuse()
    await clock.advanceTo(untilMs)
    expect(told).toEqual([])
  }
  grant()
  refuse()
  await clock.advanceTo(7_000)
  expect(told).toMatchObject([expect.stringMatching(/^error LEASEHOLD_UPSTREAM/)])
  expect(ended).toEqual(['r1', 'r1', 'r1', 'r1', 'r1'])
})

test('a request that a connection of before may have taken is not sent again, although the connection is refused now', async () => {
  const { askAndSend, clock, server, refused, told } = createWorld([])
  askAndSend()
  server().handler.onError(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }))
  await clock.advanceTo(300)
  expect(told).toMatchObject([expect.stringMatching(/^error LEASEHOLD_UPSTREAM/)])
  expect(refused).toHaveLength(1)
})

test('a server that says it is loading, although its health said otherwise, is asked again', async () => {
  const world = createWorld()
  world.askAndSend({ model: 'b/m' })
  const answer = (status: number, body: string) => {
    world.server().handler.onHead(status, json)
    world.server().handler.onData(Buffer.from(body))
    world.server().handler.onEnd()
  }
  answer(503, '{"error":{"message":"Loading model"}}')
  expect(world.told).toEqual([])
  await world.clock.advanceTo(1_000)
  expect(world.sent).toHaveLength(2)
  answer(200, '{}')
  expect(world.told).toEqual(['head 200 b/m', 'data {}', 'end'])
})

describe('silence', () => {
  const stream = { 'content-type': 'text/event-stream' }
  const begin = (world: ReturnType<typeof createWorld>) => {
    const call = world.askAndSend({ model: 'b/m', stream: true })
    world.server().handler.onHead(200, stream)
    return call
  }

  test('before the first byte may last for twenty minutes (fault 44, peer U-1)', async () => {
    const world = createWorld()
    begin(world)
    await world.clock.advanceTo(1_200_000)
    world.server().handler.onData(Buffer.from('data: x\n\n'))
    expect(world.told.at(-1)).toBe('data data: x\n\n')
    expect(world.server().aborts).toBe(0)
  })

  test('in the middle of an answer ends it on both sides and frees the lease (faults 33, 45, race R12)', async () => {
    const world = createWorld()
    begin(world)
    const { handler } = world.server()
    for (const atMs of [0, 20_000, 40_000, 60_000]) {
      await world.clock.advanceTo(atMs)
      handler.onData(Buffer.from('data: x\n\n'))
    }
    await world.clock.advanceTo(89_999)
    expect(world.errors).toEqual([])
    await world.clock.advanceTo(90_000)
    expect(world.told.at(-1)).toBe('error LEASEHOLD_STREAM_STALLED')
    expect(world.errors[0]?.message).toContain('30000 ms')
    expect(world.server().aborts).toBe(1)
    expect(world.ended).toEqual(['r1'])
    expect(world.clock.pending).toBe(0)
  })

  test('while the client does not read is not the server\u2019s', async () => {
    const world = createWorld()
    const call = begin(world)
    const { handler } = world.server()
    world.isFull.now = true
    handler.onData(Buffer.from('data: x\n\n'))
    await world.clock.advanceTo(300_000)
    world.isFull.now = false
    call.resume()
    await world.clock.advanceTo(329_999)
    expect(world.errors).toEqual([])
    await world.clock.advanceTo(360_000)
    expect(world.told.at(-1)).toBe('error LEASEHOLD_STREAM_STALLED')
  })

  test('lasts for as long as it likes where nothing limits it', async () => {
    const world = createWorld()
    world.askAndSend(named)
    world.server().handler.onHead(200, stream)
    world.server().handler.onData(Buffer.from('data: x\n\n'))
    await world.clock.advanceTo(59_000)
    expect(world.errors).toEqual([])
  })
})

test('a stream has the pace of its tokens where the server tells only how many; an answer at once has none', async () => {
  for (const [type, tokensPerSecond] of [
    ['text/event-stream', 20],
    ['application/json', null],
  ] as const) {
    const world = createWorld()
    world.askAndSend({ model: 'a/m', stream: true })
    const { handler } = world.server()
    handler.onHead(200, { 'content-type': type })
    handler.onData(Buffer.from('data: {"choices":[{"delta":{"content":"a"}}]}\n\n'))
    await world.clock.advanceTo(2_000)
    handler.onData(Buffer.from('data: {"usage":{"completion_tokens":40}}\n\ndata: [DONE]\n\n'))
    handler.onEnd()
    expect(world.events.at(-1)).toMatchObject({
      type: 'request.ended',
      outcome: 'done',
      usage: { completionTokens: 40, tokensPerSecond },
    })
  }
})

describe('a request that is over', () => {
  const stream = { 'content-type': 'text/event-stream' }
  const token = Buffer.from('data: {"choices":[{"delta":{"content":"a"}}]}\n\n')

  test('tells where its time went: wait, load, first byte, stream', async () => {
    const world = createWorld()
    await world.clock.advanceTo(1_000)
    world.ask({ model: 'a/m', stream: true }, { headers: { 'user-agent': 'curl/8.5.0' } })
    world.waiting.at(-1)?.listener.queued?.({ position: 1, estimatedMs: null })
    await world.clock.advanceTo(11_000)
    world.load.ms = 7_000
    expect(world.book.list(11_000)).toMatchObject([
      {
        client: 'curl',
        bytes: 0,
        chunks: 0,
        timings: { waitMs: 3_000, loadMs: 7_000, firstByteMs: 0, streamMs: 0 },
      },
    ])
    world.grant()
    world.load.ms = 0
    await world.clock.advanceTo(11_100)
    const { handler } = world.server()
    handler.onHead(200, stream)
    await world.clock.advanceTo(11_500)
    handler.onData(token)
    await world.clock.advanceTo(13_500)
    const timings = { waitMs: 3_000, loadMs: 7_000, firstByteMs: 500, streamMs: 2_000 }
    expect(world.book.list(13_500)).toMatchObject([
      { state: 'streaming', bytes: token.length, chunks: 1, timings },
    ])
    handler.onData(Buffer.from('data: [DONE]\n\n'))
    handler.onEnd()
    expect(world.events.at(-1)).toMatchObject({ type: 'request.ended', outcome: 'done', timings })
    expect(world.records).toEqual([
      {
        id: 'r1',
        ref: 'a/m',
        service: 'remote:http://127.0.0.1:1/v1',
        route: '/v1/chat/completions',
        client: 'curl',
        startedAtMs: 1_000,
        endedAtMs: 13_500,
        outcome: 'done',
        code: null,
        status: 200,
        timings,
        usage: null,
        bytes: token.length + 'data: [DONE]\n\n'.length,
        rewrites: ['model', 'supportsUsageInStreaming'],
        attempts: [],
      },
    ])
    expect(world.book.list(14_000)).toEqual([])
  })

  test('counts failed candidates as wait, and names them', async () => {
    const world = createWorld()
    await world.clock.advanceTo(1_000)
    world.askAndSend({ model: 'default' })
    await world.clock.advanceTo(4_000)
    world.server().handler.onHead(500, json)
    world.grant()
    await world.clock.advanceTo(5_000)
    world.server().handler.onHead(200, json)
    world.server().handler.onData(Buffer.from('{}'))
    world.server().handler.onEnd()
    expect(world.records).toMatchObject([
      {
        ref: 'b/m',
        attempts: [{ ref: 'a/m', code: 'LEASEHOLD_UPSTREAM_FAILED' }],
        timings: { waitMs: 3_000, loadMs: 0, firstByteMs: 1_000, streamMs: 0 },
      },
    ])
  })

  test('was refused its lease: all of its time is wait and load, counted once', async () => {
    const world = createWorld([])
    await world.clock.advanceTo(1_000)
    world.ask(named)
    world.waiting.at(-1)?.listener.queued?.({ position: 1, estimatedMs: null })
    await world.clock.advanceTo(3_000)
    world.load.ms = 1_500
    world.waiting.at(-1)?.listener.refused(refusal)
    expect(world.records).toMatchObject([
      {
        outcome: 'failed',
        code: 'LEASEHOLD_SPAWN_FAILED',
        status: null,
        timings: { waitMs: 500, loadMs: 1_500, firstByteMs: 0, streamMs: 0 },
      },
    ])
  })

  test.each([
    ['named no model that there is', { model: 'nowhere/x' }, 'nowhere/x', 'LEASEHOLD_MODEL_UNKNOWN'],
    ['named a long one', { model: `n/${'x'.repeat(300)}` }, `n/${'x'.repeat(98)}`, 'LEASEHOLD_MODEL_UNKNOWN'],
    ['has a name with control characters', { model: 'a\u001b[2Jb' }, null, 'LEASEHOLD_BAD_REQUEST'],
  ])('%s: it has begun and ended, with a client, and no service', (_, body, ref, code) => {
    const world = createWorld()
    world.ask(body, { headers: { 'user-agent': 'OpenAI/Python 1.40.0' } })
    const route = '/v1/chat/completions'
    expect(world.records).toMatchObject([
      { ref, service: null, route, client: 'OpenAI/Python', outcome: 'failed', code },
    ])
    expect(world.events.map(({ type }) => type)).toEqual(['request.started', 'request.ended'])
    expect(world.events[0]).toMatchObject({ ref: ref ?? '', route, client: 'OpenAI/Python' })
  })

  test('is told as sent, with the names of the rules that changed its body', () => {
    const world = createWorld()
    world.askAndSend({ model: 'a/m', stream: true, messages: [{ role: 'user', content: 'SECRET' }] })
    const sent = world.events.find(({ type }) => type === 'request.sent')
    expect(sent).toEqual({
      type: 'request.sent',
      ref: 'a/m',
      rewrites: ['model', 'supportsUsageInStreaming'],
    })
    expect(JSON.stringify(world.events)).not.toContain('SECRET')
  })
})
