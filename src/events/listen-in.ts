import type { AnyEventObject } from 'xstate'
import type { providerMachine } from '../../machines/provider/chart.ts'
import type { ServiceEventBody } from './events.ts'

/**
 * The same machine, which publishes each event that it receives, in order. Events that are public when they happen
 * (leases, the life of a process) are not published again.
 */
export function listenIn<Machine extends typeof providerMachine>(
  machine: Machine,
  publish: (key: string, event: ServiceEventBody) => void,
): Machine {
  const transition: Machine['transition'] = (snapshot, event, scope) => {
    const { type } = event
    if (!type.startsWith('lease.') && !type.startsWith('process.'))
      publish(snapshot.context.key, event.type === 'service.stop' ? event : toTold(event))
    return machine.transition(snapshot, event, scope)
  }
  // A wrapper: everything but `transition` is the machine's own.
  return Object.create(machine, { transition: { value: transition } })
}

/** An effect that failed says so with an error, which is no JSON. */
function toTold(event: AnyEventObject): ServiceEventBody {
  const told = 'error' in event ? { ...event, error: String(event.error) } : event
  return { type: 'machine.event', event: told }
}
