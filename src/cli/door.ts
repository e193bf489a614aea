import { type Observable, share } from 'rxjs'
import type { Config } from '../config/config.ts'
import { AbortedError } from '../errors.ts'
import type { SupervisorEvent } from '../events/events.ts'
import { describePeer } from '../explanation/naming.ts'
import type { ServiceSnapshot } from '../service/snapshot.ts'
import { connectToGateway, findGateway, type GatewayClient } from './gateway-client.ts'
import type { Answer, GatewayRequest } from './gateway-exchange.ts'
import type { Terminal } from './terminal.ts'

/** The path of a model request: through a running gateway, or a supervisor in this process. */
export interface Door {
  readonly transport: 'gateway' | 'local'
  readonly events$: Observable<SupervisorEvent>
  /** Aborted just before a signal ends this process. */
  readonly signal: AbortSignal
  /** Sends a request below `/v1`; any status is an answer. */
  send(request: GatewayRequest): Promise<Answer>
  /** Settles once closed: a supervisor in this process has stopped the servers it started. */
  close(): Promise<void>
}

export interface DoorOptions {
  /** Uses a supervisor in this process even if a gateway runs. */
  readonly local?: boolean
  /** Use the gateway at this URL, or `true` for that of the configuration; it must run. */
  readonly gateway?: string | true
}

/**
 * Opens the path for a request: the given gateway, else the configured one if it runs, else a supervisor in this
 * process.
 */
export async function openDoor(
  config: Config,
  { local, gateway }: DoorOptions,
  terminal: Terminal,
): Promise<Door> {
  const { env } = terminal
  if (local) return createLocalDoor(config, terminal)
  const client =
    gateway === undefined
      ? await findGateway(config, env)
      : await connectToGateway(config, env, gateway === true ? undefined : gateway)
  return client === undefined ? createLocalDoor(config, terminal) : createGatewayDoor(client)
}

async function createGatewayDoor(client: GatewayClient): Promise<Door> {
  const events$ = await client.openEvents()
  return {
    transport: 'gateway',
    events$: events$.pipe(share()),
    // A signal ends this process at once; the gateway sees that its client left.
    signal: new AbortController().signal,
    send: (request) => client.send(request),
    close: async () => client.close(),
  }
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

async function createLocalDoor(config: Config, terminal: Terminal): Promise<Door> {
  const { createSupervisor } = await import('../supervisor/supervisor.ts')
  const leaving = new AbortController()
  const leave = () => leaving.abort(new AbortedError())
  // Before the supervisor gets the signal: without an open request it has nothing to drain.
  for (const name of SIGNALS) process.on(name, leave)
  const supervisor = createSupervisor({ config, handleSignals: true, name: 'infer' })
  return {
    transport: 'local',
    events$: supervisor.events$,
    signal: leaving.signal,
    send: ({ path, headers, body = null, signal = null }) =>
      supervisor.fetch(`http://leasehold${path}`, {
        method: body === null ? 'GET' : 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body,
        signal,
      }),
    close: async () => {
      // This process has no open request; the leases of other supervisors are announced before they are cut.
      const users = supervisor.snapshot().services.flatMap(listUsers)
      if (users.length > 0)
        terminal.note(
          `waiting for ${users.join(', ')}, until its drain deadline; a second signal cuts it off`,
        )
      await supervisor.close({ force: users.length === 0 })
      for (const name of SIGNALS) process.off(name, leave)
    },
  }
}

/** The supervisors that still use a server of this one: `leasehold serve (process 7) that uses demo`. */
function listUsers({ service, guests }: ServiceSnapshot): string[] {
  return guests
    .filter(({ leases }) => leases > 0)
    .map((guest) => `${describePeer(guest)} that uses ${service}`)
}
