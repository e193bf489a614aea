/** A known complaint of a backend, and what cures it. */
export interface Advice {
  /** Stable name: `requires-string-content`. */
  readonly id: string
  /** What to do, as one sentence. */
  readonly text: string
  /** What to paste into the model's entry, if that is the cure. */
  readonly block?: string
}

/** An error body with the backend's own words and ours below them. */
export interface Advised {
  readonly advice: Advice
  readonly body: Buffer
}

/** Recognises the known error texts of local backends. `ref`: the model asked. `undefined`: nothing to add. */
export function advise(_status: number, _body: Buffer, _ref: string): Advised | undefined {
  return undefined
}
