import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { hasProcfs } from '../../src/process/tree.ts'
import { findFreePort, findMarked } from '../../src/testing/real-host.ts'
import { toText } from './library.ts'

const main = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))
const hearsSignals = fileURLToPath(new URL('../fixtures/hears-signals.mjs', import.meta.url))

/** util-linux's `script` gives a program a terminal of its own. */
const hasScript = hasProcfs && spawnSync('script', ['--version']).status === 0

test.runIf(hasScript)(
  'Ctrl-C in a terminal reaches no server, and the streams under way are drained (fault 99)',
  { timeout: 120_000 },
  async () => {
    const { terminal, stream, signals, isGone } = await serveInTerminal()
    terminal.stdin.write('\x03')
    expect(await stream).toMatch(/data: \[DONE\]\n\n$/)
    const [code] = await once(terminal, 'exit')
    expect(code).toBe(0)
    expect(await signals()).toBe('SIGTERM\n')
    await expect.poll(isGone, { timeout: 20_000 }).toBe(true)
  },
)

test.runIf(hasScript)(
  'a terminal that is closed drains the streams under way and leaves nothing (fault 100)',
  { timeout: 120_000 },
  async () => {
    const { terminal, stream, signals, isGone } = await serveInTerminal()
    terminal.kill('SIGKILL')
    expect(await stream).toMatch(/data: \[DONE\]\n\n$/)
    await expect.poll(isGone, { timeout: 60_000 }).toBe(true)
    expect(await signals()).toBe('SIGTERM\n')
  },
)

/** `leasehold serve` in a terminal, with a stream of which the first token has come. */
async function serveInTerminal() {
  const directory = await mkdtemp(join(tmpdir(), 'terminal-'))
  const port = await findFreePort()
  const config = join(directory, 'leasehold.json5')
  const heard = join(directory, 'signals')
  const mark = `TERMINAL_TEST=${port}`
  const args = [hearsSignals, heard, '--port', String(port), '--token-delay-ms', '20']
  await writeFile(config, toText(port, { service: { args, env: { TERMINAL_TEST: String(port) } } }), {
    mode: 0o600,
  })
  const command = `exec ${process.execPath} ${main} serve --port 0 --config ${config}`
  const terminal = spawn('script', ['--quiet', '--return', '--flush', '--command', command, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  onTestFinished(async () => {
    terminal.kill('SIGKILL')
    await rm(directory, { recursive: true })
  })
  let said = ''
  terminal.stdout.on('data', (chunk) => {
    said += chunk
  })
  await expect.poll(() => said, { timeout: 60_000 }).toMatch(/http:\/\/127\.0\.0\.1:\d+/)
  const [url] = /http:\/\/127\.0\.0\.1:\d+/.exec(said) ?? []
  const messages = [{ role: 'user', content: 'count to 60' }]
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'demo/demo', messages, stream: true }),
  })
  const reader = (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream()).getReader()
  let text = (await reader.read()).value ?? ''
  const readOn = async () => {
    for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value
    return text
  }
  return {
    terminal,
    stream: readOn(),
    signals: () => readFile(heard, 'utf8'),
    isGone: () => findMarked(mark).length === 0,
  }
}
