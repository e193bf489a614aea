interface Look {
  readonly blame: (text: string) => void
  readonly limitMs?: number
}

interface Machines extends Look {
  readonly all: readonly { readonly name: string; json(path: string): Promise<unknown> }[]
}

export const RECOVERY_LIMIT_MS: number
export function untilWell(look: Machines): Promise<void>
export function untilQuiet(look: Machines): Promise<void>
export function untilGone(
  machine: { readonly name: string; readonly folder: string },
  look: Look,
): Promise<void>
export function expectNoNetwork(network: { listLeft(): readonly string[] }, look: Look): void
