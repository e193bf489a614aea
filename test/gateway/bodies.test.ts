import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type HouseWithServer, openHouseWithServer, openSocket, readAnswer, sendRaw } from './house.ts'

const MAX_BODY_BYTES = 100_000
let house: HouseWithServer

beforeEach(async () => {
  house = await openHouseWithServer({ leasehold: { maxBodyBytes: MAX_BODY_BYTES } })
})
afterEach(() => house[Symbol.asyncDispose]())

const chat = { model: 'local/demo', messages: [{ role: 'user', content: 'count to 9' }] }

const toHead = (framing: string) =>
  `POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:${house.port}\r\nContent-Type: application/json\r\n${framing}\r\n\r\n`

const post = (body: string, framing = `Content-Length: ${Buffer.byteLength(body, 'latin1')}`) =>
  sendRaw(house.port, toHead(framing) + body)

/** The next client is served as if nothing had been. */
async function expectUnaffected(): Promise<void> {
  const response = await house.post('/v1/chat/completions', chat)
  expect(response.status).toBe(200)
  expect(await response.text()).toContain('"finish_reason":"stop"')
  expect(house.server.requests.filter(({ method }) => method === 'POST')).toHaveLength(1)
  expect(house.service()).toMatchObject({ leases: 0, queue: [] })
}

const nested = (depth: number) => `{"model":"demo","x":${'['.repeat(depth)}${']'.repeat(depth)}}`

describe('a bad body', () => {
  test.each([
    ['nothing', ''],
    ['blanks', ' \n'],
    ['half an object', '{"model":"demo"'],
    ['an object and more', '{"model":"demo"}{}'],
    ['a comma too much', '{"model":"demo",}'],
    ['single quotes', "{'model':'demo'}"],
    ['a comment', '{"model":"demo"/**/}'],
    ['NaN', '{"model":"demo","x":NaN}'],
    ['bytes that are not UTF-8', '{"model":"demo","x":"\xff\xfe"}'],
    ['a byte order mark of UTF-16', '\xff\xfe{\x00}\x00'],
    ['a bare line end in a text', '{"model":"demo","x":"a\nb"}'],
    ['an array', '[]'],
    ['a text', '"demo"'],
    ['null', 'null'],
    ['201 levels', nested(201)],
    ['40,000 levels', nested(40_000)],
    ['a model that is a number', '{"model":1}'],
    ['a model that is an array', '{"model":["demo"]}'],
  ])('of %s is refused with 400, starts nothing, and leaves the next request alone', async (_, body) => {
    const { status, body: answer } = await post(body)
    expect(status).toBe(400)
    expect(JSON.parse(answer)).toMatchObject({
      error: { code: 'LEASEHOLD_BAD_REQUEST', type: 'invalid_request_error' },
    })
    expect(house.events.filter(({ type }) => type === 'lease.requested')).toEqual([])
    await expectUnaffected()
  })

  test('names the field that is wrong', async () => {
    expect(JSON.parse((await post('{"model":1}')).body)).toMatchObject({ error: { param: 'model' } })
  })

  test('that announces too many bytes is refused with 413 before it comes', async () => {
    const { status, head, body } = await post('', `Content-Length: ${MAX_BODY_BYTES + 1}`)
    expect(status).toBe(413)
    expect(head).toMatch(/^connection: close$/im)
    expect(body).toContain(`${MAX_BODY_BYTES} bytes`)
    await expectUnaffected()
  })

  test('that announces too many bytes and waits to be asked for them is refused, not asked', async () => {
    const { status } = await post('', `Content-Length: ${MAX_BODY_BYTES + 1}\r\nExpect: 100-continue`)
    expect(status).toBe(413)
    await expectUnaffected()
  })

  test('that grows too large in chunks is refused with 413 while it comes (peer S-10)', async () => {
    const socket = await openSocket(house.port)
    const answer = readAnswer(socket)
    socket.write(toHead('Transfer-Encoding: chunked'))
    const chunk = `8000\r\n${' '.repeat(0x8000)}\r\n`
    for (let sentBytes = 0; sentBytes <= MAX_BODY_BYTES; sentBytes += 0x8000) socket.write(chunk)
    expect((await answer).status).toBe(413)
    socket.destroy()
    await expectUnaffected()
  })

  test('that is exactly as large as allowed is served', async () => {
    const body = JSON.stringify(chat)
    expect((await post(body + ' '.repeat(MAX_BODY_BYTES - body.length))).status).toBe(200)
  })

  test('whose client leaves in the middle of it starts nothing', async () => {
    const socket = await openSocket(house.port)
    socket.write(`${toHead('Content-Length: 5000')}{"model":"demo",`)
    socket.resetAndDestroy()
    await expectUnaffected()
    expect(house.events.filter(({ type }) => type === 'request.started')).toHaveLength(1)
  })

  test('that is longer than announced does not become the next request', async () => {
    const smuggled = `GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1:${house.port}\r\n\r\n`
    const { status } = await post(`{}${smuggled}`, 'Content-Length: 1')
    expect(status).toBe(400)
    await expectUnaffected()
  })

  test.each([
    ['a length and chunks', 'Content-Length: 2\r\nTransfer-Encoding: chunked'],
    ['two lengths', 'Content-Length: 2\r\nContent-Length: 3'],
    ['a negative length', 'Content-Length: -1'],
    ['an encoding that is not chunked', 'Transfer-Encoding: xchunked'],
    ['a broken chunk', 'Transfer-Encoding: chunked\r\n\r\nXYZ'],
    ['a header line with a blank in its name', 'Content Length: 2'],
    ['a head of a megabyte', `X: ${'y'.repeat(2 ** 20)}`],
  ])('with %s is refused by its frame, and its connection is closed', async (_, framing) => {
    const { status } = await post('{}', framing)
    expect([400, 431]).toContain(status)
    await expectUnaffected()
  })
})

test('requests that come in one write on one connection are answered in order', async () => {
  const socket = await openSocket(house.port)
  const one = (target: string) => `GET ${target} HTTP/1.1\r\nHost: 127.0.0.1:${house.port}\r\n\r\n`
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk
  })
  socket.write(one('/nowhere') + one('/health') + one('/v1/models'))
  await expect.poll(() => text.match(/HTTP\/1\.1 \d+/g)).toHaveLength(3)
  expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 404', 'HTTP/1.1 200', 'HTTP/1.1 200'])
  socket.destroy()
})

test('an empty body of the control surface is an empty object, and anything but an object is refused', async () => {
  const stop = (body: string) =>
    fetch(`${house.url}/api/services/local/stop`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    })
  expect((await stop('')).status).toBe(200)
  for (const body of ['[]', 'null', '1', '{', '"force"']) expect((await stop(body)).status).toBe(400)
  expect((await stop(`{"x":"${'y'.repeat(70_000)}"}`)).status).toBe(413)
})

test.each(['GET', 'POST'])(
  'a service that does not exist is 404 for %s, and its name is not served back as more than text',
  async (method) => {
    const init =
      method === 'GET' ? {} : { method, headers: { 'content-type': 'application/json' }, body: '{}' }
    const path = method === 'GET' ? '' : '/start'
    const response = await fetch(`${house.url}/api/services/%3Cscript%3E${path}`, init)
    expect(response.status).toBe(404)
    expect(response.headers.get('content-type')).toMatch(/^application\/json/)
    expect(JSON.parse(await response.text()).error.message).toContain('There are: local.')
  },
)
