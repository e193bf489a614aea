// A nats-server for the benches of a cluster, and members that use it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../dist/src/clock.js'
import { loadLibraries } from '../../dist/src/cluster/libraries.js'
import { openNatsLink } from '../../dist/src/cluster/nats-link.js'
import { findFreePort } from '../../dist/src/testing/real-host.js'

const main = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))
const nats =
  process.env.LEASEHOLD_NATS_SERVER ??
  fileURLToPath(new URL('../../.cache/nats/bin/nats-server', import.meta.url))

export const secret = 'a secret that all members of the bench share'

/**
 * Measures beside a nats-server with JetStream, in a folder that is removed afterwards.
 * @param {string} title of the report; without a nats-server it has no rows
 * @param {(url: string, folder: string) => Promise<Omit<import('./figures.mjs').Report, 'title'>>} measure
 * @returns {Promise<import('./figures.mjs').Report>}
 */
export async function measureWithNats(title, measure) {
  if (!existsSync(nats))
    return { title: `${title} (no nats-server: test/cluster/setup-nats-server.sh)`, rows: [], targets: [] }
  const folder = await mkdtemp(join(tmpdir(), 'leasehold-bench-nats-'))
  const port = await findFreePort()
  const server = spawn(nats, ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', folder], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  // It is read to the end: without a reader the server would die of its next line.
  const log = createInterface({ input: server.stderr })
  await new Promise((resolve) => {
    log.on('line', (line) => {
      if (line.includes('Server is ready')) resolve()
    })
  })
  try {
    return { title, ...(await measure(`nats://127.0.0.1:${port}`, folder)) }
  } finally {
    server.kill('SIGKILL')
    await once(server, 'exit')
    await rm(folder, { recursive: true })
  }
}

/** A link of a member that hears nothing but questions. Settles when it is connected. */
export async function openLink(config, boot) {
  const libraries = await loadLibraries()
  const nothing = () => {}
  let link
  await new Promise((resolve) => {
    const receiver = { fact: resolve, card: nothing, bye: nothing, whoAsked: nothing, asked: () => '{}' }
    link = openNatsLink({ config, boot, clock: systemClock, libraries, receiver })
  })
  return link
}

/** A `leasehold serve` with a configuration file, and its state in a folder. */
export function serve(file, folder) {
  const child = spawn(process.execPath, [main, 'serve', '--config', file], {
    env: { PATH: process.env.PATH, HOME: folder, LEASEHOLD_STATE_DIR: join(folder, 'state') },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  let log = ''
  child.stdout.on('data', (data) => {
    log += data
  })
  return {
    child,
    /** Settles when it has printed this so often. */
    untilPrinted: async (text, times = 1) => {
      while (log.split(text).length <= times) await wait(20)
    },
    /** Nothing happens where it has ended. One that stands still goes on first. */
    end: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      child.kill('SIGCONT')
      await ended
    },
  }
}
