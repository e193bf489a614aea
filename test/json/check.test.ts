import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BadRequestError } from '../../src/errors.ts'
import { checkJson, createJsonCheck, endsOf, maxBodyDepth } from '../../src/json/check.ts'
import { childrenOf, type JsonNode, readJson } from '../../src/json/node.ts'
import { jsonText } from '../compat/arbitraries.ts'

describe('checkJson', () => {
  test('accepts any JSON text, at any alignment in memory', () => {
    fc.assert(
      fc.property(jsonText, fc.nat(7), (text, shift) => {
        expect(() => checkJson(toBuffer(text, shift))).not.toThrow()
      }),
    )
  })

  test('accepts exactly what JSON.parse accepts, also after a random change (fault 54)', () => {
    const noise = fc.oneof(
      fc.constantFrom(
        '"',
        '\\',
        ',',
        ':',
        '{',
        '}',
        '[',
        ']',
        '0',
        '-',
        '.',
        'e',
        '+',
        '\n',
        '\u0001',
        '',
        'null',
      ),
      fc.string({ unit: 'binary', maxLength: 3 }),
    )
    fc.assert(
      fc.property(jsonText, fc.nat(), fc.nat(3), noise, (text, place, removed, inserted) => {
        const at = place % (text.length + 1)
        const changed = Buffer.from(text.slice(0, at) + inserted + text.slice(at + removed))
        expect(accepts(() => checkJson(changed))).toBe(accepts(() => JSON.parse(changed.toString())))
      }),
      { numRuns: 2000 },
    )
  })

  test.each([
    ['', /empty/],
    ['   ', /ends too early/],
    ['{', /ends too early/],
    ['{"a":1', /ends too early/],
    ['{"a":1,}', /at byte 7, a key/],
    ['{"a" 1}', /at byte 5, ":"/],
    ['{"a":1 "b":2}', /at byte 7, "," or "}"/],
    ['[1 2]', /at byte 3, "," or "\]"/],
    ['[1}', /at byte 2/],
    ['{} x', /at byte 3, the end/],
    ['"abc', /ends too early, a closing quote/],
    ['"a\nb"', /at byte 2, no raw control/],
    ['"\\x"', /at byte 2, a JSON escape/],
    ['"\\u12g4"', /at byte 5, four hex/],
    ['01', /at byte 1/],
    ['-', /a digit/],
    ['1.', /a digit/],
    ['1e', /a digit/],
    ['nul', /a value/],
    ['NaN', /a value/],
    ['\ufeff{}', /at byte 0, a value/],
  ])('refuses %j and says where', (text, message) => {
    expect(() => checkJson(Buffer.from(text))).toThrow(message)
    expect(() => checkJson(Buffer.from(text))).toThrow(BadRequestError)
  })

  test('finds a control character wherever it is in a long string', () => {
    for (let at = 1; at < 70; at++) {
      const body = Buffer.from(`"${'a'.repeat(80)}"`)
      body[at] = 0x1f
      expect(() => checkJson(body)).toThrow(`at byte ${at},`)
    }
  })

  test('refuses bytes that are not UTF-8', () => {
    expect(() => checkJson(Buffer.from([0x22, 0xff, 0x22]))).toThrow(/UTF-8/)
  })

  test('says nothing of what the body says', () => {
    expect(() => checkJson(Buffer.from('{"secret": hush}'))).toThrow(/^((?!secret|hush).)*$/)
  })

  test.each(['[]', '{"a":}'])('accepts the deepest nesting of %s and refuses one level more', (pair) => {
    const half = pair.length - 1
    const nest = (depth: number) => {
      const inner = pair === '[]' ? '' : '1'
      return Buffer.from(pair.slice(0, half).repeat(depth) + inner + pair.slice(half).repeat(depth))
    }
    expect(() => checkJson(nest(maxBodyDepth))).not.toThrow()
    expect(() => checkJson(nest(maxBodyDepth + 1))).toThrow(/deeper than 200/)
    expect(() => checkJson(nest(100_000))).toThrow(/deeper than 200/)
  })
})

describe('createJsonCheck', () => {
  /** The fault of a body that comes in these chunks. */
  const checkInChunks = (body: Buffer, cuts: readonly number[]) => {
    const check = createJsonCheck()
    let from = 0
    for (const cut of [
      ...cuts.map((place) => place % (body.length + 1)).sort((a, b) => a - b),
      body.length,
    ]) {
      check.push(body.subarray(from, cut))
      from = cut
    }
    return check.finish(body).fault?.message
  }

  test('finds in chunks what it finds in the whole, wherever it is cut', () => {
    const junk = fc.constantFrom('"', '\\', ',', ':', '}', ']', '-', '.', 'e', '\n', '\u0001', 'é', '')
    fc.assert(
      fc.property(
        jsonText,
        fc.nat(),
        junk,
        fc.array(fc.nat(), { maxLength: 8 }),
        (text, place, noise, cuts) => {
          const at = place % (text.length + 1)
          const body = Buffer.from(text.slice(0, at) + noise + text.slice(at))
          expect(checkInChunks(body, cuts)).toBe(checkInChunks(body, []))
        },
      ),
      { numRuns: 2000 },
    )
  })

  test('finds a control character wherever it is and wherever the text is cut', () => {
    for (let at = 1; at < 40; at += 1) {
      const body = Buffer.from(`"${'a'.repeat(40)}"`)
      body[at] = 0x1f
      for (const cut of [1, at, at + 1, 39]) expect(checkInChunks(body, [cut])).toContain(`at byte ${at},`)
    }
  })

  test('notes where large values end, as a reader finds it', () => {
    const large = 'word \\" '.repeat(200)
    const text = JSON.stringify({
      model: 'm',
      messages: [{ role: 'user', content: [{ text: large }] }, large],
    })
    const walked = Buffer.from(text)
    const body = Buffer.from(text)
    expect(checkInChunks(body, [7, 300, 301, 900, 2_000])).toBeUndefined()
    expect(endsOf(body).size).toBeGreaterThan(5)
    expect(spansOf(readJson(body, 0, 9))).toEqual(spansOf(readJson(walked, 0, 9)))
  })
})

/** Where each value of a tree is. */
function spansOf(node: JsonNode): readonly (readonly [number, number])[] {
  if (!('source' in node)) return []
  const isOpen = node.source[node.start] === 0x7b || node.source[node.start] === 0x5b
  const inside = isOpen ? childrenOf(node).flatMap(({ value }) => spansOf(value)) : []
  return [[node.start, node.end], ...inside]
}

function toBuffer(text: string, shift: number): Buffer {
  return Buffer.concat([Buffer.alloc(shift), Buffer.from(text)]).subarray(shift)
}

function accepts(check: () => void): boolean {
  try {
    check()
    return true
  } catch {
    return false
  }
}
