import type { PeerCommand, Waiter } from '../../messages.ts'
import type { ProviderContext } from '../context.ts'

type Conversation = Pick<ProviderContext, 'generation'>

/** Asks the owner of a borrowed server for a lease for this waiter. */
export function wantLease({ generation }: Conversation, { id, priority, keepAliveMs }: Waiter): PeerCommand {
  const want = { type: 'peer.want', generation: generation ?? '', id, priority } as const
  return keepAliveMs === undefined ? want : { ...want, keepAliveMs }
}

/** Gives a borrowed lease back, or takes the question back. */
export function returnLease({ generation }: Conversation, id: string): PeerCommand {
  return { type: 'peer.return', generation: generation ?? '', id }
}
