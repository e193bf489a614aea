export type { Reason } from '../machines/reasons.ts'
export type { Clock } from './clock.ts'
export type {
  Config,
  LeaseholdConfig,
  LocalServiceConfig,
  ModelAlias,
  ModelConfig,
  ProviderConfig,
} from './config/config.ts'
export { type ConfigInput, type ConfigOptions, loadConfig, parseConfig } from './config/load.ts'
export {
  AbortedError,
  BadRequestError,
  ConfigError,
  type ConfigProblem,
  type ErrorCode,
  GatewayError,
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
  type SupervisorEvent,
} from './events/events.ts'
export { toReasonText } from './explanation/reason-text.ts'
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
export type { Guest } from './peers/guests.ts'
export type { ModelCall, ModelRequest, ModelResponseHandler } from './request/exchange.ts'
export type { RequestSnapshot } from './request/open-requests.ts'
export type { ModelListing } from './service/model-list.ts'
export type {
  ConfigStanding,
  RunningTimer,
  ServiceSnapshot,
  SupervisorSnapshot,
} from './service/snapshot.ts'
export type { StopOptions, Supervisor, SupervisorOptions } from './supervisor/interface.ts'
export { createSupervisor } from './supervisor/supervisor.ts'
