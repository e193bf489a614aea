/** The three statecharts and the scheduler, for inspectors, graph tools and other hosts. Effects are named in `ports.ts`. */
export type * from './messages.ts'
export { providerMachine } from './provider.ts'
export {
  type ProviderContext,
  type ProviderInput,
  providerDelays,
  toBackoffMs,
  toStateName,
} from './provider-context.ts'
export type { Reason } from './reasons.ts'
export { type Attempt, type RequestContext, requestMachine } from './request.ts'
export {
  type Amounts,
  type Asking,
  type Decision,
  type DecisionCause,
  type Need,
  type Resident,
  type ResidentPhase,
  type SchedulerState,
  type Share,
  type SpareCause,
  type Spared,
  schedule,
  type Taken,
} from './scheduler.ts'
export { supervisedProviderMachine } from './supervised-provider.ts'
export { supervisorMachine } from './supervisor.ts'
export type { SupervisorContext, SupervisorInput } from './supervisor-context.ts'
