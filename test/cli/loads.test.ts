import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { findFreePort } from '../../src/testing/real-host.ts'
import { listLoadedSources, listPackages } from '../package/loaded-sources.ts'

const main = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))
/** What only some commands need, and takes long to load. */
const DEAR =
  /\/(?:machines\/(?:request|supervisor|provider\/chart)\.|src\/(?:supervisor|gateway|inspector|statechart|testing\/model-server\/server)\b)/

test('--version loads the argument parser and nothing else', async () => {
  const sources = await listLoadedSources([main, '--version'])
  expect(listPackages(sources)).toEqual(['commander'])
  expect(sources.filter((file) => DEAR.test(file))).toEqual([])
})

test('a command that asks a gateway loads neither undici nor what runs servers', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'leasehold-loads-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const config = join(folder, 'leasehold.json5')
  await writeFile(config, '{}')
  const gateway = `http://127.0.0.1:${await findFreePort()}`
  const sources = await listLoadedSources([main, 'status', '--config', config, '--gateway', gateway])
  expect(sources.some((file) => file.endsWith('/cli/status.ts'))).toBe(true)
  for (const name of ['undici', 'xstate', 'pino', 'prom-client'])
    expect(listPackages(sources)).not.toContain(name)
  expect(sources.filter((file) => DEAR.test(file))).toEqual([])
})
