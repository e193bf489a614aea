import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { skipSpace } from '../../src/json/bytes.ts'
import {
  getMember,
  hasItemWithText,
  hasText,
  isArray,
  isObject,
  removeMember,
  setMember,
  setValue,
  toNode,
  toValue,
} from '../../src/json/edit.ts'
import { childrenOf, findMembers, type JsonNode, readJson } from '../../src/json/node.ts'
import { writePieces, writeWholePieces } from '../../src/json/pieces.ts'
import { jsonText } from '../compat/arbitraries.ts'

describe('writePieces', () => {
  test('writes a tree that was opened everywhere and changed nowhere as one piece of the source', () => {
    fc.assert(
      fc.property(jsonText, fc.nat(4), (text, levels) => {
        const source = Buffer.from(` ${text}\n`)
        const root = readJson(source, skipSpace(source, 0), levels)
        openAll(root)
        const { pieces, byteLength } = writeWholePieces(root)
        expect(pieces.map(String)).toEqual([source.toString()])
        expect(pieces[0]?.buffer).toBe(source.buffer)
        expect(byteLength).toBe(source.length)
      }),
    )
  })

  test.each([
    ['{"a":1,"b":2,"c":3}', 'a', '{"b":2,"c":3}'],
    ['{"a":1,"b":2,"c":3}', 'b', '{"a":1,"c":3}'],
    ['{"a":1,"b":2,"c":3}', 'c', '{"a":1,"b":2}'],
    ['{ "a" : 1 , "b" : 2 }', 'a', '{ "b" : 2 }'],
    ['{"a":1,"b":2,"a":3}', 'a', '{"b":2}'],
    ['{"\\u0061":1}', 'a', '{}'],
    ['{"b":2}', 'a', '{"b":2}'],
    ['{ }', 'a', '{ }'],
  ])('writes %s without %j and its comma', (text, key, expected) => {
    const root = readJson(Buffer.from(text), 0, 1)
    expect(removeMember(root, key)).toBe(text !== expected)
    expect(toText(root)).toBe(expected)
  })

  test.each([
    ['{}', '{"k":true}'],
    ['{ }', '{"k":true}'],
    ['{"a":-0 }', '{"a":-0 ,"k":true}'],
    ['{"k":1,"a":1e400,"k":2}', '{"k":true,"a":1e400,"k":true}'],
    ['{"k" : null}', '{"k" : true}'],
  ])('writes %s with a member set', (text, expected) => {
    const root = readJson(Buffer.from(text), 0, 1)
    expect(setValue(root, 'k', true)).toBe(true)
    expect(toText(root)).toBe(expected)
    expect(setValue(root, 'k', true)).toBe(false)
  })

  test('writes an array with items inserted and removed', () => {
    const root = readJson(Buffer.from('[1, -0 ,3]'), 0, 0)
    const items = childrenOf(root)
    items.splice(0, 1, { key: '', value: toNode('x') })
    items.push({ key: '', value: toNode([]) })
    expect(toText(root)).toBe('["x", -0 ,3,[]]')
  })

  test.each(['[1]', '[ 1 ]', '["",2]'])('writes %s without its items', (text) => {
    const root = readJson(Buffer.from(text), 0, 0)
    childrenOf(root).splice(0)
    expect(toText(root)).toBe('[]')
  })

  test('a value that equals the wanted one keeps its own spelling', () => {
    const root = readJson(Buffer.from('{"a":"\\u0061","n":1.0}'), 0, 1)
    expect(setValue(root, 'a', 'a') || setValue(root, 'n', 1)).toBe(false)
    expect(toText(root)).toBe('{"a":"\\u0061","n":1.0}')
  })

  test('a changed value is read as it is now', () => {
    const root = readJson(Buffer.from('{"a":{"b":1}}'), 0, 2)
    const inner = childrenOf(root)[0]?.value ?? root
    setMember(inner, 'b', toNode(2))
    expect(toValue(root)).toEqual({ a: { b: 2 } })
  })
})

describe('readJson', () => {
  test.each(['{"a":1', '{"a"', '[{}', '"a', '{"a":[1,', '', '{"a":}'])(
    'refuses %j, however deep it looks',
    (text) => {
      for (const levels of [0, 1, 5]) {
        expect(() => {
          const root = readJson(Buffer.from(text), 0, levels)
          if (text.startsWith('{')) childrenOf(root)
        }).toThrow(/not valid JSON at byte/)
      }
    },
  )

  test('finds the members that JSON.parse finds, whatever is escaped in them and however long they are', () => {
    const filler = fc.nat(70).map((length) => 'x'.repeat(length))
    const texts = fc.oneof(fc.string(), fc.constantFrom('a', 'b', 'role', 'é', '\\', '"', '\\"', '\u0000'))
    const key = fc.tuple(texts, filler).map((parts) => parts.join(''))
    const value = fc.oneof(key, fc.array(key), fc.integer(), fc.constant(null))
    fc.assert(
      fc.property(fc.array(fc.tuple(key, value), { minLength: 1 }), fc.boolean(), (members, isEscaped) => {
        const plain = `{${members.map(([k, v]) => `${JSON.stringify(k)}:${JSON.stringify(v)}`).join(',')}}`
        const text = isEscaped ? plain.replaceAll('o', '\\u006f') : plain
        const source = Buffer.from(text)
        const names = members.map(([name]) => name)
        const found = findMembers(source, 0, names)
        const root = readJson(source, 0, 1)
        const wanted = new Map<string, unknown>(members)
        for (const [index, name] of names.entries()) {
          // Of a name that was asked for twice the first place is filled.
          if (names.indexOf(name) !== index) continue
          expect(toValue(found[index])).toEqual(wanted.get(name))
          expect(toValue(getMember(root, name))).toEqual(wanted.get(name))
          expect(hasText(root, name, 'role')).toBe(wanted.get(name) === 'role')
          expect(hasText(root, name, 'a')).toBe(wanted.get(name) === 'a')
        }
      }),
    )
  })

  test.each([
    ['[{"role":"user"},{"role":"developer"}]', true],
    ['[{"role":"user"},{"role":"d\\u0065veloper"}]', true],
    ['[ {"a":[{"role":"developer"}]} , "developer" , {} , [] , {"role":["developer"]} ]', false],
    ['[{"role":"developer","role":"user"}]', false],
    ['[{"role":"user","role":"developer"}]', true],
    ['{"role":"developer"}', false],
    ['[]', false],
  ])('finds an item by a text in %s: %s, opened or not', (text, isThere) => {
    const source = Buffer.from(text)
    for (const levels of [0, 3])
      expect(hasItemWithText(readJson(source, 0, levels), 'role', 'developer')).toBe(isThere)
  })

  test('refuses to open more values than any conversation has', () => {
    const body = Buffer.from(`[{}${',1'.repeat(500_000)}]`)
    expect(() => readJson(body, 0, 1)).toThrow(/more than 500000 values/)
    expect(readJson(body, 0, 0).end).toBe(body.length)
  })
})

function openAll(node: JsonNode): void {
  if ('text' in node || !(isObject(node) || isArray(node))) return
  for (const { value } of childrenOf(node)) openAll(value)
}

function toText(node: JsonNode): string {
  return Buffer.concat(writePieces(node).pieces).toString()
}
