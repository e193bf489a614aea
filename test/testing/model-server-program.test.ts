import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'

const program = fileURLToPath(new URL('../../dist/src/testing/demo-server.js', import.meta.url))
const chat = JSON.stringify({ messages: [{ role: 'user', content: 'count to 9' }], stream: true })

interface Run {
  readonly child: ChildProcess
  readonly pid: number
  /** All it has logged so far. */
  log(): string
  /** Waits for a line of the log; gives its first group, or all of it. */
  line(pattern: RegExp): Promise<string>
  /** Its end, its output closed too. */
  readonly closed: Promise<{ code: number | null; signal: string | null }>
}

const runs: Run[] = []

afterEach(async () => {
  for (const { child, pid, closed } of runs.splice(0)) {
    if (child.exitCode === null && child.signalCode === null) process.kill(-pid, 'SIGKILL')
    await closed
  }
})

/** Starts the demo server in a process group of its own. */
function run(...args: string[]): Run {
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  })
  let text = ''
  child.stderr?.on('data', (chunk) => {
    text += chunk
  })
  const line = async (pattern: RegExp): Promise<string> => {
    await expect.poll(() => text, { interval: 5, timeout: 20_000 }).toMatch(pattern)
    const match = pattern.exec(text)
    return match?.[1] ?? match?.[0] ?? ''
  }
  const closed = once(child, 'close').then(([code, signal]) => ({ code, signal }))
  const started = { child, pid: child.pid ?? 0, log: () => text, line, closed }
  runs.push(started)
  return started
}

const ready = ({ line }: Run): Promise<string> => line(/^demo-server: listening on (\S+)\n/m)

describe('the demo server as a program', () => {
  test('it logs its load, serves, and exits with 0 on SIGTERM whatever is in flight', async () => {
    const demo = run('--load-ms', '200', '--hang')
    const url = await ready(demo)
    expect(demo.log()).toMatch(
      /port \d+ is open\n.*: loading model\n.*progress 50 %\n.*progress 100 %\n.*model loaded\n/,
    )
    expect((await fetch(`${url}/health`)).status).toBe(200)
    const answer = fetch(`${url}/v1/models`).catch(() => 'cut')
    demo.child.kill('SIGTERM')
    expect(await demo.closed).toEqual({ code: 0, signal: null })
    expect(await answer).toBe('cut')
  })

  test('a second signal ends it at once with 1', async () => {
    const demo = run('--exit-on-sigterm-ms', '600000')
    await ready(demo)
    demo.child.kill('SIGTERM')
    await demo.line(/cleaning up/)
    demo.child.kill('SIGINT')
    expect(await demo.closed).toEqual({ code: 1, signal: null })
  })

  test('it ignores SIGTERM when told to, until told otherwise', async () => {
    const demo = run('--ignore-sigterm', '--control')
    const url = await ready(demo)
    demo.child.kill('SIGTERM')
    await demo.line(/signal ignored/)
    await fetch(`${url}/__control`, { method: 'POST', body: '{"ignoreSigterm":false}' })
    demo.child.kill('SIGTERM')
    expect(await demo.closed).toEqual({ code: 0, signal: null })
  })

  test('a crash in the middle of a stream is a SIGKILL after the last token was sent', async () => {
    const demo = run('--crash-mid-stream-after', '2')
    const url = await ready(demo)
    const response = await fetch(`${url}/v1/chat/completions`, { method: 'POST', body: chat })
    let text = ''
    const reading = (async () => {
      for await (const chunk of response.body ?? []) text += Buffer.from(chunk).toString()
    })()
    await expect(reading).rejects.toThrow('terminated')
    expect(text.match(/"content":"/g)).toHaveLength(2)
    expect(await demo.closed).toEqual({ code: null, signal: 'SIGKILL' })
  })

  test('control ends it by any signal', async () => {
    const demo = run('--control')
    const url = await ready(demo)
    await fetch(`${url}/__control`, { method: 'POST', body: '{"crash":"SIGABRT"}' }).catch(() => undefined)
    expect(await demo.closed).toEqual({ code: null, signal: 'SIGABRT' })
  })

  test.each([
    [['--fail-load', 'exit'], /failed to load model\n.*exiting due to model loading error/],
    [['--frobnicate'], /error: .*--frobnicate/s],
    [['--port', 'x'], /port: expected a whole number/],
  ])('with %j it ends with 1 and says why', async (args, reason) => {
    const demo = run(...args)
    expect(await demo.closed).toEqual({ code: 1, signal: null })
    expect(demo.log()).toMatch(reason)
  })

  test('a taken port ends it with 1', async () => {
    const first = run()
    const port = new URL(await ready(first)).port
    const second = run('--port', port)
    expect(await second.closed).toEqual({ code: 1, signal: null })
    expect(second.log()).toContain('EADDRINUSE')
  })

  test('a grandchild in its group dies with the group', async () => {
    const demo = run('--fork-grandchild', 'group')
    await demo.line(/grandchild (\d+)\n/)
    process.kill(-demo.pid, 'SIGKILL')
    // The log closes only when the grandchild, which holds it open, is gone too.
    expect(await demo.closed).toEqual({ code: null, signal: 'SIGKILL' })
  })

  test('a grandchild in a session of its own outlives the group', async () => {
    const demo = run('--fork-grandchild', 'setsid')
    const grandchild = Number(await demo.line(/grandchild (\d+)\n/))
    const exited = once(demo.child, 'exit')
    process.kill(-demo.pid, 'SIGKILL')
    await exited
    expect(process.kill(grandchild, 'SIGKILL')).toBe(true)
    await demo.closed
  })

  test('it floods its log before it is ready', async () => {
    const demo = run('--log-flood-bytes', '300000')
    await ready(demo)
    expect(demo.log().indexOf('listening on')).toBeGreaterThan(300_000)
  })

  test('it survives the end of its log’s reader', async () => {
    const demo = run('--log-line-every-ms', '1')
    const url = await ready(demo)
    demo.child.stderr?.destroy()
    for (let index = 0; index < 50; index += 1) expect((await fetch(`${url}/health`)).status).toBe(200)
  })
})
