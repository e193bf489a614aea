import { type Card, type NewerCard, readCard } from '../../machines/cluster/messages.ts'
import type { Clock } from '../clock.ts'
import { get } from '../transport/get.ts'
import { CARD_PATH, type MemberProof, type MemberRun, PROOF_HEADER } from '../transport/member-proof.ts'
import { explainMemberTls, type MemberTls } from '../transport/member-tls.ts'

/** Longest card that is read, in bytes. */
const MAX_CARD_BYTES = 4 * 1024 * 1024

/** What came of a question to a member over HTTP. `refused`: nothing listens there, or the question is not for what does. */
export type CardAnswer =
  | { readonly outcome: 'answered'; readonly card: Card | NewerCard }
  | { readonly outcome: 'refused' | 'silent'; readonly detail: string }

/** Asks members over HTTP, as one of them. */
export interface MemberDoor {
  askCard(to: MemberRun, address: string, timeoutMs: number, signal?: AbortSignal): Promise<CardAnswer>
}

export interface MemberDoorOptions {
  readonly clock: Clock
  readonly proof: MemberProof
  readonly tls: MemberTls
  /** The number of the next request to a member. */
  readonly nextNumber: () => number
}

export function createMemberDoor({ clock, proof, tls, nextNumber }: MemberDoorOptions): MemberDoor {
  return {
    askCard: async (to, address, timeoutMs, signal) => {
      try {
        const number = nextNumber()
        const { status, headers, body } = await get({
          url: address + CARD_PATH,
          headers: proof.prove(to, number, { method: 'GET', path: CARD_PATH }),
          timeoutMs,
          maxBodyBytes: MAX_CARD_BYTES,
          clock,
          tls: tls.connect,
          signal,
        })
        const card = status === 200 ? readCard(JSON.parse(body)) : undefined
        // A run that is not meant refuses the proof, which names the one that is.
        if (card === undefined || card.member !== to.member || card.boot !== to.boot)
          return { outcome: 'refused', detail: `status ${status}: ${toMessage(body)}` }
        // Prompts go to this address: what listens there must know the secret, and say itself that it is there.
        if (!proof.checkAnswer(to, number, body, headers[PROOF_HEADER]))
          return { outcome: 'refused', detail: `what answers does not prove that it is ${to.member}` }
        if (card.address !== address)
          return { outcome: 'refused', detail: `${to.member} says that its address is ${card.address}` }
        return { outcome: 'answered', card }
      } catch (error) {
        const detail = explainMemberTls(error) ?? (error instanceof Error ? error.message : String(error))
        const code = error instanceof Error && 'code' in error ? error.code : undefined
        return { outcome: code === 'ECONNREFUSED' ? 'refused' : 'silent', detail }
      }
    },
  }
}

/** What an error says, or the beginning of a text that is none of ours. */
function toMessage(body: string): string {
  const [, message] = /"message":"((?:[^"\\]|\\.)*)"/.exec(body) ?? []
  return message === undefined ? body.slice(0, 300) : String(JSON.parse(`"${message}"`)).slice(0, 300)
}
