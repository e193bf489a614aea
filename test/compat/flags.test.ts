import { expect, test } from 'vitest'
import { toInertFlags } from '../../src/compat/flags.ts'

test('names the flags that are set and have no effect', () => {
  expect(toInertFlags({ supportsTools: false, requiresStringContent: true })).toEqual([])
  expect(
    toInertFlags({ codeMode: false, nativeWebSearchTool: undefined, supportsInstructions: true }),
  ).toEqual(['supportsInstructions', 'codeMode'])
})
