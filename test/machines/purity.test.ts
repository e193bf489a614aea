import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'

const folder = new URL('../../machines/', import.meta.url)
const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
  file.endsWith('.ts'),
)

describe.each(files)('machines/%s', (file) => {
  const code = readFileSync(new URL(file, folder), 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')

  test('imports only xstate and files of machines/', () => {
    const imported = [...code.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'([^']+)'/g)].map(
      ([, path]) => path ?? '',
    )
    const isInside = (path: string) =>
      path.startsWith('.') && new URL(path, new URL(file, folder)).href.startsWith(folder.href)
    expect(imported.filter((path) => path !== 'xstate' && !isInside(path))).toEqual([])
  })

  test('knows no clock, no process and no console', () => {
    // The effect called `process` and the events called `process.exited` are none of this.
    const impure =
      /\b(?:Date|console|performance|crypto|fetch|globalThis|setTimeout|setInterval|setImmediate)\s*[.(]|\bMath\.random\b|(?<!')\bprocess\.\w/g
    expect(code.match(impure) ?? []).toEqual([])
  })
})
