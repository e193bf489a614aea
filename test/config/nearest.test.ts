import { describe, expect, test } from 'vitest'
import { findNearest, isNearMiss } from '../../src/config/nearest.ts'

describe('nearest names', () => {
  test.each([
    ['baseURL', 'baseUrl', 0],
    ['basUrl', 'baseUrl', 1],
    ['bsaeUrl', 'baseUrl', 1],
    ['modle', 'models', 2],
    ['', 'api', 3],
  ])('%j is nearest to %j, %d edits away', (word, candidate, edits) => {
    expect(findNearest(word, ['somethingElse', candidate, 'anotherThing'])).toEqual({ candidate, edits })
  })

  test('without candidates there is no nearest name', () => {
    expect(findNearest('x', [])).toBeUndefined()
  })

  test('a long word may differ by more edits than a short one', () => {
    expect(isNearMiss('abc', 2)).toBe(false)
    expect(isNearMiss('inferrs/google/gemma', 5)).toBe(true)
  })

  test('a word of any length is compared by its beginning only', () => {
    expect(findNearest('x'.repeat(10_000_000), ['y', 'x'.repeat(128)])?.edits).toBe(0)
  })
})
