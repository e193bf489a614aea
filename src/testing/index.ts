/** Helpers for tests of leasehold and of programs that embed it. */
export type { Clock } from '../clock.ts'
export { toScheduler } from '../clock.ts'
export {
  createLedger,
  type Invariant,
  InvariantError,
  invariants,
  type Ledger,
  type ProviderView,
} from './invariants.ts'
export type { RecordedRequest } from './model-server/ledger.ts'
export {
  createModelServer,
  type ModelServer,
  type ModelServerAddress,
  type ModelServerEffects,
} from './model-server/model-server.ts'
export type {
  FieldRefusal,
  ModelServerOptions,
  ModelServerSettings,
  OnceAnswer,
} from './model-server/options.ts'
export { parseRecording, type Recording } from './recording.ts'
export {
  type Difference,
  type Replay,
  type ReplayedLife,
  type ReplayStep,
  replay,
  type Said,
} from './replay.ts'
export { buildScript } from './replay-script.ts'
export { runScript, type Story, type StoryFact, type StoryStep } from './run-script.ts'
export { buildScriptSchema, parseScript, type Script, type ScriptStep } from './script.ts'
export { createStage, defaultPolicy, type Stage, type StageOptions } from './stage.ts'
export { createVirtualClock, settle, type VirtualClock } from './virtual-clock.ts'
export {
  createWorld,
  defaultWorld,
  type World,
  type WorldCallback,
  type WorldEffects,
  type WorldOptions,
} from './world.ts'
