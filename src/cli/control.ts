import { hasTag } from '../../machines/provider/tags.ts'
import type { ServiceSnapshot } from '../service/snapshot.ts'
import { loadConfiguration } from './configuration.ts'
import { onEndingSignal } from './ending-signal.ts'
import { exitCodes } from './failures.ts'
import { connectToGateway, readAnswer } from './gateway-client.ts'
import { type Terminal, toSafeText } from './print.ts'
import { createProgress } from './progress.ts'
import { toPeerText, toStateText } from './words.ts'

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
  return control({ path: `${toPath(id)}/start`, body: {}, left, tell: toLine }, options, terminal)
}

/** `leasehold stop ID`: stops a service, and waits until nothing of it is left. */
export async function stopService(id: string, options: StopOptions, terminal: Terminal): Promise<number> {
  const left = options.force
    ? `The stop of ${id} goes on.`
    : `The stop of ${id} goes on, and waits for its requests. To cut them off: leasehold stop ${id} --force`
  const body = options.force ? { force: true } : {}
  return control({ path: `${toPath(id)}/stop`, body, left, tell: toStoppedLine }, options, terminal)
}

interface Command {
  readonly path: string
  readonly body: object
  /** What goes on in the gateway when a signal ends this process. */
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

function toPath(id: string): string {
  return `/api/services/${encodeURIComponent(id)}`
}

/** How a service stands after it was started or stopped, and who has it. */
export function toLine(snapshot: ServiceSnapshot): string {
  return `${toSafeText(snapshot.service)} is ${toStateText(snapshot.state)}${toWhose(snapshot)}`
}

/** The same after a stop: a request that came meanwhile may have started it again. */
export function toStoppedLine(snapshot: ServiceSnapshot): string {
  const { service, state } = snapshot
  if (hasTag(state, 'retired')) return `${toSafeText(service)} has ended: ${toSafeText(snapshot.whyText)}`
  if (hasTag(state, 'down')) return toLine(snapshot)
  return `${toSafeText(service)} was stopped, and is ${toStateText(state)} for a request that came meanwhile`
}

function toWhose({ pid, ownership, holder }: ServiceSnapshot): string {
  if (ownership === 'adopted') return ' (run by another program)'
  if (ownership === 'borrowed' && holder !== null) return ` (run by ${toPeerText(holder)})`
  if (holder !== null) return ` here, and ${toPeerText(holder)} goes on running it`
  return pid === null ? '' : ` (process ${pid})`
}
