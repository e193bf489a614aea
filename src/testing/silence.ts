import { fromCallback } from 'xstate'
import type { providerMachine } from '../../machines/provider/chart.ts'

/** A machine whose effects do nothing: their results are sent to it instead. */
export function silenceMachine(machine: typeof providerMachine): typeof providerMachine {
  const silence = fromCallback(() => {})
  const actors = Object.fromEntries(
    Object.keys(machine.implementations.actors).map((name) => [name, silence]),
  )
  return machine.provide({ actors: actors as never })
}
