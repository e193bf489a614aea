import type { PeerCommand, Waiter } from './messages.ts'
import type { ProviderContext } from './provider-context.ts'

type Conversation = Pick<ProviderContext, 'generation'>

/** Asks the owner for a lease in a waiter's name. */
export function toWant({ generation }: Conversation, { id, priority }: Waiter): PeerCommand {
  return { type: 'peer.want', generation: generation ?? '', id, priority }
}

/** Takes a question, or a lease, back. */
export function toReturn({ generation }: Conversation, id: string): PeerCommand {
  return { type: 'peer.return', generation: generation ?? '', id }
}
