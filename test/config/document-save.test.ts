import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { saveDocument } from '../../src/config/document-save.ts'

const text = `// Mine.
{
  models: {
    providers: {
      a: { baseUrl: 'http://127.0.0.1:9000/v1', models: [{ id: 'm' }] }, // the first
    },
  },
}
`
const flag = (value: unknown) => ({
  path: ['models', 'providers', 'a', 'models', 0, 'compat', 'maxTokensField'],
  value,
})

let folder: string
let file: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'leasehold-save-'))
  file = join(folder, 'leasehold.json5')
  await writeFile(file, text, { mode: 0o640 })
  await chmod(file, 0o640)
})
afterEach(async () => {
  expect((await readdir(folder)).filter((name) => name.startsWith('.'))).toEqual([])
  await rm(folder, { recursive: true })
})

test('a flag is written, and comments and permissions stay', async () => {
  await saveDocument(file, [flag('max_tokens')], { expected: text })
  expect(await readFile(file, 'utf8')).toBe(
    text.replace("{ id: 'm' }", "{ id: 'm', compat: { maxTokensField: 'max_tokens' } }"),
  )
  expect((await stat(file)).mode & 0o777).toBe(0o640)
})

test('a link stays a link, and the file behind it is written', async () => {
  await mkdir(join(folder, 'real'))
  await writeFile(join(folder, 'real', 'config.json5'), text)
  const link = join(folder, 'link.json5')
  await symlink(join(folder, 'real', 'config.json5'), link)
  await saveDocument(link, [flag('max_tokens')], { expected: text })
  expect(await readFile(join(folder, 'real', 'config.json5'), 'utf8')).toContain('maxTokensField')
})

test('a file that changed meanwhile, also during the check, is left alone', async () => {
  const changed = `${text}// changed\n`
  await writeFile(file, changed)
  await expect(saveDocument(file, [flag('max_tokens')], { expected: text })).rejects.toThrow(
    /changed meanwhile/,
  )
  const { writeFileSync } = await import('node:fs')
  const check = () => {
    writeFileSync(file, text)
    return undefined
  }
  await expect(saveDocument(file, [flag('max_tokens')], { expected: changed, check })).rejects.toThrow(
    /changed meanwhile/,
  )
  expect(await readFile(file, 'utf8')).toBe(text)
})

test('a file that would be invalid, or not what was meant, is left alone', async () => {
  await expect(saveDocument(file, [flag('none')], { expected: text })).rejects.toThrow(
    /would be invalid \(models\.providers\.a\.models\[0\]\.compat\.maxTokensField/,
  )
  const check = () => 'it is not that'
  await expect(saveDocument(file, [flag('max_tokens')], { expected: text, check })).rejects.toThrow(
    /would be invalid \(it is not that\)/,
  )
  expect(await readFile(file, 'utf8')).toBe(text)
})

test("a file of OpenClaw's, and what is in an included file, is not written", async () => {
  const openClaw = text.replace('models: {', 'channels: {}, models: {')
  await writeFile(file, openClaw)
  await expect(saveDocument(file, [flag('max_tokens')], { expected: openClaw })).rejects.toThrow(/OpenClaw/)
  const included = `{ models: { $include: './models.json5' } }`
  await writeFile(join(folder, 'models.json5'), `{ providers: {} }`)
  await writeFile(file, included)
  await expect(saveDocument(file, [flag('max_tokens')], { expected: included })).rejects.toThrow(/\$include/)
  expect(await readFile(file, 'utf8')).toBe(included)
})
