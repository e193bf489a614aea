import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { Clock } from '../../src/clock.ts'
import { parseConfig } from '../../src/config/load.ts'
import type { SupervisorEvent } from '../../src/events/events.ts'
import type { HttpLimits } from '../../src/gateway/limits.ts'
import { createGateway, type Gateway } from '../../src/gateway/server.ts'
import type { ServiceSnapshot } from '../../src/service/snapshot.ts'
import type { Supervisor } from '../../src/supervisor/interface.ts'
import { createSupervisor } from '../../src/supervisor/supervisor.ts'
import { createModelServer, type ModelServer } from '../../src/testing/model-server/model-server.ts'
import type { ModelServerOptions } from '../../src/testing/model-server/options.ts'

/** A gateway on a free port, its supervisor, and the model server behind provider `local`, which has one model `demo`. */
export interface House extends AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly gateway: Gateway
  readonly supervisor: Supervisor
  /** Every event since the beginning. */
  readonly events: readonly SupervisorEvent[]
  /** The service behind `local`. */
  service(): ServiceSnapshot
  /** Posts JSON to the gateway. */
  post(path: string, body: unknown, init?: RequestInit): Promise<Response>
}

export interface HouseOptions {
  /** Where provider `local` is found, without `/v1`. */
  readonly serverUrl: string
  readonly provider?: object
  readonly leasehold?: object
  /** Further sections of the configuration. */
  readonly rest?: object
  readonly clock?: Clock
  readonly limits?: HttpLimits
}

/** Opens a house in front of any server. */
export async function openHouse({
  serverUrl,
  provider,
  leasehold,
  rest,
  clock,
  limits = {},
}: HouseOptions): Promise<House> {
  const local = { baseUrl: `${serverUrl}/v1`, models: [{ id: 'demo' }], ...provider }
  const config = parseConfig(
    JSON.stringify({
      models: { providers: { local } },
      agents: { defaults: { model: 'local/demo' } },
      leasehold: { port: 0, ...leasehold },
      ...rest,
    }),
  )
  const time = clock === undefined ? {} : { clock }
  const supervisor = createSupervisor({ config, ...time })
  const events: SupervisorEvent[] = []
  supervisor.events$.subscribe((event) => events.push(event))
  const gateway = createGateway({ supervisor, version: '1.2.3', limits, ...time })
  const { url, port } = await gateway.listen()
  const service = () => {
    const found = supervisor.snapshot().services.find(({ providers }) => providers.includes('local'))
    if (found === undefined) throw new Error('a service behind "local" was expected')
    return found
  }
  return {
    url,
    port,
    gateway,
    supervisor,
    events,
    service,
    post: (path, body, init = {}) =>
      fetch(url + path, {
        method: 'POST',
        ...init,
        headers: { 'content-type': 'application/json', ...init.headers },
        body: JSON.stringify(body),
      }),
    [Symbol.asyncDispose]: async () => {
      await supervisor.close({ force: true })
      await gateway.close()
    },
  }
}

/** A house and, in this process, its model server, as if another program ran it. */
export interface HouseWithServer extends House {
  readonly server: ModelServer
}

export async function openHouseWithServer(
  options: Partial<HouseOptions> & { readonly server?: ModelServerOptions } = {},
): Promise<HouseWithServer> {
  const server = createModelServer(options.server)
  const house = await openHouse({ serverUrl: (await server.listen()).url, ...options })
  return {
    ...house,
    server,
    [Symbol.asyncDispose]: async () => {
      await server.close()
      await house[Symbol.asyncDispose]()
    },
  }
}

/** A `localService` that runs the demo server as a child on this port. */
export function toLocalService(port: number, flags: readonly string[] = [], more: object = {}): object {
  const program = fileURLToPath(new URL('../../dist/src/testing/demo-server.js', import.meta.url))
  return {
    command: process.execPath,
    args: [program, '--port', String(port), '--control', ...flags],
    stopGraceMs: 5_000,
    ...more,
  }
}

/** One raw answer. */
export interface RawAnswer {
  readonly status: number
  readonly head: string
  readonly body: string
}

/** A bare connection to a port. */
export async function openSocket(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** Sends bytes on a connection of its own and reads one answer: until its announced end, or the connection's. */
export async function sendRaw(port: number, text: string): Promise<RawAnswer> {
  const socket = await openSocket(port)
  try {
    socket.write(text, 'latin1')
    return await readAnswer(socket)
  } finally {
    socket.destroy()
  }
}

/** Reads one answer from a bare connection. */
export async function readAnswer(socket: Socket): Promise<RawAnswer> {
  let text = ''
  await new Promise<void>((resolve) => {
    socket.once('close', resolve)
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      const length = /^content-length: (\d+)\r$/im.exec(text)?.[1]
      const headEnd = text.indexOf('\r\n\r\n')
      if (headEnd >= 0 && length !== undefined && text.length >= headEnd + 4 + Number(length)) resolve()
    })
  })
  const headEnd = text.indexOf('\r\n\r\n')
  return {
    status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]),
    head: text.slice(0, headEnd),
    body: text.slice(headEnd + 4),
  }
}

/** A body read until it ended or broke. */
export async function readAll(response: Response): Promise<{ text: string; isBroken: boolean }> {
  let text = ''
  const decoder = new TextDecoder()
  try {
    for await (const chunk of response.body ?? []) text += decoder.decode(chunk, { stream: true })
    return { text, isBroken: false }
  } catch {
    return { text, isBroken: true }
  }
}
