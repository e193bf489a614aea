import type { CompatFlags } from '../compat/flags.ts'
import type { ConfigProblem } from '../errors.ts'
import type { Gpus } from '../process/gpus.ts'
import type { ProbeResult } from './probing.ts'

/** Something that a person should know. `error`: it does not work. `warning`: it works not as it should. `note`: nothing to do. */
export interface DoctorFinding {
  readonly level: 'error' | 'warning' | 'note'
  /** What it is about; the text may change, this does not. */
  readonly code: FindingCode
  /** A service, a model or `host`. */
  readonly about: string
  readonly text: string
}

export type FindingCode =
  | 'context-size'
  | 'disk'
  | 'gateway-port'
  | 'images'
  | 'in-use'
  | 'lacking-settings'
  | 'needs'
  | 'no-model'
  | 'not-probed'
  | 'not-started'
  | 'not-written'
  | 'open-files'
  | 'port'
  | 'probe'
  | 'program'
  | 'slow-start'
  | 'state-directory'
  | 'survivors'
  | 'unavailable'
  | 'unit-restarts'
  | 'unlisted-model'
  | 'unneeded-flags'

/** What the host has. All JSON; `null`: it cannot be told. */
export interface HostFacts {
  readonly memory: { readonly totalMiB: number; readonly availableMiB: number | null }
  readonly gpus: Gpus | null
  readonly stateDirectory: { readonly path: string; readonly freeMiB: number | null }
  /** Files that one process may hold open. */
  readonly openFiles: number | null
  /** A gateway of this configuration that runs. */
  readonly gateway: string | null
}

/** The program of a service. `version`: what it prints for `--version`; `null`: it was not asked, or does not tell. */
export interface ProgramFacts {
  readonly command: string
  readonly services: readonly string[]
  readonly version: string | null
}

/** What was found out about one model. */
export interface ModelReport {
  readonly ref: string
  /** The name that the server knows it by. */
  readonly upstreamId: string
  /** The names in the server's own list of models; `null`: it has none. */
  readonly listed: readonly string[] | null
  /** The context that the server states, in tokens. */
  readonly contextTokens: number | null
  /** Whether it takes images; `null`: unknown. */
  readonly takesImages: boolean | null
  readonly probes: readonly ProbeResult[]
  /** Why the probes were not sent, or ended early; `null`: all were sent. */
  readonly unprobed: string | null
  /** The smallest settings with which all that can pass does. */
  readonly compat: CompatFlags
  readonly dropParams: readonly string[]
  /** Those of them that the configuration lacks, or has otherwise. */
  readonly lacking: { readonly compat: CompatFlags; readonly dropParams: readonly string[] }
  /** Flags of the configuration without which the probes pass, too. */
  readonly unneeded: readonly string[]
  /** JSON5 for the model's entry; `null`: nothing is needed. */
  readonly block: string | null
}

/** What was found out about one service. */
export interface ServiceReport {
  readonly service: string
  readonly providers: readonly string[]
  /** `skipped`: left alone, see `reason`. `failed`: it does not become ready, see `reason`. */
  readonly outcome: 'examined' | 'skipped' | 'failed'
  readonly reason: string | null
  readonly baseUrl: string
  /** Who holds its port before it is started, in words; `null`: no process is seen there. */
  readonly portHolder: string | null
  /** `owned`: started here, and stopped. `adopted`, `borrowed`: it ran, and still does. */
  readonly ownership: 'owned' | 'adopted' | 'borrowed' | 'none'
  /** From its start to its first ready answer. `null`: it ran already, or did not become ready. */
  readonly readyMs: number | null
  /** The most that its processes occupied; `null`: not measured. */
  readonly peakRamMiB: number | null
  readonly peakVramMiB: number | null
  /** For `localService.needs`: what was measured, and 5 % more. `null`: not measured. */
  readonly needs: Readonly<Record<string, number>> | null
  readonly models: readonly ModelReport[]
}

/** All that the doctor found. All JSON; later versions add members and take none away. */
export interface DoctorReport {
  /** No error and no warning. */
  readonly ok: boolean
  readonly file: string
  readonly problems: readonly ConfigProblem[]
  readonly host: HostFacts
  readonly programs: readonly ProgramFacts[]
  readonly services: readonly ServiceReport[]
  readonly findings: readonly DoctorFinding[]
  /** What `--write` put into the file, as dotted paths; `null`: it was not asked for. */
  readonly written: readonly string[] | null
  /** Flags that cannot be probed, with the reason. */
  readonly unprobedFlags: Readonly<Partial<Record<keyof CompatFlags, string>>>
}
