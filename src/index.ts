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
export { type ConfigChange, type ConfigRefusal, eventMeanings, type SupervisorEvent } from './events.ts'
export { toReasonText } from './reason-text.ts'
export type { ModelCall, ModelRequest, ModelResponseHandler } from './supervisor/exchange.ts'
export type { Guest } from './supervisor/guests.ts'
export type { Inspector } from './supervisor/inspection.ts'
export type { StopOptions, Supervisor, SupervisorOptions } from './supervisor/interface.ts'
export type { AcquireOptions, Lease } from './supervisor/lease.ts'
export type { ModelListing } from './supervisor/models.ts'
export type { QueuedRequest } from './supervisor/queue.ts'
export {
  createRecorder,
  type Recorder,
  type RecorderOptions,
  type RecordingEnd,
  type RecordingHeader,
} from './supervisor/recorder.ts'
export type { RequestSnapshot } from './supervisor/requests.ts'
export type {
  ConfigStanding,
  RunningTimer,
  ServiceSnapshot,
  SupervisorSnapshot,
} from './supervisor/snapshot.ts'
export { createSupervisor } from './supervisor/supervisor.ts'
