import { hasTag } from '../../machines/provider/tags.ts'
import { describePeer, describeState } from '../explanation/naming.ts'
import type { ServiceSnapshot } from '../service/snapshot.ts'
import { loadConfiguration } from './configuration.ts'
import { onEndingSignal } from './ending-signal.ts'
import { exitCodes, UsageError } from './exit-codes.ts'
import { connectToGateway, readAnswer } from './gateway-client.ts'
import { createProgress } from './progress.ts'
import { escapeText, type Terminal } from './terminal.ts'

export interface ControlOptions {
  readonly config?: string
  readonly gateway?: string
  readonly json?: boolean
}

export interface StopOptions extends ControlOptions {
  /** Every service. */
  readonly all?: boolean
  /** Cuts open leases instead of waiting for them. */
  readonly force?: boolean
}

export interface StartOptions extends ControlOptions {
  /** `false`: does not wait until it is ready. */
  readonly wait?: boolean
}

/** `leasehold start ID`: brings a service up, and waits until it is ready; with `--no-wait` it does not wait. */
export async function startService(id: string, options: StartOptions, terminal: Terminal): Promise<number> {
  const path = `${buildPath(id)}/start`
  if (options.wait === false)
    return control({ path, body: { wait: false }, left: '', tell: describeService }, options, terminal)
  const left = `The start of ${id} goes on. To stop it: leasehold stop ${id}`
  return control({ path, body: {}, left, tell: describeService }, options, terminal)
}

/** `leasehold stop ID`, `leasehold stop --all`: stops services, and waits until all of their processes have ended. */
export async function stopService(
  id: string | undefined,
  options: StopOptions,
  terminal: Terminal,
): Promise<number> {
  if ((id === undefined) !== (options.all === true))
    throw new UsageError('Say which service to stop, or --all: leasehold stop REF')
  const named = id ?? '--all'
  const left = options.force
    ? `The stop of ${id ?? 'all services'} goes on.`
    : `The stop of ${id ?? 'all services'} goes on, and waits for ${id === undefined ? 'their' : 'its'} requests. To cut them off: leasehold stop ${named} --force`
  const body = options.force ? { force: true } : {}
  if (id !== undefined)
    return control({ path: `${buildPath(id)}/stop`, body, left, tell: describeStopped }, options, terminal)
  const tell = ({ services }: { readonly services: readonly ServiceSnapshot[] }) =>
    services.length === 0 ? 'No service was running.' : services.map(describeStopped).join('\n')
  return control({ path: '/api/stop', body, left, tell }, options, terminal)
}

interface Command<Result> {
  readonly path: string
  readonly body: object
  /** What the gateway continues when a signal ends this process. */
  readonly left: string
  /** The answer as lines. @throws TypeError for an answer of another form */
  readonly tell: (answer: Result) => string
}

async function control<Result>(
  { path, body, left, tell }: Command<Result>,
  options: ControlOptions,
  terminal: Terminal,
): Promise<number> {
  const config = await loadConfiguration(options.config, terminal.env)
  const gateway = await connectToGateway(config, terminal.env, options.gateway)
  const progress = createProgress(await gateway.openEvents(), terminal)
  const signals = onEndingSignal(() => {
    progress.close()
    terminal.note(left)
  })
  try {
    const answer = (await gateway.ask({ path, body: JSON.stringify(body) })) as Result
    progress.close()
    if (options.json) terminal.json(answer)
    else terminal.line(readAnswer(path, () => tell(answer)))
  } finally {
    signals[Symbol.dispose]()
    progress.close()
    gateway.close()
  }
  return exitCodes.ok
}

function buildPath(id: string): string {
  return `/api/services/${encodeURIComponent(id)}`
}

/** The state of a service after a start or a stop, and its owner. */
export function describeService(snapshot: ServiceSnapshot): string {
  return `${escapeText(snapshot.service)} is ${describeState(snapshot.state)}${describeHolder(snapshot)}`
}

/** The same after a stop: a request that came meanwhile may have started it again. */
export function describeStopped(snapshot: ServiceSnapshot): string {
  const { service, state } = snapshot
  if (hasTag(state, 'retired')) return `${escapeText(service)} has ended: ${escapeText(snapshot.whyText)}`
  if (hasTag(state, 'down')) return describeService(snapshot)
  return `${escapeText(service)} was stopped, and is ${describeState(state)} for a request that came meanwhile`
}

function describeHolder({ pid, ownership, holder }: ServiceSnapshot): string {
  if (ownership === 'adopted') return ' (run by another program)'
  if (ownership === 'borrowed' && holder !== null) return ` (run by ${describePeer(holder)})`
  if (holder !== null) return ` here, and ${describePeer(holder)} goes on running it`
  return pid === null ? '' : ` (process ${pid})`
}
