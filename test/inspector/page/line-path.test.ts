import { expect, test } from 'vitest'
import { buildLinePath } from '../../../src/inspector/page/line-path.ts'

const span = { fromMs: 0, toMs: 100_000, most: 100, gapMs: 15_000 }

test('a line goes through its values, from the lower to the upper edge', () => {
  expect(
    buildLinePath(
      [
        [0, 0],
        [10_000, 100],
        [20_000, 50],
      ],
      span,
    ),
  ).toBe('M0.0 39.0L30.0 2.0L60.0 20.5')
})

test('a line has a break where nothing was sampled, where a value is unknown, and outside of its span', () => {
  const path = buildLinePath(
    [
      [-5_000, 1],
      [0, 0],
      [5_000, null],
      [10_000, 0],
      [90_000, 0],
      [100_001, 0],
    ],
    span,
  )
  expect(path.match(/[ML]/g)).toEqual(['M', 'M', 'M'])
})

test('a value beyond the upper edge stays at it, and a line without a scale is drawn at the lower edge', () => {
  expect(buildLinePath([[0, 250]], span)).toBe('M0.0 2.0')
  expect(buildLinePath([[0, 0]], { ...span, toMs: 0, most: 0 })).toBe('M0.0 39.0')
})
