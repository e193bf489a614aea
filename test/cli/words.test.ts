import { expect, test } from 'vitest'
import { toStateText } from '../../src/cli/words.ts'

test('a service that is over has ended, for whatever reason', () => {
  expect(toStateText('retired')).toBe('ended')
})
