import { createHash } from 'node:crypto'
import { get, type IncomingMessage } from 'node:http'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { openHouse } from './house.ts'

/** Answers as they come: `fetch` would undo their coding. */
function ask(url: string, headers: Record<string, string>): Promise<{ head: IncomingMessage; body: Buffer }> {
  return new Promise((resolve, reject) => {
    get(url, { headers }, async (head) => {
      const parts: Buffer[] = []
      for await (const part of head) parts.push(part)
      resolve({ head, body: Buffer.concat(parts) })
    }).on('error', reject)
  })
}

test('the page is sent compressed, and not again while a browser has it', async () => {
  await using house = await openHouse({ serverUrl: 'http://127.0.0.1:9' })
  const plain = await ask(house.url, {})
  expect(plain.head.headers['content-encoding']).toBeUndefined()
  const zipped = await ask(house.url, { 'accept-encoding': 'gzip, deflate' })
  expect(zipped.head.headers['content-encoding']).toBe('gzip')
  expect(gunzipSync(zipped.body).equals(plain.body)).toBe(true)
  expect(zipped.body.length).toBeLessThanOrEqual(42_000)
  const brotli = await ask(house.url, { 'accept-encoding': 'gzip, br;q=0.9' })
  expect(brotliDecompressSync(brotli.body).equals(plain.body)).toBe(true)
  expect(brotli.body.length).toBeLessThanOrEqual(37_000)
  const refused = await ask(house.url, { 'accept-encoding': 'br;q=0, gzip' })
  expect(refused.head.headers['content-encoding']).toBe('gzip')

  const { etag = '' } = zipped.head.headers
  const again = await ask(house.url, { 'accept-encoding': 'gzip', 'if-none-match': etag })
  expect([again.head.statusCode, again.body.length]).toEqual([304, 0])
  expect(again.head.headers['content-security-policy']).toBe(zipped.head.headers['content-security-policy'])
  // Another coding is another text.
  const other = await ask(house.url, { 'accept-encoding': 'br', 'if-none-match': etag })
  expect(other.head.statusCode).toBe(200)
})

test('the policy of the page allows its later scripts, and no address', async () => {
  await using house = await openHouse({ serverUrl: 'http://127.0.0.1:9' })
  const { head } = await ask(house.url, {})
  const [, scripts] = /script-src ([^;]*);/.exec(String(head.headers['content-security-policy'])) ?? []
  expect(scripts).toMatch(/^'sha256-[^' ]+' 'sha256-[^' ]+' 'sha256-[^' ]+'$/)
  for (const name of ['views', 'tool-views']) {
    const part = await ask(`${house.url}/page/${name}.js`, {})
    expect(part.head.headers['content-type']).toBe('text/javascript; charset=utf-8')
    expect(scripts).toContain(createHash('sha256').update(part.body).digest('base64'))
    expect(part.head.headers['content-security-policy']).toContain("script-src 'none'")
  }
})

test('a large answer of the control surface is compressed for a reader that accepts it', async () => {
  await using house = await openHouse({
    serverUrl: 'http://127.0.0.1:9',
    provider: {
      localService: { command: process.execPath },
      models: Array.from({ length: 200 }, (_, index) => ({ id: `model-${index}` })),
    },
  })
  const plain = await ask(`${house.url}/api/services`, {})
  expect(plain.head.headers['content-encoding']).toBeUndefined()
  const zipped = await ask(`${house.url}/api/services`, { 'accept-encoding': 'br, gzip' })
  expect(zipped.head.headers['content-encoding']).toBe('gzip')
  const { services } = JSON.parse(gunzipSync(zipped.body).toString())
  expect(services[0].models).toHaveLength(200)
  expect(zipped.body.length).toBeLessThan(plain.body.length / 4)
  const refused = await ask(`${house.url}/api/services`, { 'accept-encoding': 'gzip;q=0' })
  expect(refused.head.headers['content-encoding']).toBeUndefined()
})
