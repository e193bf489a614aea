/** Counts of requests that are over, since the supervisor began. */
export interface RequestTotals {
  readonly requests: number
  /** Of these the failed ones. */
  readonly failed: number
  /** Tokens, where the server states them. */
  readonly promptTokens: number
  readonly completionTokens: number
}
