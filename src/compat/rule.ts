import type { JsonSpan } from '../json/node.ts'
import type { CompatFlags } from './flags.ts'

/** Kind of a request. Only `chat` has messages and tools; every route has a model, hints and defaults. */
export type Route = 'chat' | 'completions' | 'embeddings' | 'responses' | 'messages' | 'other'

/** The target of a rewrite. */
export interface RewriteOptions {
  readonly route: Route
  /** The model id in the upstream's spelling. */
  readonly model: string
  readonly compat: CompatFlags
  /** Whether the model can reason. False: no thinking options are sent. Absent: the flags decide. */
  readonly reasoning?: boolean
  /**
   * Defaults for the body, each sent when the client did not send that field. `maxTokens`, or one of its upstream
   * names, is the token limit: it is sent under the name the route has for it. The members of `extra_body` come last and win over the client.
   */
  readonly params?: Readonly<Record<string, unknown>>
  /** Members that are removed before `params` are set, whether the client or a rule put them in. */
  readonly dropParams?: readonly string[]
  /** Token limit when neither the client nor `params` has one. Absent: none is sent. */
  readonly maxTokens?: number
}

/** One rewrite: changes the body's tree and says whether it did. */
export interface Rule {
  /** The flag behind it, where there is one; it is reported in `applied`. */
  readonly name: string
  /** Absent: chat only. */
  readonly isForEveryRoute?: true
  readonly apply: (body: JsonSpan, options: RewriteOptions) => boolean
}
