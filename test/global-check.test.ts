import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { findCanary, keepOutput, PROVIDER_KEY } from './canary.ts'
import { setup, teardown } from './global-check.ts'

// A run within the run, with a directory of its own below that of the one that goes on.
const environment = { ...process.env }
beforeEach(setup)
afterEach(() => {
  for (const name of Object.keys(process.env)) delete process.env[name]
  Object.assign(process.env, environment)
  process.exitCode = undefined
})
const canary = () => process.env[PROVIDER_KEY] ?? ''

test('a run that leaves nothing and tells nothing passes, and its directory is gone', async () => {
  const directory = tmpdir()
  keepOutput('printed', 'demo  ready, its key is ***')
  await teardown()
  expect(existsSync(directory)).toBe(false)
})

test.each([
  'leasehold-cli-x',
  'killed-1.json5',
  'playwright_chromiumdev_profile-x',
  '.org.chromium.Chromium.x',
])('a run that leaves %s fails', async (name) => {
  mkdirSync(join(tmpdir(), name))
  await expect(teardown()).rejects.toThrow(join(tmpdir(), name))
})

test.runIf(existsSync('/proc')).each([
  ['with the environment of the run', (directory: string) => ({ env: { TMPDIR: directory }, cwd: '/' })],
  ['that works in its directory', (directory: string) => ({ env: {}, cwd: directory })],
])('a run that leaves a process %s fails', async (_, toOptions) => {
  // Its parent is gone: a child of ours would be taken for a worker.
  const { stdout } = spawnSync('/bin/sh', ['-c', 'exec 2>&- </dev/null; sleep 1000 >&- & echo $!'], {
    encoding: 'utf8',
    ...toOptions(tmpdir()),
  })
  try {
    await expect(teardown(100)).rejects.toThrow(`process ${stdout.trim()}: sleep 1000`)
  } finally {
    process.kill(Number(stdout))
  }
})

test.each([
  ['as it is', (secret: string) => `key ${secret}.`],
  ['in base64', (secret: string) => `Basic ${Buffer.from(`user:${secret}`).toString('base64')}`],
  ['in hex', (secret: string) => Buffer.from(secret).toString('hex')],
  ['in the middle of a binary file', (secret: string) => `\0\x01${secret}\xff`],
])('a run in which a secret was printed %s fails', async (_, print) => {
  keepOutput('printed', print(canary()))
  await expect(teardown()).rejects.toThrow('a secret in ')
})

test('a secret in a file of the state directory is found', async () => {
  mkdirSync(join(tmpdir(), 'state', 'owners'), { recursive: true })
  const file = join(tmpdir(), 'state', 'owners', 'x.json')
  writeFileSync(file, JSON.stringify({ key: canary() }))
  expect(findCanary(tmpdir(), canary())).toEqual([file])
  await expect(teardown()).rejects.toThrow(file)
})
