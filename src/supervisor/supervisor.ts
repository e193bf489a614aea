import { runOutside } from '../lease/caller-context.ts'
import { logConfig, logEvents } from '../observe/log.ts'
import { handleProcessSignals } from '../process/host-signals.ts'
import { followRoot } from './follow-root.ts'
import type { StopOptions, Supervisor, SupervisorOptions } from './interface.ts'
import { createParts } from './parts.ts'
import { createFace } from './public-face.ts'

/** Creates a supervisor. A service starts when a request or a lease needs it, or at once where it is to be preloaded. */
export function createSupervisor(options: SupervisorOptions): Supervisor {
  return runOutside(assemble, options)
}

function assemble(options: SupervisorOptions): Supervisor {
  const { logger, handleSignals = false } = options
  const parts = createParts(options)
  const { catalogue, hub, inspections, root, table } = parts
  followRoot(parts)
  if (options.inspect !== undefined) inspections.attach(options.inspect)

  const finish = async () => {
    await new Promise<void>((resolve) => {
      if (root.getSnapshot().status !== 'active') resolve()
      else root.subscribe({ complete: resolve, error: () => resolve() })
    })
    await parts.seat.close()
    parts.learning.close()
    parts.contextSizes.close()
    parts.hardware.close()
    await table.close()
    await parts.upstreams.disconnectAll()
    signals?.[Symbol.dispose]()
    hub.publish({ type: 'supervisor.closed' })
    hub.close()
  }
  let closing: Promise<void> | undefined
  const close = ({ force = false }: StopOptions = {}) => {
    parts.seat.leave()
    if (root.getSnapshot().status === 'active') root.send({ type: 'shutdown', force })
    closing ??= finish()
    return closing
  }

  if (logger !== undefined) {
    logEvents(hub.events$, logger)
    logConfig(catalogue.config, logger)
  }
  const signals =
    handleSignals === false
      ? undefined
      : handleProcessSignals({
          close,
          killAllSync: table.killAllSync,
          ...(handleSignals === true ? {} : handleSignals),
        })
  root.start()
  parts.replaceServices()
  parts.seat.begin()

  return createFace(parts, close)
}
