import type { AnyEventObject } from 'xstate'
import type { providerMachine } from '../../machines/provider.ts'
import type { ServiceEventBody } from './events.ts'

/**
 * Has a provider machine say what it is told, in the order in which it hears it. What is public when it happens (leases,
 * the life of a process) is not said twice. The machine must be one's own: it is changed.
 */
export function listenIn<Machine extends typeof providerMachine>(
  machine: Machine,
  publish: (key: string, event: ServiceEventBody) => void,
): Machine {
  const { transition } = machine
  machine.transition = (snapshot, event, scope) => {
    const { type } = event
    if (!type.startsWith('lease.') && !type.startsWith('process.'))
      publish(snapshot.context.key, event.type === 'service.stop' ? event : toTold(event))
    return transition.call(machine, snapshot, event, scope)
  }
  return machine
}

/** An effect that failed says so with an error, which is no JSON. */
function toTold(event: AnyEventObject): ServiceEventBody {
  const told = 'error' in event ? { ...event, error: String(event.error) } : event
  return { type: 'service.told', event: told }
}
