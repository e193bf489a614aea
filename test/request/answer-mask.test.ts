import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { toAnswerSecrets } from '../../src/request/answer-mask.ts'

const key = 'sk-quoted-1234567890'
const stars = '*'.repeat(key.length)

function read(secrets: readonly string[], chunks: readonly Buffer[]): string[] {
  const mask = toAnswerSecrets(secrets)?.openBody()
  if (mask === undefined) throw new Error('There is a secret.')
  return [...chunks.map((chunk) => mask.push(chunk)), mask.end()].map((bytes) => bytes.toString('latin1'))
}

describe('the mask of an answer', () => {
  test('overwrites a key at each place where the network may split it (fault 115)', () => {
    const text = Buffer.from(`data: {"error":"bad key ${key}"}\n\ndata: ${key}${key}\n\n`)
    for (let at = 0; at <= text.length; at += 1) {
      const parts = read([key], [text.subarray(0, at), text.subarray(at)])
      expect(parts.join('')).toBe(`data: {"error":"bad key ${stars}"}\n\ndata: ${stars}${stars}\n\n`)
    }
  })

  test('says the same whatever the pieces are, and changes nothing else', () => {
    const secrets = ['abcabcab1', 'ab-ab-ab-ab-1', 'caba"äba']
    const word = fc.constantFrom(...secrets, 'abcabc', 'ab-ab-', 'ca', 'b', '"', '\n\n', 'xyz', 'ä')
    fc.assert(
      fc.property(fc.array(word), fc.array(fc.nat(12)), (words, sizes) => {
        const body = Buffer.from(words.join(''))
        const chunks: Buffer[] = []
        let from = 0
        for (const size of sizes) {
          chunks.push(body.subarray(from, from + size))
          from += size
        }
        const given = Buffer.from(body)
        const whole = read(secrets, [body]).join('')
        expect(read(secrets, [...chunks, body.subarray(from)]).join('')).toBe(whole)
        expect(whole).toHaveLength(body.length)
        for (const secret of secrets) expect(whole).not.toContain(Buffer.from(secret).toString('latin1'))
        // The chunks belong to the connection.
        expect(body.equals(given)).toBe(true)
      }),
    )
  })

  test('passes a chunk without a secret on as it is, and holds only what may be its beginning', () => {
    const mask = toAnswerSecrets([key])?.openBody()
    const event = Buffer.from('data: {"choices":[{"delta":{"content":"sk-quoted"}}]}\n\n')
    expect(mask?.push(event)).toBe(event)
    expect(mask?.push(Buffer.from('data: sk-quoted-12')).toString()).toBe('data: ')
    expect(mask?.push(Buffer.from('!')).toString()).toBe('sk-quoted-12!')
    expect(mask?.push(Buffer.from('ends in sk')).toString()).toBe('ends in ')
    expect(mask?.end().toString()).toBe('sk')
  })

  test('knows a key as JSON and as a URL spell it', () => {
    const odd = 'pass/word"1\\'
    const text = `${JSON.stringify(odd)} ${encodeURIComponent(odd)}`
    expect(read([odd], [Buffer.from(text)]).join('')).toMatch(/^"\*+" \*+$/)
  })

  test('is absent where there is no secret', () => {
    expect(toAnswerSecrets([])).toBeUndefined()
  })
})
