import { readdirSync, readFileSync } from 'node:fs'
import JSON5 from 'json5'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { buildScriptSchema, parseScript } from '../../src/testing/script.ts'

interface Fields {
  readonly description?: string
  readonly properties?: Readonly<Record<string, Fields>>
  readonly items?: Fields
}

const folder = new URL('../scripts/', import.meta.url)
const scripts = readdirSync(folder)
  .filter((file) => file.endsWith('.json5'))
  .map((file) => readFileSync(new URL(file, folder), 'utf8'))
const schema = z.fromJSONSchema(JSON.parse(JSON.stringify(buildScriptSchema())))
const isOk = (text: string) => {
  try {
    parseScript(text)
    return true
  } catch {
    return false
  }
}

test('the schema takes every script', () => {
  expect(scripts.length).toBeGreaterThan(100)
  expect(scripts.filter((text) => !schema.safeParse(JSON5.parse(text)).success)).toEqual([])
})

test('the schema takes a changed script exactly when the parser does', () => {
  const some = scripts.filter((_, index) => index % 6 === 0)
  const verdicts = some.flatMap((text) =>
    listChanges(JSON5.parse(text)).map((changed) => ({
      changed,
      bySchema: schema.safeParse(changed).success,
      byParser: isOk(JSON.stringify(changed)),
    })),
  )
  expect(verdicts.filter(({ bySchema, byParser }) => bySchema !== byParser)).toEqual([])
  expect(verdicts.filter(({ byParser }) => !byParser).length).toBeGreaterThan(500)
})

test('every field of the schema has a description, and every time its unit', () => {
  const { service, world, steps } = buildScriptSchema().properties as Record<string, Fields>
  const fields = [service, world, steps?.items].flatMap((part) => Object.entries(part?.properties ?? {}))
  expect(fields.length).toBeGreaterThan(50)
  expect(fields.filter(([, { description }]) => !description)).toEqual([])
  const times = fields.filter(([name]) => name.endsWith('Ms') || name === 'at')
  expect(times.filter(([, { description }]) => !description?.includes('milliseconds'))).toEqual([])
})

/** The script with one field of one object spelled wrongly, left out, or of another type. */
function listChanges(script: unknown): unknown[] {
  const changes: unknown[] = []
  const visit = (value: unknown, replace: (next: unknown) => unknown) => {
    if (Array.isArray(value))
      for (const [index, inner] of value.entries())
        visit(inner, (next) => replace(value.map((one, at) => (at === index ? next : one))))
    else if (typeof value === 'object' && value !== null)
      for (const [key, inner] of Object.entries(value)) {
        const { [key]: _left, ...rest } = value as Record<string, unknown>
        changes.push(replace(rest), replace({ ...rest, [`${key}x`]: inner }))
        changes.push(replace({ ...value, [key]: -1 }), replace({ ...value, [key]: { type: 'no' } }))
        visit(inner, (next) => replace({ ...value, [key]: next }))
      }
  }
  visit(script, (next) => next)
  return changes
}
