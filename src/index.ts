export type { ProviderState } from '../machines/provider/tags.ts'
export type { Reason } from '../machines/reasons.ts'
export type { RequestState } from '../machines/request.ts'
export type { WatchdogEmitted } from '../machines/watchdog.ts'
export type { Clock } from './clock.ts'
export type { ClusterConfig } from './config/cluster.ts'
export type {
  Config,
  LeaseholdConfig,
  LocalServiceConfig,
  Members,
  ModelAlias,
  ModelConfig,
  ModelParams,
  ProviderConfig,
} from './config/config.ts'
export type { FileListener } from './config/includes.ts'
export {
  type ConfigInput,
  type ConfigOptions,
  type FileOptions,
  loadConfig,
  parseConfig,
} from './config/load.ts'
export type { ProviderInput } from './config/schema.ts'
export type { Environment } from './config/secrets.ts'
export {
  AbortedError,
  BadRequestError,
  ClusterError,
  ConfigError,
  type ConfigProblem,
  type ErrorCode,
  GatewayError,
  HopError,
  KeyError,
  LeaseholdError,
  LoopError,
  ModelNotFoundError,
  OverloadedError,
  ProviderUnavailableError,
  ServiceError,
  StateDirectoryError,
  UpstreamError,
  UpstreamStatusError,
  UpstreamTimeoutError,
} from './errors.ts'
export {
  type ConfigChange,
  type ConfigRefusal,
  eventMeanings,
  type GuestEventBody,
  type ReapingEventBody,
  type RequestEventBody,
  type ServiceEventBody,
  type SupervisorEvent,
  type SupervisorEventBody,
} from './events/events.ts'
export type { RequestTotals } from './events/request-totals.ts'
export type { RequestTimings } from './events/timings.ts'
export type { Usage } from './events/usage.ts'
export type { Advice, AdvisedVerb } from './explanation/advice.ts'
export { toReasonText } from './explanation/reason-text.ts'
export type { Explanation, Tone } from './explanation/situation.ts'
export type { AcquireOptions, Lease } from './lease/lease.ts'
export type { QueuedRequest } from './lease/queue.ts'
export type { Inspector } from './observe/inspection.ts'
export {
  createRecorder,
  type Recorder,
  type RecorderOptions,
  type RecordingEnd,
  type RecordingHeader,
} from './observe/recorder.ts'
export type {
  Timeline,
  TimelineChange,
  TimelineDecision,
  TimelineLane,
  TimelineStep,
} from './observe/timeline.ts'
export type { Guest } from './peers/guests.ts'
export type { SignalOptions } from './process/host-signals.ts'
export type { OutputLine, OutputStream, ServiceOutput } from './process/output.ts'
export type { WatchdogStatus } from './process/watchdog.ts'
export type { RequestSnapshot } from './request/open-requests.ts'
export type { EndedRequest, FailedCandidate } from './request/request-log.ts'
export type { Budget, BudgetHold, BudgetWant } from './service/budgets.ts'
export type { ModelListing } from './service/model-list.ts'
export type { Typical } from './service/past-durations.ts'
export type { PastStart } from './service/past-runs.ts'
export type { ServiceModel } from './service/services.ts'
export type {
  ConfigStatus,
  MemoryUse,
  RunningTimer,
  ServiceSnapshot,
  SupervisorSnapshot,
  UnavailableProvider,
} from './service/snapshot.ts'
export type { StopOptions, Supervisor, SupervisorOptions } from './supervisor/interface.ts'
export { createSupervisor } from './supervisor/supervisor.ts'
export type { TextStyle } from './text/styled-text.ts'
