import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { findFreePort } from '../../src/testing/real-host.ts'
import { ask, type LibraryOptions, toText } from '../integration/library.ts'

let directory = ''
let config = ''
const run: { child?: ChildProcess } = {}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'leasehold-examples-'))
  config = join(directory, 'leasehold.json5')
})
beforeEach(() => configure())

afterAll(async () => {
  run.child?.kill('SIGKILL')
  await rm(directory, { recursive: true })
})

describe('each example runs to its end by itself', () => {
  test('a drop-in fetch', async () => {
    expect(await play('drop-in-fetch')).toBe('1 2 3 4 5 6 7 8 9\n')
  })

  test('holding a lease', async () => {
    expect(await play('hold-a-lease')).toBe('2 embeddings from a server of ours\n')
  })

  test('watching events', async () => {
    const lines = (await play('watch-events')).trimEnd().split('\n')
    expect(lines.slice(0, 2)).toEqual(['demo: down.cold -> probing', 'demo: probing -> starting.claiming'])
    expect(lines).toContainEqual(expect.stringMatching(/^demo runs as process \d+$/))
    expect(lines).toContain('demo: 0 survivors')
    expect(lines.at(-1)).toBe('closed')
  })

  test('matching errors', async () => {
    expect(await play('match-errors')).toBe('it starts\n')
    await configure({ flags: ['--fail-load', 'exit'], leasehold: { backoffMs: 1_500 } })
    const failed = await play('match-errors')
    expect(failed).toMatch(/^exit code 1, last words:\n(?: {2}.+\n)+try again in 1500 ms\n$/)
    expect(failed).toContain('failed to load model')
  })

  test('embedding the gateway', async () => {
    const { child } = start('embed-the-gateway')
    const lines = createInterface(child.stdout)
    const [first = ''] = await once(lines, 'line')
    const [, url] = /^listening on (http:\S+)$/.exec(first) ?? []
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'demo/demo', messages: ask('What is 17 * 3?') }),
    })
    expect(await response.text()).toContain('17 * 3 = 51.')
    child.kill('SIGTERM')
    const [[last], [code]] = await Promise.all([once(lines, 'line'), once(child, 'close')])
    expect({ last, code }).toEqual({ last: 'everything is stopped', code: 0 })
  })
})

test.each(['drop-in-fetch', 'hold-a-lease', 'watch-events', 'match-errors', 'embed-the-gateway'])(
  '%s is a whole program of fewer than 50 lines',
  async (name) => {
    const text = await readFile(toPath(name), 'utf8')
    expect(text.split('\n').length).toBeLessThan(50)
    expect(text).toMatch(/ from 'leasehold'$/m)
  },
)

async function configure(options?: LibraryOptions): Promise<void> {
  await writeFile(config, toText(await findFreePort(), options))
}

/** Runs an example until it ends by itself, and gives what it printed. */
async function play(name: string): Promise<string> {
  const { child, errors } = start(name)
  let printed = ''
  child.stdout.on('data', (chunk) => {
    printed += chunk
  })
  const [code] = await once(child, 'close')
  expect({ code, errors: errors() }).toEqual({ code: 0, errors: '' })
  return printed
}

function start(name: string) {
  const child = spawn(process.execPath, [toPath(name), config], { stdio: ['ignore', 'pipe', 'pipe'] })
  run.child = child
  let errors = ''
  child.stderr.on('data', (chunk) => {
    errors += chunk
  })
  return { child, errors: () => errors }
}

function toPath(name: string): string {
  return fileURLToPath(new URL(`${name}.mjs`, import.meta.url))
}
