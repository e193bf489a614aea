import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findProgram, startChild, startProgram, toFreePort } from './children.mjs'

/** A name that every peer can be asked by. */
export const MODEL = 'bench'

/** What stands in the rows, in this order. `direct`: no proxy at all. */
export const PEERS = ['direct', 'bare dispatch', 'nginx', 'llama-swap', 'leasehold']

/**
 * Starts one upstream and every proxy of this machine in front of it. A proxy that is not installed is absent.
 * @returns `{ peers: { [name]: { pid, port } }, end }`
 */
export async function startPeers() {
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-bench-'))
  const started = []
  const keep = async (starting) => {
    const peer = await starting
    if (peer !== undefined) started.push(peer)
    return peer
  }
  const end = async () => {
    for (const peer of started.reverse()) await peer.end()
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    const direct = await keep(startChild('upstream'))
    const upstreamPort = direct.port
    const found = {
      direct,
      'bare dispatch': await keep(startChild('dispatch-proxy', { upstreamPort })),
      nginx: await keep(startNginx(folder, upstreamPort)),
      'llama-swap': await keep(startLlamaSwap(folder, upstreamPort)),
      leasehold: await keep(startChild('gateway', { providers: toProviders(upstreamPort) })),
    }
    return { peers: Object.fromEntries(Object.entries(found).filter(([, peer]) => peer !== undefined)), end }
  } catch (error) {
    await end()
    throw error
  }
}

/** One provider with one model that is at a port already. */
export function toProviders(port, more = {}) {
  return { bench: { baseUrl: `http://127.0.0.1:${port}/v1`, models: [{ id: MODEL }], ...more } }
}

async function startNginx(folder, upstreamPort) {
  const command = findProgram('nginx')
  if (command === undefined) return undefined
  const port = await toFreePort()
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${join(folder, name)};`,
  )
  const file = join(folder, 'nginx.conf')
  writeFileSync(
    file,
    `daemon off; master_process off; pid ${join(folder, 'nginx.pid')}; error_log /dev/null;
    events { worker_connections 4096; }
    http {
      access_log off; keepalive_requests 10000000; client_max_body_size 64m; ${paths.join(' ')}
      upstream bench { server 127.0.0.1:${upstreamPort}; keepalive 512; keepalive_requests 10000000; }
      server {
        listen 127.0.0.1:${port};
        location / {
          proxy_pass http://bench; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
        }
      }
    }`,
  )
  return startProgram(command, ['-e', '/dev/null', '-p', folder, '-c', file], port)
}

/** Its model is a program that does nothing; the answers come from our upstream. */
async function startLlamaSwap(folder, upstreamPort) {
  const command = findProgram('llama-swap')
  if (command === undefined) return undefined
  const port = await toFreePort()
  const file = join(folder, 'llama-swap.yaml')
  writeFileSync(
    file,
    `logLevel: error
models:
  ${MODEL}:
    cmd: sleep infinity
    proxy: http://127.0.0.1:${upstreamPort}
    checkEndpoint: none
    concurrencyLimit: 4096
`,
  )
  return startProgram(command, ['-config', file, '-listen', `127.0.0.1:${port}`], port)
}
