import { hasTag } from '../../machines/provider/tags.ts'
import type { ServiceSnapshot } from '../service/snapshot.ts'
import { loadConfiguration } from './configuration.ts'
import { onEndingSignal } from './ending-signal.ts'
import { exitCodes } from './failures.ts'
import { connectToGateway, readAnswer } from './gateway-client.ts'
import { escapeText, type Terminal } from './print.ts'
import { createProgress } from './progress.ts'
import { describePeer, describeState } from './words.ts'

export interface ControlOptions {
  readonly config?: string
  readonly gateway?: string
  readonly json?: boolean
}

export interface StopOptions extends ControlOptions {
  /** Cuts open leases instead of waiting for them. */
  readonly force?: boolean
}

/** `leasehold start ID`: brings a service up, and waits until it is ready. */
export async function startService(id: string, options: ControlOptions, terminal: Terminal): Promise<number> {
  const left = `The start of ${id} goes on. To stop it: leasehold stop ${id}`
  return control({ path: `${buildPath(id)}/start`, body: {}, left, tell: describeService }, options, terminal)
}

/** `leasehold stop ID`: stops a service, and waits until all of its processes have ended. */
export async function stopService(id: string, options: StopOptions, terminal: Terminal): Promise<number> {
  const left = options.force
    ? `The stop of ${id} goes on.`
    : `The stop of ${id} goes on, and waits for its requests. To cut them off: leasehold stop ${id} --force`
  const body = options.force ? { force: true } : {}
  return control({ path: `${buildPath(id)}/stop`, body, left, tell: describeStopped }, options, terminal)
}

interface Command {
  readonly path: string
  readonly body: object
  /** What the gateway continues when a signal ends this process. */
  readonly left: string
  readonly tell: (snapshot: ServiceSnapshot) => string
}

async function control(
  { path, body, left, tell }: Command,
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
    const snapshot = (await gateway.ask({ path, body: JSON.stringify(body) })) as ServiceSnapshot
    progress.close()
    if (options.json) terminal.json(snapshot)
    else terminal.line(readAnswer(path, () => tell(snapshot)))
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
