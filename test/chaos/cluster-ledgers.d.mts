export function joinClusterLedgers(history: {
  readonly records: readonly object[]
  readonly lines: readonly object[]
  readonly runs: readonly object[]
  readonly harms: readonly object[]
  readonly sent: Readonly<Record<string, number>>
  readonly isVerbose?: boolean
}): { readonly counts: Readonly<Record<string, number>>; readonly violations: string[] }
