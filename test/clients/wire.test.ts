import { describe, expect, test } from 'vitest'
import type { ModelServerOptions } from '../../src/testing/model-server/options.ts'
import { openHouse, openHouseWithServer, sendRaw } from '../gateway/house.ts'
import { ask } from '../integration/library.ts'
import { createRawServer } from '../transport/raw-server.ts'
import { catchError, collect, type Door, doors, toOpenAi, type Way } from './doors.ts'

const question = { model: 'local/demo', messages: ask('count to 9') }
const answer = '1 2 3 4 5 6 7 8 9'

/** A gateway and its supervisor before a model server whose ledger can be read. */
async function openWatched(server: ModelServerOptions = {}) {
  const house = await openHouseWithServer({ server })
  const ways: Readonly<Record<Door, Way>> = {
    gateway: { baseURL: `${house.url}/v1`, apiKey: 'ours', fetch: globalThis.fetch },
    library: { baseURL: 'http://leasehold/v1', apiKey: 'ours', fetch: house.supervisor.fetch },
  }
  const posted = () => house.server.requests.filter(({ method }) => method === 'POST')
  return { ...house, ways, posted }
}

describe.each(doors)('of the openai client, through the %s,', (door) => {
  test('the server learns neither its key nor what it is', async () => {
    await using house = await openWatched()
    const openai = toOpenAi(house.ways[door])
    await openai.chat.completions.create(question)
    await collect(await openai.chat.completions.create({ ...question, stream: true }))
    expect(house.posted()).toHaveLength(2)
    for (const { headers } of house.posted()) {
      const names = Object.keys(headers)
      expect(names.filter((name) => /^x-stainless-|^user-agent$|^x-leasehold-|^sec-/.test(name))).toEqual([
        'x-leasehold-hop',
      ])
      expect(JSON.stringify(headers)).not.toMatch(/ours|openai/i)
    }
  })

  test('a compressing server is understood, and asked not to compress a stream', async () => {
    await using house = await openWatched({ gzip: true })
    const openai = toOpenAi(house.ways[door])
    const whole = await openai.chat.completions.create(question)
    const chunks = await collect(await openai.chat.completions.create({ ...question, stream: true }))
    expect(whole.choices[0]?.message.content).toBe(answer)
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe(answer)
    const offered = house.posted().map(({ headers }) => headers['accept-encoding'])
    expect(offered[0]).toMatch(door === 'library' ? /^identity$/ : /\bgzip\b/)
    expect(offered[1]).toBe('identity')
  })

  test('a compressing server is still seen to break off a stream', async () => {
    await using house = await openWatched({ gzip: true, truncateAfter: 3 })
    const stream = await toOpenAi(house.ways[door]).chat.completions.create({ ...question, stream: true })
    expect(await catchError(collect(stream))).toMatchObject({ code: 'LEASEHOLD_STREAM_TRUNCATED' })
  })

  test('a complaint of a compressing server is still explained', async () => {
    await using house = await openWatched({ gzip: true, rejectTools: true })
    const tools = [{ type: 'function', function: { name: 'f' } }] as const
    const request = toOpenAi(house.ways[door]).chat.completions.create({ ...question, tools: [...tools] })
    expect(await catchError(request)).toMatchObject({
      status: 400,
      message: expect.stringContaining('compat.supportsTools: false'),
    })
  })
})

test('a refusal that is compressed and needs no explanation passes as it is', async () => {
  await using house = await openWatched({ gzip: true, statusOnce: { status: 418, body: 'teapot' } })
  const response = await house.post('/v1/chat/completions', question)
  expect([response.status, response.headers.get('content-encoding')]).toEqual([418, 'gzip'])
  expect(await response.text()).toBe('teapot')
})

test('connection headers, and headers named by them, are not forwarded to the server', async () => {
  await using house = await openWatched()
  const body = JSON.stringify(question)
  const { status } = await sendRaw(
    house.port,
    [
      'POST /v1/chat/completions HTTP/1.1',
      `host: 127.0.0.1:${house.port}`,
      'content-type: application/json',
      `content-length: ${body.length}`,
      'connection: close, X-Named',
      'x-named: gone',
      'keep-alive: timeout=77',
      'te: trailers',
      'proxy-authorization: gone',
      'proxy-connection: gone',
      'x-kept: kept',
      '',
      body,
    ].join('\r\n'),
  )
  expect(status).toBe(200)
  const [sent] = house.posted()
  expect(sent?.headers['x-kept']).toBe('kept')
  expect(JSON.stringify(sent?.headers)).not.toMatch(/gone|timeout=77|trailers|x-named/i)
})

test('connection headers, and headers named by them, are not forwarded to the client', async () => {
  // A list of models is what the health probe asks for; as an answer to a chat it is as good as any.
  const reply = '{"object":"list","data":[{"id":"demo"}]}'
  await using server = await createRawServer((socket) => {
    const head = ['HTTP/1.1 200 OK', 'content-type: application/json', `content-length: ${reply.length}`]
    const own = ['connection: close, X-Named', 'x-named: gone', 'keep-alive: timeout=77', 'x-kept: kept']
    socket.end([...head, ...own, 'proxy-authenticate: gone', 'trailer: gone', '', reply].join('\r\n'))
  })
  await using house = await openHouse({ serverUrl: server.url })
  const response = await house.post('/v1/chat/completions', question)
  expect(await response.text()).toBe(reply)
  expect(response.headers.get('x-kept')).toBe('kept')
  expect(JSON.stringify([...response.headers])).not.toMatch(/gone|timeout=77|x-named/i)
})
