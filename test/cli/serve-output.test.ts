import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync } from 'node:fs'
import { expect, onTestFinished, test } from 'vitest'
import { createPlace, launch, type Place, program } from './command-line.ts'

/** Starts a gateway whose output goes somewhere else than to this test, and waits until it answers. */
async function serve(
  place: Place,
  args: readonly string[],
  stdout: 'pipe' | number,
  stderr: 'pipe' | number,
) {
  place.configure()
  const child = spawn(process.execPath, [program, 'serve', ...args], {
    cwd: place.folder,
    env: { PATH: process.env.PATH, HOME: place.folder, XDG_STATE_HOME: `${place.folder}/state` },
    stdio: ['ignore', stdout, stderr],
  })
  await expect.poll(() => isHealthy(place), { timeout: 20_000 }).toBe(true)
  return child
}

function isHealthy({ gatewayPort }: Place): Promise<boolean> {
  return fetch(`http://127.0.0.1:${gatewayPort}/health`).then(
    ({ ok }) => ok,
    () => false,
  )
}

async function ask({ gatewayPort }: Place, query = ''): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${gatewayPort}/v1/chat/completions${query}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'demo/sums', messages: [{ role: 'user', content: '1 + 1' }] }),
  })
  await response.text()
  return response.status
}

async function end(child: ChildProcess) {
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  const [code] = await ended
  return code
}

test.skipIf(!existsSync('/dev/full'))(
  'a gateway whose output goes to a full disk serves, and SIGTERM ends it as ever',
  async () => {
    await using place = await createPlace()
    const full = openSync('/dev/full', 'w')
    const gateway = await serve(place, ['--log-level', 'debug'], full, full)
    closeSync(full)
    expect(await ask(place)).toBe(200)
    expect(await end(gateway)).toBe(0)
    expect(place.strays()).toEqual([])
  },
)

test('a gateway with an unread output serves, and SIGTERM ends it as ever', async () => {
  await using place = await createPlace()
  const gateway = await serve(place, ['--json', '--log-level', 'debug'], 'pipe', 'pipe')
  // Several times what a pipe holds.
  const query = `/${'x'.repeat(200)}`
  for (let round = 0; round < 150; round += 1) await ask(place, round % 2 === 0 ? '' : query)
  expect(await isHealthy(place)).toBe(true)
  expect(await end(gateway)).toBe(0)
  expect(place.strays()).toEqual([])
})

test('a reader of events that leaves early has what it wants', async () => {
  await using place = await createPlace()
  const gateway = await serve(place, [], 'ignore' as never, 'ignore' as never)
  expect(await ask(place)).toBe(200)
  const line = `"${process.execPath}" "${program}" events --follow --last 5 | head -1; echo "code \${PIPESTATUS[0]}"`
  const reader = launch('bash', ['-c', line], { cwd: place.folder, env: process.env })
  let hasEnded = false
  void reader.ended.then(() => {
    hasEnded = true
  })
  // Only a write tells that the reader has left.
  while (!hasEnded) await ask(place)
  const { stdout } = await reader.ended
  expect(stdout).toMatch(/code 0\n$/)
  expect(await end(gateway)).toBe(0)
})

/** `script` gives a program a terminal of its own, and passes on what is typed. */
const hasScript = spawnSync('script', ['--version']).status === 0

test.skipIf(!hasScript)(
  'a gateway whose terminal is stopped with Ctrl-S serves, and SIGTERM ends it as ever',
  async () => {
    await using place = await createPlace()
    place.configure()
    const line = `echo "pid $$"; exec "${process.execPath}" "${program}" serve --log-level debug`
    const env = { PATH: process.env.PATH, HOME: place.folder, XDG_STATE_HOME: `${place.folder}/state` }
    const terminal = spawn('script', ['--quiet', '--command', line, '/dev/null'], { cwd: place.folder, env })
    const ended = once(terminal, 'exit')
    let shown = ''
    terminal.stdout.setEncoding('utf8').on('data', (text) => {
      shown += text
    })
    await expect.poll(() => isHealthy(place), { timeout: 20_000 }).toBe(true)
    const pid = Number(/pid (\d+)/.exec(shown)?.[1])
    onTestFinished(() => {
      // A frozen gateway would stay.
      if (terminal.exitCode === null) process.kill(pid, 'SIGKILL')
    })
    terminal.stdin.write('\x13')
    const query = `/${'x'.repeat(200)}`
    for (let round = 0; round < 50; round += 1) await ask(place, round % 2 === 0 ? '' : query)
    const shownBefore = shown
    expect(await ask(place)).toBe(200)
    expect(shown).toBe(shownBefore)
    process.kill(pid, 'SIGTERM')
    await expect.poll(() => existsSync(`/proc/${pid}`), { timeout: 20_000 }).toBe(false)
    expect(place.strays()).toEqual([])
    terminal.stdin.end()
    expect(await ended).toEqual([0, null])
  },
)
