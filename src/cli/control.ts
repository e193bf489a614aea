import type { ServiceSnapshot } from '../supervisor/snapshot.ts'
import { loadConfiguration } from './configuration.ts'
import { exitCodes } from './failures.ts'
import { connectToGateway } from './gateway-client.ts'
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
  return control(`${toPath(id)}/start`, {}, options, terminal)
}

/** `leasehold stop ID`: stops a service, and waits until nothing of it is left. */
export async function stopService(id: string, options: StopOptions, terminal: Terminal): Promise<number> {
  return control(`${toPath(id)}/stop`, options.force ? { force: true } : {}, options, terminal)
}

async function control(
  path: string,
  body: object,
  options: ControlOptions,
  terminal: Terminal,
): Promise<number> {
  const config = await loadConfiguration(options.config, terminal.env)
  const gateway = await connectToGateway(config, terminal.env, options.gateway)
  const progress = createProgress(await gateway.openEvents(), terminal)
  try {
    const snapshot = (await gateway.ask({ path, body: JSON.stringify(body) })) as ServiceSnapshot
    progress.close()
    if (options.json) terminal.json(snapshot)
    else terminal.line(toLine(snapshot))
  } finally {
    progress.close()
    await gateway.close()
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

function toWhose({ pid, ownership, holder }: ServiceSnapshot): string {
  if (ownership === 'adopted') return ' (run by somebody else)'
  if (ownership === 'borrowed' && holder !== null) return ` (run by ${toPeerText(holder)})`
  if (holder !== null) return ` here: it is let go, and ${toPeerText(holder)} runs it`
  return pid === null ? '' : ` (process ${pid})`
}
