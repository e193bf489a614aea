/**
 * Takes an answer, on each side of leasehold: a model server's on its way in, and the client's on its way out. `onHead`
 * comes first, then the pieces; `onEnd` or `onError` comes last, and one of the two comes exactly once.
 */
export interface AnswerHandler<Failure extends Error = Error> {
  /** The head of an informational answer (1xx), before the answer itself. */
  onEarly?(headers: Readonly<Record<string, string | string[] | undefined>>): void
  onHead(status: number, headers: Readonly<Record<string, string | string[] | undefined>>): void
  /** Returns `false` to get no more until the call is resumed. */
  onData(chunk: Buffer): boolean
  onEnd(): void
  /** Before `onHead`: there is no answer but this error. After it: the answer broke off, and must not look complete. */
  onError(error: Failure): void
}
