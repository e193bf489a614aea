import { expect, test } from 'vitest'
import { formatRoute, parseRoute } from '../../../src/inspector/page/route.ts'

test('an address names a view and a selection, whatever the name contains', () => {
  for (const id of ['qwen3-8b', 'a/b', 'ü %', '#', '..'])
    expect(parseRoute(formatRoute('service', id))).toEqual({ view: 'service', id })
  expect(parseRoute('')).toEqual({ view: 'overview', id: null })
  expect(parseRoute('#/timeline')).toEqual({ view: 'timeline', id: null })
  expect(parseRoute(formatRoute('overview'))).toEqual({ view: 'overview', id: null })
})

test('an address that names no view is the overview', () => {
  expect(parseRoute('#/service')).toEqual({ view: 'overview', id: null })
  expect(parseRoute('#/nowhere/x').view).toBe('overview')
  expect(parseRoute('#/service/%E0%A4%A').id).toBe('%E0%A4%A')
})
