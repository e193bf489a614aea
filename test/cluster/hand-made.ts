import { randomBytes } from 'node:crypto'
import { Subject } from 'rxjs'
import type { Card } from '../../machines/cluster/messages.ts'
import type { Standing } from '../../src/request/neighbourhood.ts'
import { internalsOf } from '../../src/supervisor/internals.ts'
import { createMemberProof, type MemberProof, type MemberRun } from '../../src/transport/member-proof.ts'
import { type House, type HouseOptions, openHouse } from '../gateway/house.ts'

const SECRET = 'a secret that has at least 32 characters'

/** A gateway that is a member of a cluster without NATS: the test says what the members know of each other. */
export interface Box extends House {
  readonly member: string
  readonly boot: string
  /** What the others are told of it. Changed by the test. */
  standing: Partial<Standing>
  isDraining: boolean
  /** Members that a connection to failed. */
  readonly suspected: string[]
  /** Requests that have left for another member and are not over. */
  readonly underWay: Set<number>
  readonly lost$: Subject<MemberRun>
  readonly proof: MemberProof
}

export interface BoxOptions extends HouseOptions {
  readonly member: string
  readonly secret?: string
}

/** Opens gateways with the provider `local` each, and makes them members of one cluster. */
export async function openBoxes(options: readonly BoxOptions[]): Promise<Box[]> {
  const boxes: Box[] = []
  for (const { member, secret = SECRET, ...house } of options) {
    const boot = randomBytes(6).toString('hex')
    const opened = await openHouse(house)
    boxes.push(
      Object.assign(opened, {
        member,
        boot,
        standing: {},
        isDraining: false,
        suspected: [],
        underWay: new Set<number>(),
        lost$: new Subject<MemberRun>(),
        proof: createMemberProof(secret, { member, boot }),
      }),
    )
  }
  for (const box of boxes) {
    const others = boxes.filter((one) => one !== box)
    const find = (member: string) => others.find((one) => one.member === member)
    const { membership } = internalsOf(box.supervisor)
    let numbers = 0
    const gone = new Set<string>()
    box.lost$.subscribe(({ boot }) => gone.add(boot))
    membership.join({
      self: box.member,
      prefer: 'warm',
      moveAfterMs: 50,
      isDraining: () => box.isDraining,
      standingOf: (member) => {
        const other = find(member)
        // Nothing is known of one that is lost: no request moves back to it.
        if (other === undefined || gone.has(other.boot)) return undefined
        return { ...COLD, ...(other.isDraining && { state: 'draining' }), ...other.standing }
      },
      depart: (member, _, method, path) => {
        const other = find(member)
        if (other === undefined) return undefined
        numbers += 1
        const number = numbers
        box.underWay.add(number)
        return {
          headers: box.proof.prove(other, number, { method, path }),
          ended: () => box.underWay.delete(number),
        }
      },
      admit: (method, path, headers) => box.proof.check({ method, path }, headers),
      suspect: (member) => box.suspected.push(member),
      lost$: box.lost$,
    })
    membership.offer(others.map(toCard))
  }
  return boxes
}

const COLD: Standing = {
  state: 'cold',
  leases: 0,
  waiting: 0,
  room: null,
  startMs: null,
  fit: 'fits',
  isMuted: false,
  isSettling: false,
  uncounted: 0,
}

export function toCard({ member, boot, url, supervisor }: Box): Card {
  const { state, leases, waiting, room, startMs, fit } = { ...COLD, state: 'cold' as const }
  return {
    v: 1,
    member,
    boot,
    seq: 1,
    address: url,
    version: '1.2.3',
    state: 'open',
    counted: {},
    services: Object.fromEntries(
      supervisor.config.providers.map(({ id, api, models }) => [
        id,
        {
          models: models.map((model) => ({ id: model.id, api })),
          state,
          leases,
          waiting,
          room,
          startMs,
          fit,
        },
      ]),
    ),
  }
}
