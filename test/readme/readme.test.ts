import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import { resolveModel } from '../../src/config/model-ref.ts'
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

test('the example of a configuration is three models in at most 14 lines, and loads', () => {
  const [, example = ''] = /```json5\n(\{[\s\S]*?)```/.exec(readme) ?? []
  expect(example.trim().split('\n').length).toBeLessThanOrEqual(14)
  const config = parseConfig(example)
  expect(config.problems).toEqual([])
  expect(config.providers).toHaveLength(3)
  expect(new Set(config.providers.map(({ baseUrl }) => baseUrl)).size).toBe(3)
  for (const { localService } of config.providers) expect(localService?.idleStopMs).toBe(600_000)
  expect(
    ['gpt-4o', undefined, 'qwen3-8b-exact', 'gemma'].map((ref) => resolveModel(config, ref).upstreamId),
  ).toEqual(['qwen3-8b', 'qwen3-8b', 'qwen3-8b', 'gemma'])
})

test('the example of a service without an engine is one', () => {
  const [, example = ''] = /```json5\n(localService: [\s\S]*?)```/.exec(readme) ?? []
  expect(parseConfig(`{ models: { providers: { own: { ${example} } } } }`)).toMatchObject({
    problems: [],
    providers: [{ baseUrl: 'http://127.0.0.1:15800/v1' }],
  })
})
