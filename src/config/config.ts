import type { ConfigProblem } from '../errors.ts'
import type { ClusterConfig } from './cluster.ts'
import type { LeaseholdValues, LocalServiceValues, ModelValues, ProviderValues } from './schema.ts'

/** A value that is read-only at every level. */
export type Frozen<T> = T extends readonly (infer Item)[]
  ? readonly Frozen<Item>[]
  : T extends object
    ? { readonly [Key in keyof T]: Frozen<T[Key]> }
    : T

/** Defaults for the body of a request, by field name. */
export type ModelParams = Readonly<Record<string, unknown>>

/** A configuration that is complete and checked: deeply frozen, every default in place, every reference resolved. */
export interface Config {
  /** Where it came from, as given to `loadConfig`. */
  readonly file: string
  readonly mode: 'merge' | 'replace'
  /** In the order of the file, then the built-in ones. */
  readonly providers: readonly ProviderConfig[]
  readonly aliases: readonly ModelAlias[]
  /** What other members of the cluster offer. Absent: no cluster is joined. Never part of a file. */
  readonly members?: Members
  /**
   * The model used when a request names none, as full references: the one configured, or the only model there is.
   * Absent: a request must name one.
   */
  readonly defaultModel?: { readonly primary: string; readonly fallbacks: readonly string[] }
  /** `params` of `agents.defaults.models`, by full reference. The object has no prototype. */
  readonly modelParams: Readonly<Record<string, ModelParams>>
  readonly leasehold: LeaseholdConfig
  /** Warnings. Errors never get here: they are thrown. */
  readonly problems: readonly ConfigProblem[]
  /** Dotted paths of the sections that belong to others and were not read. */
  readonly ignoredSections: readonly string[]
}

/** The models of the other members of a cluster. */
export interface Members {
  /** The name of this member. */
  readonly self: string
  /** One for each provider of each member: `attic:llama`. Its models have their full references as `upstreamId`. */
  readonly providers: readonly ProviderConfig[]
  /** Other names of those models, as `llama/qwen3-8b`. */
  readonly aliases: readonly ModelAlias[]
}

/** Another name for a model; `ref` is the full reference. */
export interface ModelAlias {
  readonly alias: string
  readonly ref: string
}

/** The `leasehold` section: the gateway and the limits shared by all services. `defaults` are in each `localService`. */
export type LeaseholdConfig = Frozen<Omit<LeaseholdValues, 'defaults' | 'cluster'>> & {
  /** Absent: this machine alone. */
  readonly cluster?: ClusterConfig
}

/** A named upstream and its models. `headers` hold their final values, after `${VAR}`. */
export interface ProviderConfig
  extends Frozen<Pick<ProviderValues, 'api' | 'headers' | 'authHeader' | 'maxTokens' | 'stallTimeoutMs'>> {
  /** Spelled as in the file; compared without regard to case. A replica's is that of its provider with a number: `llama#2`. */
  readonly id: string
  /** Of a replica: the provider it stands in for, and its place among the replicas there. */
  readonly replicaOf?: { readonly provider: string; readonly index: number }
  /** Of another member of the cluster: its name, and the id of the provider there. */
  readonly memberOf?: { readonly member: string; readonly provider: string }
  /** Without a trailing slash. */
  readonly baseUrl: string
  /** Absent: the server asks for none. */
  readonly apiKey?: string
  /** From dispatch to the end of the answer, in milliseconds. Absent: no limit. */
  readonly timeoutMs?: number
  /** Why the provider cannot be used on this host. Absent: nothing is known against it. */
  readonly unavailable?: string
  /** Absent: leasehold does not run the server. */
  readonly localService?: LocalServiceConfig
  /** Empty: any model id is accepted and passed on. */
  readonly models: readonly ModelConfig[]
}

/** One configured model. `maxTokens`: its own, else the provider's; never above `contextWindow`. */
export interface ModelConfig extends Frozen<Omit<ModelValues, 'alias' | 'context'>> {
  readonly name: string
  /** The name that the server knows it by. */
  readonly upstreamId: string
}

/** How to run the server behind a provider. `args` and `env` hold their final values, after `${VAR}`. */
export interface LocalServiceConfig extends Frozen<LocalServiceValues> {
  /**
   * Identity of the service: a SHA-256 over command, args, cwd, env and health URL. Providers with the same key
   * share one process.
   */
  readonly key: string
  readonly command: string
  readonly healthUrl: string
  /** The file leaves the port to leasehold: a server that answers there is not the one that the file means. */
  readonly isPortAssigned?: true
  /** Longest time a request waits for a lease, in milliseconds. */
  readonly maxQueueMs: number
  /** Positions in `args` that hold a value from the environment, which is never shown. */
  readonly secretArgs: readonly number[]
}
