import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import * as errors from '../../src/errors.ts'
import { createSupervisor } from '../../src/index.ts'

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
  const sources = await listLoadedSources(entry)
  const packages = sources.flatMap((file) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? [])
  expect([...new Set(packages)].sort()).toEqual([
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

/** Every file that an import loads: a bundled one by the names of its sources. */
async function listLoadedSources(file: string): Promise<string[]> {
  const directory = await mkdtemp(join(tmpdir(), 'leasehold-loaded-'))
  onTestFinished(() => rm(directory, { recursive: true }))
  // A coverage report names every script that was loaded.
  await run(process.execPath, ['--input-type=module', '-e', `await import(${JSON.stringify(file)})`], {
    env: { ...process.env, NODE_V8_COVERAGE: directory },
    timeout: 30_000,
  })
  const [report = ''] = await readdir(directory)
  const { result } = JSON.parse(await readFile(join(directory, report), 'utf8'))
  const urls: string[] = result.map(({ url }: { readonly url: string }) => url)
  const files = urls.filter((url) => url.startsWith('file:')).map((url) => fileURLToPath(url))
  const sources = await Promise.all(
    files.map(async (path) => {
      const map: { readonly sources: readonly string[] } | undefined = await readFile(`${path}.map`, 'utf8')
        .then(JSON.parse)
        .catch(() => undefined)
      return map === undefined ? [path] : map.sources.map((source) => join(path, '..', source))
    }),
  )
  return sources.flat()
}
