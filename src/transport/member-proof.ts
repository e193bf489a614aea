import { createHmac, timingSafeEqual } from 'node:crypto'
import { HopError } from '../errors.ts'
import type { Headers } from './headers.ts'
import { HOP_HEADER } from './hops.ts'

/** `BOOT RECEIVER-BOOT HMAC`: proves the hop header of a member to one run of another. On a card: the HMAC alone. */
export const PROOF_HEADER = 'x-leasehold-proof'

/** Where a member gives its card to other members: it needs the proof of a member, and no key. */
export const CARD_PATH = '/cluster/card'

/** One run of a member. */
export interface MemberRun {
  readonly member: string
  readonly boot: string
}

/** Who sent a request, and its number among the requests of that run. */
export interface ProvenHop extends MemberRun {
  readonly number: number
}

/** What a proof is for. `path`: with its query, below the address of the member. */
export interface ProvenRequest {
  readonly method: string
  readonly path: string
}

/** Proves the requests of this member to others, and checks those of others. */
export interface MemberProof {
  /** The headers of a request to a run of another member. A number is used once. */
  prove(to: MemberRun, number: number, request: ProvenRequest): Readonly<Record<string, string>>
  /**
   * Who sent a request; `undefined`: it has no proof, so that its hop header may be anyone's.
   * @throws {@link HopError} the proof is wrong, was used before, or is for another run of this member
   */
  check(request: ProvenRequest, headers: Headers): ProvenHop | undefined
  /** The proof that an answer is of this run: for the one that asked, with the number of its request. */
  proveAnswer(to: ProvenHop, body: string): string
  /** Whether an answer is of the run that was asked with this number. */
  checkAnswer(from: MemberRun, number: number, body: string, proof: unknown): boolean
  /** The proof that this run says farewell. It needs no number: the run is over then. */
  proveFarewell(): string
  checkFarewell(from: MemberRun, proof: unknown): boolean
}

/** Longest name of a member and of its boot, in characters. */
const NAME = /^[a-z0-9-]{1,32}$/
const HOP = /^([a-z0-9-]{1,32})#([1-9]\d{0,14})$/
const PROOF = /^([A-Za-z0-9_-]{1,64}) ([A-Za-z0-9_-]{1,64}) ([A-Za-z0-9_-]{43})$/

/** Runs whose numbers are remembered. Only a holder of the secret adds one. */
const MAX_RUNS = 1_024

/**
 * Creates the proof of one run of a member. The secret is the key of an HMAC over the request, both runs and the
 * number, so that it never travels, and a proof that was overheard is of no use for another request, for another
 * member, or after a restart. It does not cover the body.
 */
export function createMemberProof(secret: string, self: MemberRun): MemberProof {
  if (!NAME.test(self.member)) throw new RangeError(`invalid name of a member: ${self.member}`)
  const key = createHmac('sha256', secret).update('leasehold member proof v1').digest()
  const seen = new Map<string, NumberWindow>()
  const sign = (from: MemberRun, to: MemberRun, number: number, { method, path }: ProvenRequest) =>
    // No part but the last can hold a line end.
    createHmac('sha256', key)
      .update(`${from.member}\n${from.boot}\n${to.member}\n${to.boot}\n${String(number)}\n${method}\n${path}`)
      .digest()
  const signAnswer = (from: MemberRun, to: MemberRun, number: number, body: string) =>
    createHmac('sha256', key)
      .update(`answer\n${from.member}\n${from.boot}\n${to.member}\n${to.boot}\n${String(number)}\n${body}`)
      .digest()
  const signFarewell = ({ member, boot }: MemberRun) =>
    createHmac('sha256', key).update(`farewell\n${member}\n${boot}`).digest()
  const openWindow = (run: string): NumberWindow => {
    const known = seen.get(run)
    if (known !== undefined) return known
    const [oldest] = seen.keys()
    if (seen.size >= MAX_RUNS && oldest !== undefined) seen.delete(oldest)
    const opened = createNumberWindow()
    seen.set(run, opened)
    return opened
  }
  return {
    prove: (to, number, request) => ({
      [HOP_HEADER]: `${self.member}#${String(number)}`,
      [PROOF_HEADER]: `${self.boot} ${to.boot} ${sign(self, to, number, request).toString('base64url')}`,
    }),
    check: (request, { [HOP_HEADER]: hop, [PROOF_HEADER]: proof }) => {
      if (proof === undefined) return undefined
      const [, member = '', digits = ''] = HOP.exec(String(hop)) ?? []
      const [, boot = '', receiver, given = ''] = PROOF.exec(String(proof)) ?? []
      if (member === '' || boot === '') throw new HopError('The proof of a member is not readable.')
      if (receiver !== self.boot)
        throw new HopError(
          `The request of "${member}" is for an earlier run of "${self.member}", or for another member at this address.`,
        )
      const number = Number(digits)
      const expected = sign({ member, boot }, self, number, request)
      if (!isSame(given, expected))
        throw new HopError(
          `The request does not prove that "${member}" sent it: leasehold.cluster.secret differs between the members, or the request was changed on its way.`,
        )
      if (!openWindow(`${member}\n${boot}`).take(number))
        throw new HopError(`A request with the number ${digits} of "${member}" has come before.`)
      return { member, boot, number }
    },
    proveAnswer: (to, body) => signAnswer(self, to, to.number, body).toString('base64url'),
    checkAnswer: (from, number, body, proof) =>
      typeof proof === 'string' && isSame(proof, signAnswer(from, self, number, body)),
    proveFarewell: () => signFarewell(self).toString('base64url'),
    checkFarewell: (from, proof) => typeof proof === 'string' && isSame(proof, signFarewell(from)),
  }
}

function isSame(given: string, expected: Buffer): boolean {
  const bytes = Buffer.from(given, 'base64url')
  return bytes.length === expected.length && timingSafeEqual(bytes, expected)
}

/** Takes each number once. */
interface NumberWindow {
  /** `false`: it was taken before, or is too old to tell. */
  take(number: number): boolean
}

/** How far a request may be overtaken by others of the same member. A multiple of 32. */
const WINDOW = 8_192

function createNumberWindow(): NumberWindow {
  const bits = new Uint32Array(WINDOW / 32)
  let highest = 0
  const clear = (number: number) => {
    const at = number % WINDOW
    bits[at >>> 5] = (bits[at >>> 5] ?? 0) & ~(1 << (at & 31))
  }
  return {
    take: (number) => {
      if (number <= highest - WINDOW) return false
      if (number - highest >= WINDOW) bits.fill(0)
      else for (let next = highest + 1; next <= number; next += 1) clear(next)
      highest = Math.max(highest, number)
      const at = number % WINDOW
      const mask = 1 << (at & 31)
      const word = bits[at >>> 5] ?? 0
      if ((word & mask) !== 0) return false
      bits[at >>> 5] = word | mask
      return true
    },
  }
}
