import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const folder = fileURLToPath(new URL('.', import.meta.url))
const concurrent = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.ts'))
  .map((file) => ({ file, text: readFileSync(folder + file, 'utf8') }))
  .filter(({ text }) => text.startsWith('// @module-tag waits'))

// vitest cannot tell which of several running tests calls a global: it fails, or takes another test.
test.each(concurrent)('$file, whose tests run concurrently, shares nothing between them', ({ text }) => {
  expect(text).not.toMatch(/\b(beforeEach|afterEach|vi)\b|^import .*\bonTestFinished\b.* from 'vitest'/m)
  const tests = text.split(/^ *(?:test|it)\b/m)
  const polling = tests.filter((one) => /expect\s*\.poll/.test(one))
  expect(polling.filter((one) => !/async \(\{[^}]*\bexpect\b/.test(one))).toEqual([])
})
