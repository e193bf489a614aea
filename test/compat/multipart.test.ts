import { expect, test } from 'vitest'
import { peekMultipart, rewriteMultipart } from '../../src/compat/multipart.ts'

test('a form without a model gets one before its other fields, whose bytes stay', async () => {
  const form = new FormData()
  form.set('language', 'en')
  form.set('file', new Blob([Buffer.from([0, 13, 10, 255])]), 'model.bin')
  const request = new Request('http://x', { method: 'POST', body: form })
  const type = request.headers.get('content-type') ?? ''
  const body = Buffer.from(await request.arrayBuffer())
  expect(peekMultipart(body, type)).toBeUndefined()
  const sent = Buffer.concat(rewriteMultipart(body, type, 'whisper-1'))
  const read = await new Response(sent, { headers: { 'content-type': type } }).formData()
  expect([...read.keys()]).toEqual(['model', 'language', 'file'])
  expect(read.get('model')).toBe('whisper-1')
  expect(sent.subarray(-body.length)).toEqual(body)
})

test.each(['--x--\r\n', '\r\n--x--', 'preamble\r\n--x--\r\n'])(
  'an empty form gets one, too: %j',
  async (text) => {
    const type = 'multipart/form-data; boundary=x'
    const sent = Buffer.concat(rewriteMultipart(Buffer.from(text), type, 'm'))
    expect(peekMultipart(sent, type)).toBe('m')
  },
)

test('what is no form stays as it is', () => {
  const body = Buffer.from('no delimiter')
  expect(Buffer.concat(rewriteMultipart(body, 'multipart/form-data; boundary=x', 'm'))).toEqual(body)
})

test('of several model fields the last one decides, and each is renamed', () => {
  const part = (name: string, value: string) =>
    `--x\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
  const body = (first: string, second: string) =>
    Buffer.from(`${part('model', first)}${part('file', 'abc')}${part('model', second)}--x--\r\n`)
  const type = 'multipart/form-data; boundary=x'
  expect(peekMultipart(body('a', 'b'), type)).toBe('b')
  expect(Buffer.concat(rewriteMultipart(body('a', 'b'), type, 'new')).toString()).toBe(
    body('new', 'new').toString(),
  )
})
