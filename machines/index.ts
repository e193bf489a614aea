/** The three statecharts, for inspectors, graph tools and other hosts. Effects are named in `ports.ts`. */
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
  type SupervisorContext,
  type SupervisorInput,
  supervisedProviderMachine,
  supervisorMachine,
} from './supervisor.ts'
