import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createScrubber } from '../../src/text/scrubber.ts'

const secret = 'sk-canary/4711+"äß?&'
const spellings: readonly (readonly [string, (text: string) => string])[] = [
  ['as it is', (text) => text],
  ['in a URL', (text) => encodeURIComponent(text)],
  ['in a URL, in small letters', (text) => encodeURIComponent(text).replace(/%../g, (x) => x.toLowerCase())],
  ['in a form', (text) => new URLSearchParams({ x: text }).toString()],
  ['in JSON', (text) => JSON.stringify({ x: text })],
  ['in base64', (text) => Buffer.from(text).toString('base64')],
  ['in base64url', (text) => Buffer.from(text).toString('base64url')],
  ['in Basic authorization', (text) => Buffer.from(`user:${text}`).toString('base64')],
  ['in base64 after two bytes, before others', (text) => Buffer.from(`ab${text}cd`).toString('base64')],
  ['in hex', (text) => Buffer.from(text).toString('hex')],
]

describe('a secret', () => {
  test.each(spellings)('%s is taken out (fault 115)', (_, spell) => {
    const { text } = createScrubber([secret])
    const spelled = spell(secret)
    const scrubbed = text(`before ${spelled} after ${spelled}`)
    expect(scrubbed).toMatch(/^before .*\*\*\*.* after .*\*\*\*.*$/)
    expect(scrubbed).not.toContain('canary')
    expect(scrubbed).not.toContain(Buffer.from('canary/4711').toString('base64').slice(3, -3))
  })

  test('of any kind leaves nothing of eight characters in any spelling (fault 115, promise P19)', () => {
    const key = fc.string({ minLength: 8, maxLength: 60, unit: 'binary' })
    fc.assert(
      fc.property(key, fc.string(), fc.nat(2), (value, before, offset) => {
        const { text } = createScrubber([value])
        for (const spell of [
          (x: string) => x,
          (x: string) => JSON.stringify(x).slice(1, -1),
          (x: string) => Buffer.from('x'.repeat(offset) + x).toString('base64'),
        ]) {
          const core = spell(value)
          expect(text(`${before}${core}`)).not.toContain(core)
        }
      }),
    )
  })

  test('of seven characters is none', () => {
    expect(createScrubber(['secret7']).text('a secret7')).toBe('a secret7')
  })

  test('that begins like another one is taken out whole', () => {
    expect(createScrubber(['password', 'password-of-bob']).text('x password-of-bob')).toBe('x ***')
  })

  test('that is learnt later is taken out from then on, and earlier ones still are', () => {
    const scrubber = createScrubber(['first-secret'])
    scrubber.learn(['second-secret'])
    expect(scrubber.text('first-secret second-secret')).toBe('*** ***')
  })
})

describe('JSON', () => {
  test('is scrubbed in every text of it, and is the same object when nothing was found', () => {
    const { value } = createScrubber(['the-secret'])
    const clean = { a: ['b', { c: 1, d: null, e: 'x\ty\nz' }] }
    expect(value(clean)).toBe(clean)
    expect(value({ a: ['the-secret', { b: '\x1b[31mx\u202e the-secret' }], c: 1 })).toEqual({
      a: ['***', { b: 'x ***' }],
      c: 1,
    })
  })
})
