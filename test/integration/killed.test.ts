import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { hasProcfs } from '../../src/process/tree.ts'
import { findFreePort, findMarked } from '../../src/testing/real-host.ts'
import { toText } from './library.ts'

const main = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))

test.skipIf(!hasProcfs).each([
  ['infer', ['infer', 'model', 'run', '--local', '--model', 'demo/demo', '--prompt', 'Hello?']],
  ['serve', ['serve', '--port', '0']],
])('%s that is ended by SIGKILL takes its model server with it', async (name, args) => {
  const port = await findFreePort()
  const file = join(tmpdir(), `killed-${port}.json5`)
  const mark = `KILLED_TEST=${port}`
  const env = { KILLED_TEST: String(port) }
  onTestFinished(() => rm(file))
  await writeFile(file, toText(port, { flags: ['--load-ms', '600000'], service: { env } }))
  const cli = spawn(process.execPath, [main, ...args, '--config', file], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  // Also when an expectation fails before it is its turn to be killed.
  onTestFinished(() => void cli.kill('SIGKILL'))
  if (name === 'serve') {
    let said = ''
    cli.stdout.on('data', (chunk) => {
      said += chunk
    })
    await expect.poll(() => said, { timeout: 10_000 }).toMatch(/\/v1\/chat/)
    const [url] = /http:\/\/127\.0\.0\.1:\d+/.exec(said) ?? []
    const body = JSON.stringify({ model: 'demo/demo', messages: [{ role: 'user', content: 'Hello?' }] })
    const headers = { 'content-type': 'application/json' }
    fetch(`${url}/v1/chat/completions`, { method: 'POST', headers, body }).catch(() => {})
  }
  await expect.poll(() => findMarked(mark), { timeout: 10_000 }).toHaveLength(1)
  cli.kill('SIGKILL')
  await once(cli, 'exit')
  await expect.poll(() => findMarked(mark), { timeout: 10_000 }).toEqual([])
})
