import { expect, test } from 'vitest'
import { peekMultipart, rewriteMultipart } from '../../src/compat/multipart.ts'

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
