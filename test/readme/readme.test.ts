import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import { resolveModel } from '../../src/config/model-ref.ts'
import { buildPages, listHeaders } from './blocks.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const pattern = (name: string) => new RegExp(`(<!-- ${name} -->\n)([\\s\\S]*?)(<!-- /${name} -->)`)
const pages = await buildPages()
const read = (page: string) => readFileSync(join(root, page), 'utf8')

// `npm run readme` writes what this test otherwise compares.
if (process.env.WRITE_README === '1')
  for (const [page, blocks] of Object.entries(pages))
    writeFileSync(
      join(root, page),
      Object.entries(blocks).reduce(
        (text, [name, block]) =>
          text.replace(pattern(name), (_, begin, _old, end) => `${begin}${block}\n${end}`),
        read(page),
      ),
    )

const blocks = Object.entries(pages).flatMap(([page, parts]) =>
  Object.entries(parts).map(([name, block]) => ({ page, name, block })),
)

test.each(blocks)('$page says what the code says about its $name', ({ page, name, block }) => {
  expect(pattern(name).exec(read(page))?.[2]).toBe(`${block}\n`)
})

test.each(['README.md', 'src/peers/README.md', ...Object.keys(pages)])(
  'every file and section that %s links to is there',
  (page) => {
    const links = [...read(page).matchAll(/\]\((?!https?:)([^)]*)\)/g)].map(([, link = '']) => link)
    const missing = links.filter((link) => {
      const [path = '', anchor] = link.split('#')
      const file = path === '' ? join(root, page) : join(root, dirname(page), path)
      if (!existsSync(file)) return true
      return anchor !== undefined && !listAnchors(readFileSync(file, 'utf8')).includes(anchor)
    })
    expect(missing).toEqual([])
  },
)

test('the README stays under 9 KB', () => {
  expect(Buffer.byteLength(read('README.md'))).toBeLessThan(9 * 1024)
})

test('the page of the gateway has every header of ours', () => {
  const [, table = ''] = /## Headers\n([\s\S]*?)\n## /.exec(read('src/gateway/README.md')) ?? []
  expect([...table.matchAll(/^\| `(x-[a-z-]+)`/gm)].map(([, name]) => name).toSorted()).toEqual(listHeaders())
})

test('the example of a configuration is three models in at most 14 lines, and loads', () => {
  const [, example = ''] = /```json5\n(\{[\s\S]*?)```/.exec(read('README.md')) ?? []
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

const services = ['README.md', 'src/config/README.md'].flatMap((page) =>
  [...read(page).matchAll(/```json5\n(localService: [\s\S]*?)```/g)].map(([, example = '']) => ({
    page,
    example,
  })),
)

test.each(services)('the example of a service in $page is one: $example', ({ example }) => {
  const text = `{ leasehold: { budgets: { vramMiB: 24000 } }, models: { providers: { own: { ${example} } } } }`
  expect(parseConfig(text)).toMatchObject({
    problems: [],
    providers: [{ baseUrl: 'http://127.0.0.1:15800/v1' }],
  })
})

function listAnchors(text: string): readonly string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  )
}
