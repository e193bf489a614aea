import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import { createGateway } from '../../src/gateway/index.ts'
import { createSupervisor } from '../../src/index.ts'
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

test.runIf(hasScript)(
  'status --watch fills the window and no more, follows its size, and Ctrl-C leaves the terminal as it was',
  { timeout: 240_000 },
  async () => {
    const { terminal, tty, screen, said } = await watchInTerminal({ rows: 6, columns: 40, services: 9 })
    await expect.poll(() => screen().at(-1), { timeout: 60_000 }).toBe('… and 5 more: make the window larger')
    expect(screen()).toHaveLength(6)
    expect(screen()[1]).toMatch(/^service-1-with-a-name-that-is-long/)
    for (const line of screen()) expect(line.length).toBeLessThanOrEqual(40)
    expect(screen()[0]).toMatch(/…$/)

    spawnSync('stty', ['-F', tty, 'rows', '12', 'cols', '200'])
    await expect.poll(() => screen().length, { timeout: 60_000 }).toBe(10)
    expect(screen()[0]).toMatch(/^SERVICE +STATE +FOR +RUN BY +PID +MEMORY +LEASES +QUEUE +NEXT +MODELS$/)
    expect(screen()[9]).toMatch(/^service-9-with-a-name-that-is-longer-than-most {2}down /)

    terminal.stdin.write('\x03')
    const [code] = await once(terminal, 'exit')
    expect(code).toBe(130)
    expect(said().startsWith(`${tty}\r\n\x1b[?1049h\x1b[?25l`)).toBe(true)
    expect(said().endsWith('\x1b[?7h\x1b[?25h\x1b[?1049l')).toBe(true)
  },
)

/** `leasehold status --watch` in a window of a size, of a gateway of which nothing runs. */
async function watchInTerminal(size: {
  readonly rows: number
  readonly columns: number
  readonly services: number
}) {
  const ids = Array.from({ length: size.services }, (_, index) => index + 1)
  const providers = ids.map((id) => [
    `service-${id}-with-a-name-that-is-longer-than-most`,
    { baseUrl: `http://127.0.0.1:${id}/v1`, models: [{ id: 'm' }] },
  ])
  const config = parseConfig(
    JSON.stringify({ models: { providers: Object.fromEntries(providers) }, leasehold: { port: 0 } }),
  )
  const supervisor = createSupervisor({ config })
  const gateway = createGateway({ supervisor })
  const { url } = await gateway.listen()
  const command = `stty rows ${size.rows} cols ${size.columns}; tty; exec ${process.execPath} ${main} status --watch --config builtin:demo --gateway ${url}`
  const terminal = spawn('script', ['--quiet', '--return', '--flush', '--command', command, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, NO_COLOR: '1', TERM: 'xterm' },
  })
  onTestFinished(async () => {
    terminal.kill('SIGKILL')
    await gateway.close()
    await supervisor.close({ force: true })
  })
  let said = ''
  terminal.stdout.on('data', (chunk) => {
    said += chunk
  })
  await expect.poll(() => said, { timeout: 60_000 }).toContain('\x1b[J')
  const [tty = ''] = /^\S+/.exec(said) ?? []
  return {
    terminal,
    tty,
    said: () => said,
    /** The lines of the last look that is there whole. */
    screen: () => {
      const [last = ''] = said.split('\x1b[J').slice(-2)
      return last
        .slice(last.lastIndexOf('\x1b[H') + 3)
        .split('\r\n')
        .map((line) => line.replace('\x1b[K', ''))
    },
  }
}

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
