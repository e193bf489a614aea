import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { findFreePort } from '../../src/testing/real-host.ts'

const program = fileURLToPath(new URL('../../dist/src/testing/demo-server.js', import.meta.url))

/** A demo server that keeps a journal, and a look into it. */
async function startWithJournal(...flags: string[]) {
  const directory = await mkdtemp(join(tmpdir(), 'journal-'))
  const port = await findFreePort()
  const args = [program, '--port', String(port), '--journal', join(directory, 'of', 'it'), ...flags]
  const child = spawn(process.execPath, args, { stdio: 'ignore' })
  const exited = once(child, 'exit')
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await exited
    await rm(directory, { recursive: true })
  })
  const url = `http://127.0.0.1:${port}`
  const isUp = () =>
    fetch(`${url}/health`).then(
      ({ ok }) => ok,
      () => false,
    )
  await expect.poll(isUp, { timeout: 20_000 }).toBe(true)
  const ask = (nonce: string, body: Readonly<Record<string, unknown>>) =>
    fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-demo-nonce': nonce },
      body: JSON.stringify({ messages: [{ role: 'user', content: 'count to 20' }], ...body }),
    })
  const lines = async () => {
    const [file = ''] = await readdir(join(directory, 'of', 'it'))
    const text = await readFile(join(directory, 'of', 'it', file), 'utf8')
    return text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
  }
  return { ask, lines, exited }
}

test('a journal has the begin and the end of every execution, with the digest of what was sent', async () => {
  const { ask, lines } = await startWithJournal()
  const whole = await (await ask('one', {})).text()
  const stream = await (await ask('two', { stream: true })).text()
  await expect.poll(lines).toMatchObject([
    { at: 'begin', nonce: 'one', execution: 1, path: '/v1/chat/completions', isLastOnConnection: false },
    {
      at: 'end',
      nonce: 'one',
      execution: 1,
      outcome: 'answered',
      bytes: whole.length,
      sha256: toHash(whole),
      sha256WithoutUsage: toHash(whole),
    },
    { at: 'begin', nonce: 'two', execution: 2 },
    { at: 'end', nonce: 'two', execution: 2, outcome: 'answered', sha256: toHash(stream) },
  ])
})

test('a journal has a second digest, without the usage chunk that the client may not have asked for', async () => {
  const { ask, lines } = await startWithJournal()
  const plain = await (await ask('same', { stream: true })).text()
  const counted = await (await ask('same', { stream: true, stream_options: { include_usage: true } })).text()
  const toEnds = async () => (await lines()).filter(({ at }) => at === 'end')
  await expect.poll(toEnds).toHaveLength(2)
  const [first, second] = await toEnds()
  expect(first.sha256).toBe(toHash(plain))
  expect(first.sha256WithoutUsage).toBe(toHash(plain))
  expect(second.sha256).toBe(toHash(counted))
  const events = counted.split(/(?<=\n\n)/)
  const usage = events.find((event) => event.includes('"choices":[]')) ?? ''
  const { timings } = JSON.parse(usage.slice('data: '.length))
  expect(timings).toBeDefined()
  const rest = events
    .filter((event) => event !== usage)
    .map((event) =>
      event.includes('"finish_reason":"')
        ? event.replace(/\}(?=\n\n$)/, `,"timings":${JSON.stringify(timings)}}`)
        : event,
    )
  expect(second.sha256WithoutUsage).toBe(toHash(rest.join('')))
  expect(second.sha256WithoutUsage).not.toBe(second.sha256)
})

test('a journal keeps the begin of what a killed process was doing, and nothing of what it refused', async () => {
  const { ask, lines, exited } = await startWithJournal('--status-429-once', '--crash-mid-stream-after', '3')
  expect((await ask('refused', {})).status).toBe(429)
  await expect((await ask('killed', { stream: true })).text()).rejects.toThrow()
  await exited
  expect(await lines()).toMatchObject([{ at: 'begin', nonce: 'killed' }])
})

function toHash(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
