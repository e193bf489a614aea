import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export const MAIN = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))

/** Lines of output that are kept, for a report on an unexpected end. */
const KEPT_LINES = 40

/** Starts `leasehold serve`, or a program that stands in for it, and waits until it says where it listens. */
export async function startGateway({ program = MAIN, args = ['--watch'], config, env }) {
  const child = spawn(process.execPath, [program, 'serve', '--port', '0', '--config', config, ...args], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const lines = []
  const exited = once(child, 'exit').then(([code, signal]) => ({ code, signal, at: Date.now() }))
  const listening = new Promise((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        const [url] = /http:\/\/127\.0\.0\.1:\d+/.exec(line) ?? []
        if (url !== undefined) resolve(url)
        lines.push(line)
        if (lines.length > KEPT_LINES) lines.shift()
      })
    }
  })
  const url = await Promise.race([listening, exited.then(() => undefined)])
  return {
    pid: child.pid,
    /** Absent when it ended before it listened. */
    url,
    exited,
    isRunning: () => child.exitCode === null && child.signalCode === null,
    kill: (signal) => child.kill(signal),
    said: () => lines.join('\n'),
  }
}

/** Asks the control surface of a gateway, or a model server's; absent without an answer in time. */
export async function ask(url, { method = 'GET', body, limitMs = 5_000 } = {}) {
  try {
    const answer = await fetch(url, {
      method,
      signal: AbortSignal.timeout(limitMs),
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    })
    return await answer.json()
  } catch {
    return undefined
  }
}
