import { expect, test } from 'vitest'
import { describeState } from '../../src/explanation/naming.ts'

test('a service that is over has ended, for whatever reason', () => {
  expect(describeState('retired')).toBe('ended')
})
