// The swappers that a bench puts side by side: each with the same four models, run by the same program.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findProgram, startProgram, toFreePort } from './children.mjs'

const SERVER = fileURLToPath(new URL('../../dist/src/testing/demo-server.js', import.meta.url))
const MAIN = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))

/** Of `a` and `b` one can be up at a time; `c` and `d` stand beside them and each other. `c` takes its time to stop. */
const MODELS = ['a', 'b', 'c', 'd']
const FLAGS = { c: ['--exit-on-sigterm-ms', '1500'], d: [] }

/** What stands in the rows, in this order. One that is not on this machine is `undefined`. */
export const SWAPPERS = {
  leasehold: { command: process.execPath, start: startLeasehold },
  'llama-swap': { command: findProgram('llama-swap'), start: startLlamaSwap },
}

/**
 * Starts a swapper in a folder of its own.
 * @returns `{ port, modelOf, unload, reload, end }`: the name of a model there, how to stop one, how to change `d`
 */
export async function startSwapper(name, { loadMs }) {
  const { command, start } = SWAPPERS[name]
  if (command === undefined) return undefined
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-swap-'))
  const ports = Object.fromEntries(await Promise.all(MODELS.map(async (id) => [id, await toFreePort()])))
  const toArgs = (id, tokenDelayMs) =>
    [SERVER, '--port', ports[id], '--models', id, '--load-ms', loadMs, '--token-delay-ms', tokenDelayMs]
      .concat(FLAGS[id] ?? [])
      .map(String)
  const peer = await start({ command, folder, ports, toArgs, port: await toFreePort() })
  return {
    ...peer,
    end: async () => {
      await peer.end()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function startLeasehold({ command, folder, ports, toArgs, port }) {
  const file = join(folder, 'leasehold.json5')
  const write = (tokenDelayMs) => {
    const providers = MODELS.map((id) => [
      id,
      {
        baseUrl: `http://127.0.0.1:${ports[id]}/v1`,
        models: [{ id }],
        localService: {
          command: process.execPath,
          args: toArgs(id, id === 'd' ? tokenDelayMs : 5),
          healthUrl: `http://127.0.0.1:${ports[id]}/health`,
          minResidencyMs: 0,
        },
      },
    ])
    const leasehold = { port, groups: { gpu: ['a', 'b'] }, coldStartCommentsMs: 0, maxConcurrentStarts: 4 }
    writeFileSync(file, JSON.stringify({ leasehold, models: { providers: Object.fromEntries(providers) } }))
  }
  write(5)
  const env = { PATH: process.env.PATH, HOME: folder, XDG_STATE_HOME: folder }
  const peer = await startProgram(command, [MAIN, 'serve', '--watch', '--config', file], port, { env })
  return {
    ...peer,
    modelOf: (id) => `${id}/${id}`,
    unload: (id) => post(port, `/api/services/${id}/stop`),
    reload: () => write(6),
  }
}

async function startLlamaSwap({ command, folder, ports, toArgs, port }) {
  const file = join(folder, 'llama-swap.yaml')
  const write = (tokenDelayMs) => {
    const models = MODELS.map((id) => [
      id,
      {
        cmd: [process.execPath, ...toArgs(id, id === 'd' ? tokenDelayMs : 5)].join(' '),
        proxy: `http://127.0.0.1:${ports[id]}`,
        checkEndpoint: '/health',
        concurrencyLimit: 4096,
      },
    ])
    const groups = {
      gpu: { swap: true, exclusive: false, members: ['a', 'b'] },
      beside: { swap: false, exclusive: false, members: ['c', 'd'] },
    }
    // Every JSON document is a YAML one.
    writeFileSync(file, JSON.stringify({ logLevel: 'error', models: Object.fromEntries(models), groups }))
  }
  write(5)
  const args = ['-config', file, '-watch-config', '-listen', `127.0.0.1:${port}`]
  const peer = await startProgram(command, args, port)
  return {
    ...peer,
    modelOf: (id) => id,
    unload: (id) => post(port, `/api/models/unload/${id}`),
    reload: () => write(6),
  }
}

async function post(port, path) {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  })
  await response.text()
}
