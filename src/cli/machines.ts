import {
  borrowingMachine,
  claimMachine,
  memberMachine,
  neighbourMachine,
  placementMachine,
  providerMachine,
  requestMachine,
  runMachine,
  supervisorMachine,
} from '../../machines/index.ts'
import { formatMermaid } from '../inspector/diagram.ts'
import { buildDefinition } from '../statechart/definition.ts'
import { exitCodes } from './exit-codes.ts'
import type { Terminal } from './terminal.ts'

/** The statecharts by their names on the command line. */
const machines = {
  borrowing: borrowingMachine,
  claim: claimMachine,
  placement: placementMachine,
  neighbour: neighbourMachine,
  member: memberMachine,
  provider: providerMachine,
  request: requestMachine,
  run: runMachine,
  supervisor: supervisorMachine,
} as const

export type MachineName = keyof typeof machines

export interface MachinesOptions {
  readonly machine: MachineName
  readonly format: 'mermaid' | 'json'
}

/** `leasehold machines print`: a statechart as a diagram, or as JSON that xstate's `createMachine` loads. */
export function printMachine({ machine, format }: MachinesOptions, terminal: Terminal): number {
  if (format === 'json') terminal.line(JSON.stringify(buildDefinition(machines[machine]), null, 2))
  else terminal.out(formatMermaid(machines[machine]))
  return exitCodes.ok
}
