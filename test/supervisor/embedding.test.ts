import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import * as errors from '../../src/errors.ts'
import { createSupervisor } from '../../src/index.ts'
import { listLoadedSources, listPackages } from '../package/loaded-sources.ts'

const run = promisify(execFile)
const entry = fileURLToPath(new URL('../../dist/src/index.js', import.meta.url))
const config = {
  models: {
    providers: { a: { baseUrl: 'http://127.0.0.1:9/v1', apiKey: undefined, models: [{ id: 'm' }] } },
  },
}

test('a supervisor takes a plain object as its configuration, and another one in its place', async () => {
  await using supervisor = createSupervisor({ config })
  expect(supervisor.models().map(({ id }) => id)).toEqual(['a/m'])
  const next = { models: { providers: { b: { baseUrl: 'http://127.0.0.1:9/v1', models: [{ id: 'm' }] } } } }
  await supervisor.replaceConfig(next)
  expect(supervisor.models().map(({ id }) => id)).toEqual(['b/m'])
  const wrong = { models: { providers: { b: { baseUrl: 'no address', models: [] } } } }
  await expect(supervisor.replaceConfig(wrong)).rejects.toMatchObject({ code: 'LEASEHOLD_CONFIG_INVALID' })
})

test('a plain object is checked like a file', () => {
  const wrong = { models: { providers: { a: { ...config.models.providers.a, baseUrl: 'no address' } } } }
  expect(() => createSupervisor({ config: wrong })).toThrowError(
    expect.objectContaining({ code: 'LEASEHOLD_CONFIG_INVALID', file: '(object)' }),
  )
})

test('every error has a literal name, and an abort looks like one', () => {
  for (const [name, value] of Object.entries(errors)) {
    if (typeof value !== 'function' || !(value.prototype instanceof errors.LeaseholdError)) continue
    const { get } = Object.getOwnPropertyDescriptor(value.prototype, 'name') ?? {}
    expect(get?.call({})).toBe(name === 'AbortedError' ? 'AbortError' : name)
  }
})

test('a host that forgets to close its supervisor ends when nothing runs', async () => {
  const program = `
    import { createSupervisor } from ${JSON.stringify(entry)}
    createSupervisor({ config: ${JSON.stringify(config)} })
    process.on('exit', () => console.log('ends'))`
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', program], { timeout: 30_000 })
  expect(stdout).toBe('ends\n')
})

test('the core loads neither the metrics library, the gateway, the page nor the command line', async () => {
  const sources = await listLoadedSources([
    '--input-type=module',
    '-e',
    `await import(${JSON.stringify(entry)})`,
  ])
  expect(listPackages(sources)).toEqual([
    'eventsource-parser',
    'json5',
    'rxjs',
    'tslib',
    'undici',
    'xstate',
    'zod',
  ])
  expect(sources.filter((file) => /\/src\/(?:gateway|inspector|cli|testing)\//.test(file))).toEqual([])
})
