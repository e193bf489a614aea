import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { toBlocks } from './blocks.ts'

const file = fileURLToPath(new URL('../../README.md', import.meta.url))
const pattern = (name: string) => new RegExp(`(<!-- ${name} -->\n)([\\s\\S]*?)(\n<!-- /${name} -->)`)

// `npm run readme` writes what this test otherwise compares.
if (process.env.WRITE_README === '1') {
  const written = Object.entries(toBlocks()).reduce(
    (text, [name, block]) => text.replace(pattern(name), (_, begin, _old, end) => begin + block + end),
    readFileSync(file, 'utf8'),
  )
  writeFileSync(file, written)
}

const readme = readFileSync(file, 'utf8')

test.each(Object.entries(toBlocks()))('the README says what the code says about its %s', (name, block) => {
  expect(pattern(name).exec(readme)?.[2]).toBe(block)
})

test('what is written by hand in the README stays under 200 lines', () => {
  const byHand = Object.keys(toBlocks()).reduce((text, name) => text.replace(pattern(name), ''), readme)
  expect(byHand.split('\n').length).toBeLessThan(200)
})
