/** The statecharts and the scheduler, for inspectors, graph tools and other hosts. Effects are named in `ports.ts`. */
export {
  type BorrowingCommand,
  type BorrowingContext,
  type BorrowingEvent,
  borrowingMachine,
  type ConnectionEvent,
  type OwnerMessage,
} from './borrowing.ts'
export { type ClaimContext, type ClaimEvent, claimMachine } from './claim.ts'
export {
  type MemberContext,
  type MemberEmitted,
  type MemberEvent,
  type MemberInput,
  type MemberPolicy,
  memberMachine,
} from './cluster/member.ts'
export type * from './cluster/messages.ts'
export {
  type LossCause,
  type NeighbourContext,
  type NeighbourEmitted,
  type NeighbourEvent,
  type NeighbourInput,
  type NeighbourPolicy,
  type NeighbourProbe,
  neighbourMachine,
} from './cluster/neighbour.ts'
export {
  type ClaimReply,
  type HeldClaim,
  type HolderProbe,
  type HolderReply,
  type PlacementContext,
  type PlacementEmitted,
  type PlacementEvent,
  type PlacementInput,
  type PlacementOutcome,
  type PlacementPolicy,
  placementMachine,
  type ServiceSight,
} from './cluster/placement.ts'
export type * from './messages.ts'
export type { ServiceInput } from './ports.ts'
export { providerMachine } from './provider/chart.ts'
export { type ProviderContext, type ProviderInput, toBackoffMs, toStateName } from './provider/context.ts'
export { type DelayScope, providerDelays } from './provider/delays.ts'
export { supervisedProviderMachine } from './provider/supervised.ts'
export { hasTag, listTags, type ProviderState, type ProviderTag, providerStates } from './provider/tags.ts'
export type { Reason } from './reasons.ts'
export {
  type Attempt,
  nameRequestState,
  type Outcome,
  type RequestContext,
  type RequestState,
  requestMachine,
} from './request.ts'
export {
  type LeaderExit,
  type RunContext,
  type RunEvent,
  type RunInput,
  runMachine,
  type StopSignal,
} from './run.ts'
export {
  type Amounts,
  type Decision,
  type DecisionCause,
  type Need,
  type QueuedStart,
  type Resident,
  type ResidentPhase,
  type SchedulerState,
  type Share,
  type SpareCause,
  type Spared,
  schedule,
  type Taken,
} from './scheduler.ts'
export { supervisorMachine } from './supervisor.ts'
export type { SupervisorContext, SupervisorInput } from './supervisor-context.ts'
export type { TellingCause, TellingLine } from './telling-line.ts'
