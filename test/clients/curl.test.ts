import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ask } from '../integration/library.ts'
import { hasCurl, runCurl } from './curl.ts'
import { type Doors, openDoors } from './doors.ts'

const model = 'demo/demo'
const stream = {
  model,
  messages: ask('count to 20'),
  stream: true,
  stream_options: { include_usage: true },
}

let house: Doors
let directory: string
beforeAll(async () => {
  house = await openDoors()
  directory = await mkdtemp(join(tmpdir(), 'leasehold-curl-'))
})
afterAll(async () => {
  await rm(directory, { recursive: true })
  await house[Symbol.asyncDispose]()
})

const post = (path: string, body: object, ...args: readonly string[]) =>
  runCurl(house.url + path, '--json', JSON.stringify(body), ...args)

describe.skipIf(!hasCurl)('curl, which this host must have for these tests,', () => {
  test('gets JSON', async () => {
    const { text } = await post('/v1/chat/completions', { model, messages: ask('What is 17 * 3?') })
    expect(JSON.parse(text)).toMatchObject({ choices: [{ message: { content: '17 * 3 = 51.' } }] })
  })

  test('gets a stream to the last byte as the server sends it (fault 47)', async () => {
    const args = ['--no-buffer', '--header', 'x-demo-nonce: same']
    const through = await post('/v1/chat/completions', stream, ...args)
    const direct = await runCurl(
      `http://127.0.0.1:${house.library.port}/v1/chat/completions`,
      '--json',
      JSON.stringify(stream),
      ...args,
    )
    expect(through.exitCode).toBe(0)
    expect(through.text).toMatch(/^data: .*data: \[DONE\]\n\n$/s)
    expect(withoutTime(through.text)).toBe(withoutTime(direct.text))
  })

  test('sees by its exit code that a stream broke off, after an error event', async () => {
    await using own = await openDoors()
    await own.library.supervisor.start('demo')
    await own.steer({ crashMidStreamAfter: 3 })
    const { exitCode, text } = await runCurl(
      `${own.url}/v1/chat/completions`,
      '--no-buffer',
      '--json',
      JSON.stringify(stream),
    )
    expect(exitCode).toBe(18)
    expect(text).toMatch(/\n\nevent: error\ndata: .*LEASEHOLD_SERVICE_EXITED.*\n\n$/)
    expect(text).not.toContain('[DONE]')
  })

  // Of a body this large curl first asks whether it is wanted (`Expect: 100-continue`), and here waits to be told.
  test('sends a large file as a form, the model after it, byte for byte (fault 55)', async () => {
    const bytes = randomBytes(3_000_000)
    const file = join(directory, 'speech.wav')
    await writeFile(file, bytes)
    const { text } = await runCurl(
      `${house.url}/v1/audio/transcriptions`,
      ...['--expect100-timeout', '60'],
      ...['--form', `file=@${file}`, '--form', `model=${model}`],
    )
    expect(JSON.parse(text)).toMatchObject({
      file: 'speech.wav',
      bytes: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
    })
  })

  test('gets what the server compressed as it is, and can unpack it (fault 48)', async () => {
    await using own = await openDoors({ flags: ['--gzip'] })
    const body = JSON.stringify({ model, messages: ask('count to 3') })
    const url = `${own.url}/v1/chat/completions`
    const packed = await runCurl(url, '--json', body, '--header', 'accept-encoding: gzip', '--include')
    const unpacked = await runCurl(url, '--json', body, '--compressed')
    expect(packed.text).toMatch(/\r\ncontent-encoding: gzip\r\n/i)
    expect(packed.text).toContain('\r\n\r\n\x1f\x8b')
    expect(unpacked.exitCode).toBe(0)
    expect(JSON.parse(unpacked.text)).toMatchObject({ usage: { completion_tokens: 3 } })
  })

  test('is refused a body that is not declared as JSON', async () => {
    const { text } = await runCurl(`${house.url}/v1/chat/completions`, '--data', '{}')
    expect(JSON.parse(text)).toMatchObject({ error: { code: 'LEASEHOLD_BAD_REQUEST' } })
  })

  test('gets an answer of the Anthropic API, whole and streamed', async () => {
    const body = { model, max_tokens: 100, messages: ask('count to 4') }
    const headers = ['--header', 'x-api-key: unused', '--header', 'anthropic-version: 2023-06-01']
    const whole = await post('/v1/messages', body, ...headers)
    expect(JSON.parse(whole.text)).toMatchObject({
      type: 'message',
      content: [{ type: 'text', text: '1 2 3 4' }],
      stop_reason: 'end_turn',
      usage: { output_tokens: 4 },
    })
    const { exitCode, text } = await post(
      '/v1/messages',
      { ...body, stream: true },
      '--no-buffer',
      ...headers,
    )
    expect(exitCode).toBe(0)
    const types = [...text.matchAll(/^event: (.*)$/gm)].map(([, type]) => type)
    expect([types[0], types.at(-1)]).toEqual(['message_start', 'message_stop'])
    expect([...text.matchAll(/"text_delta","text":"(.*?)"/g)].map(([, delta]) => delta).join('')).toBe(
      '1 2 3 4',
    )
  })

  test('gets documents ranked', async () => {
    const { text } = await post('/v1/rerank', {
      model,
      query: 'red wine',
      documents: ['white wine', 'red wine'],
    })
    expect(JSON.parse(text)).toMatchObject({
      results: [
        { index: 1, relevance_score: 1 },
        { index: 0, relevance_score: 0.5 },
      ],
    })
  })

  test('gets the server’s answer on an unknown path', async () => {
    const { text } = await post('/v1/whatever?a=1', { model })
    expect(JSON.parse(text)).toMatchObject({
      error: { message: expect.stringContaining('File Not Found'), code: 404 },
    })
    expect((await house.library.seen()).counts['/v1/whatever']).toBe(1)
    await house.steer({ statusOnce: { status: 200, body: 'anything at all' } })
    expect(await post('/v1/whatever', { model })).toEqual({ exitCode: 0, text: 'anything at all' })
  })
})

function withoutTime(text: string): string {
  return text.replace(/"created":\d+/g, '')
}
