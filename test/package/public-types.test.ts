import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { listHiddenTypes } from './public-types.ts'

const root = new URL('../../', import.meta.url)

test('every type that a public declaration names is exported', async () => {
  const { exports } = JSON.parse(await readFile(new URL('package.json', root), 'utf8'))
  const entries = Object.values<{ readonly types?: string }>(exports)
    .flatMap(({ types }) => types ?? [])
    .map((file) => fileURLToPath(new URL(file, root)))
  // What is derived from the schema of a configuration has the name of the exported type that derives it.
  const hidden = listHiddenTypes(entries).filter((line) => !/ names (?:Frozen|\w+Values) \(/.test(line))
  expect(hidden).toEqual([])
})

test('a host may give undefined for every option, and knows every state', async () => {
  const tsc = fileURLToPath(new URL('node_modules/.bin/tsc', root))
  const project = fileURLToPath(new URL('./consumer', import.meta.url))
  const { stdout } = await promisify(execFile)(tsc, ['-p', project]).catch((error) => error)
  expect(stdout).toBe('')
})
