import { createHash, randomBytes } from 'node:crypto'
import { Subject } from 'rxjs'
import { createActor, type SnapshotFrom, waitFor } from 'xstate'
import { memberMachine } from '../../machines/cluster/member.ts'
import {
  type Card,
  type CardService,
  type CardServiceState,
  hasRoomSoon,
  isNewerCard,
  type NewerCard,
  readCard,
} from '../../machines/cluster/messages.ts'
import type { LossCause } from '../../machines/cluster/neighbour.ts'
import type { PlacementOutcome, ServiceSight } from '../../machines/cluster/placement.ts'
import type { Clock } from '../clock.ts'
import type { ClusterConfig } from '../config/cluster.ts'
import { findModel } from '../config/model-ref.ts'
import type { ClusterEventBody } from '../events/events.ts'
import type { Neighbourhood } from '../request/neighbourhood.ts'
import { createMemberProof, type MemberProof, type MemberRun } from '../transport/member-proof.ts'
import { createMemberTls } from '../transport/member-tls.ts'
import { createArrivals } from './arrivals.ts'
import { toCardBeat } from './card-beat.ts'
import { createDepartures } from './departures.ts'
import { type Libraries, loadLibraries } from './libraries.ts'
import { lookAgain } from './look-again.ts'
import { type CardAnswer, createMemberDoor } from './member-door.ts'
import { createGlobs, createSharing, type Sharing } from './name-globs.ts'
import { openNatsLink } from './nats-link.ts'
import { createNeighbours, isUsable, type Neighbour } from './neighbours.ts'
import { ownVersion } from './own-version.ts'
import { createPlacementKeeper } from './placement-keeper.ts'
import { createStartClaims } from './start-claims.ts'

/** What a cluster is joined with. */
export interface ClusterOptions {
  readonly config: ClusterConfig
  readonly clock: Clock
  /** What this member offers, by provider id. `isOfMember`: whether a URL is the gateway of another member. */
  readonly describe: (
    isShared: Sharing,
    isOfMember: (url: string) => boolean,
  ) => Readonly<Record<string, CardService>>
  /** The cards of the members that are there, as often as what they offer changes. */
  readonly onOffers: (cards: readonly Card[], isUsed: (providerId: string) => boolean) => void
  /** When a byte of a member came last, on the clock; minus infinity: none has. */
  readonly lastByteOf?: (member: string) => number
  readonly publish: (event: ClusterEventBody) => void
  /** A start that was permitted must be given up, because `member` has it. */
  readonly onRevoked: (providerId: string, member: string) => void
  readonly libraries?: Libraries
}

/** One member, as `leasehold members` shows it. */
export interface MemberListing {
  readonly member: string
  readonly isSelf: boolean
  readonly address: string | null
  readonly version: string
  /** `connecting`: of this member, while NATS is not reached. `newer`: it speaks a format that this version does not know. */
  readonly state: Neighbour['state'] | 'connecting' | 'refused' | 'newer'
  /** Since its last card, in milliseconds; `null` for this member. */
  readonly heardMs: number | null
  readonly boot: string
  /** Number of its last card. */
  readonly seq: number
  readonly services: Readonly<Record<string, CardService>>
  /** What keeps it from the cluster; `null`: nothing. */
  readonly problem: string | null
}

/** A cluster that this process is a member of. */
export interface JoinedCluster {
  readonly neighbourhood: Neighbourhood
  /** Whether the other members may use a provider. */
  readonly isShared: Sharing
  /** Whether this member uses a provider of others. */
  isUsed(providerId: string): boolean
  /** Whether this member has just begun, and the others are not known. */
  readonly isMeeting: boolean
  /** A member that is not there now and had a model when it was, by any of its names. */
  findAway(ref: string): string | undefined
  /** What this member says of itself. */
  card(): Card
  /** The proof that an answer to a member is of this one. */
  proveAnswer: MemberProof['proveAnswer']
  members(): readonly MemberListing[]
  /** A service has changed: the others are told soon. */
  noteChange(): void
  place(providerId: string, signal: AbortSignal): Promise<PlacementOutcome>
  noteReady(providerId: string): void
  noteEnded(providerId: string): void
  noteStandstill(): void
  /** Whether this member takes no new requests. */
  readonly isDraining: boolean
  drain(isOn: boolean): void
  /** This process ends: others take the new requests. */
  leave(): void
  /** Says farewell. */
  close(): Promise<void>
}

/** Joins a cluster. It is joined as soon as NATS can be reached, and left with `close`. */
export async function joinCluster({
  config,
  clock,
  describe,
  onOffers,
  lastByteOf = () => Number.NEGATIVE_INFINITY,
  publish,
  onRevoked,
  libraries: given,
}: ClusterOptions): Promise<JoinedCluster> {
  const isShared = createSharing(config.share)
  const isUsed = createGlobs(config.use)
  const libraries = given ?? (await loadLibraries())
  const self = { member: config.member, boot: randomBytes(6).toString('hex') }
  const proof = createMemberProof(config.secret, self)
  const departures = createDepartures()
  const door = createMemberDoor({
    clock,
    proof,
    tls: createMemberTls(config.secret),
    nextNumber: departures.next,
  })
  const changed$ = new Subject<void>()
  const lost$ = new Subject<MemberRun>()
  const arrivals = createArrivals()
  let seq = 0
  let provingTwin = false
  /** What was told of it last, until this member has joined. */
  let toldTwin: string | undefined
  /** Why NATS refuses this member, as far as it was told since the last connection. Each attempt meets it again. */
  const toldRefusals = new Set<string>()
  const member = createActor(memberMachine, { clock, input: { self, policy: config } })
  const isDraining = () => member.getSnapshot().context.availability === 'draining'
  /** While the name is another's nothing is said in it. */
  const speaks = () => !member.getSnapshot().hasTag('refused') && !member.getSnapshot().hasTag('joining')

  const isOfMember = (url: string) => {
    const { origin } = new URL(url)
    return neighbours
      .all()
      .some(({ card: { address } }) => address !== null && new URL(address).origin === origin)
  }
  const card = (): Card => {
    seq += 1
    const services = Object.entries(describe(isShared, isOfMember)).map(([id, service]) => {
      const placing = placements.stateOf(id)
      return [id, placing === undefined ? service : { ...service, state: placing }] as const
    })
    return {
      v: 1,
      ...self,
      seq,
      address: config.address,
      version: ownVersion,
      state: isDraining() ? 'draining' : 'open',
      services: Object.fromEntries(services),
      counted: arrivals.counted(),
    }
  }

  /** What each usable member offers, as text. */
  const offers = new Map<string, string>()
  /** Most cards offer the same as the one before: only the offer of the member that a card is of is compared. */
  const tellOffers = (member: string) => {
    const offer = describeOffer(neighbours.of(member))
    if (offer === offers.get(member)) return
    if (offer === undefined) offers.delete(member)
    else offers.set(member, offer)
    const cards = neighbours
      .all()
      .filter(isUsable)
      .flatMap(({ card: said }) => (isNewerCard(said) ? [] : [said]))
      .sort((a, b) => (a.member < b.member ? -1 : 1))
    onOffers(cards, isUsed)
  }
  const ask = (
    last: Card | NewerCard,
    signal?: AbortSignal,
    timeoutMs = config.probeMs,
  ): Promise<CardAnswer> =>
    last.address === null
      ? Promise.resolve({ outcome: 'silent', detail: 'it has no address' })
      : door.askCard(last, last.address, timeoutMs, signal)
  const delivers = (member: string) => lastByteOf(member) > clock.now() - config.beatMs - config.probeMs
  const neighbours = createNeighbours({
    clock,
    policy: config,
    askCard: async (last, signal) => {
      if (!delivers(last.member)) return ask(last, signal)
      const answer = await ask(last, signal, config.probeMs * DELIVERING_SHARE)
      // It may be too busy for a new connection: what comes over the ones that are there is an answer, too.
      const isAlive = answer.outcome === 'silent' && delivers(last.member)
      return isAlive ? { outcome: 'answered', card: last } : answer
    },
    onMet: ({ member, card: { address, version } }) =>
      publish({ type: 'member.joined', member, address, version }),
    onLost: (gone, because) => {
      publish({ type: 'member.lost', member: gone.member, reason: LOSSES[because] })
      lost$.next(gone)
    },
    onState: ({ member, state }) => {
      if (state !== 'lost' && state !== 'unmet') publish({ type: 'member.changed', member, state })
    },
    onChange: tellOffers,
  })

  const link = openNatsLink({
    config,
    boot: self.boot,
    clock,
    libraries,
    receiver: {
      fact: (fact) => {
        if (fact.type === 'nats.connected') {
          toldRefusals.clear()
          publish({ type: 'cluster.connected', server: fact.server })
          claims.reset()
          placements.noteBack()
          member.send({ type: 'nats.connected' })
        } else if (fact.type === 'nats.disconnected') {
          publish({ type: 'cluster.disconnected' })
          member.send({ type: 'nats.disconnected' })
        } else {
          const snapshot = member.getSnapshot()
          if (fact.type === 'nats.refused') {
            if (!toldRefusals.has(fact.message)) publish({ type: 'cluster.refused', message: fact.message })
            toldRefusals.add(fact.message)
          } else if (snapshot.hasTag('connecting') && snapshot.context.problem === null)
            publish({ type: 'cluster.disconnected' })
          member.send({ type: fact.type, reason: fact.message })
        }
      },
      card: (of, value) => {
        const read = readCard(value)
        // The NATS servers let a member publish on its own subject alone.
        if (read === undefined || read.member !== of) return
        if (of !== self.member) neighbours.hear(read)
        else if (read.boot === self.boot) member.send({ type: 'echo.heard' })
        else void proveTwin(read)
      },
      bye: (of, boot, given) => {
        // Where the NATS servers know no users, anyone can say farewell in the name of a member.
        if (proof.checkFarewell({ member: of, boot }, given)) neighbours.farewell(of, boot)
        else neighbours.suspect(of)
      },
      whoAsked: () => changed$.next(),
      asked: (provider) => JSON.stringify({ state: findService(card(), provider)?.[1].state ?? 'cold' }),
    },
  })
  const modelsOf = (provider: string) =>
    findService({ services: describe(isShared, isOfMember) }, provider)?.[1].models ?? []
  const claims = createStartClaims({
    config,
    self,
    link,
    clock,
    libraries,
    nameOf: (provider) => toClaimName(provider, modelsOf(provider)),
  })

  const toSight = (
    { member, state }: Neighbour,
    said: Card | NewerCard,
    provider: string,
    ours: CardService['models'],
  ): ServiceSight[] => {
    // One that drains takes no request, whatever runs there.
    if (isNewerCard(said) || said.state === 'draining') return []
    const found = findService(said, provider)
    if (found === undefined) return []
    const [id, service] = found
    // A provider of the same name with other models: what is asked for here is not there.
    if (!isCovered(ours, service.models)) return []
    const counted = said.counted[self.member] ?? 0
    const load = service.leases + service.waiting + departures.uncounted(member, id, counted)
    return [
      {
        member,
        state: service.state,
        hasRoom: service.room === null || load < service.room,
        canStart: service.fit !== 'never' && service.state !== 'failed',
        isSettling: state === 'settling',
        canWake: service.isAsleep === true && hasRoomSoon(service.fit),
      },
    ]
  }
  const sightAll = async (
    provider: string,
    cardOf: (neighbour: Neighbour) => Promise<Card | NewerCard | undefined>,
  ) => {
    const ours = modelsOf(provider)
    const sights = neighbours
      .all()
      .filter(isUsable)
      .map(async (neighbour) => {
        const said = await cardOf(neighbour)
        return said === undefined ? [] : toSight(neighbour, said, provider, ours)
      })
    return (await Promise.all(sights)).flat()
  }
  const placements = createPlacementKeeper({
    clock,
    self,
    policy: config,
    claims,
    look: (provider) =>
      sightAll(provider, (neighbour) => lookAgain(neighbour, clock.now() - 2 * config.beatMs, ask)),
    askMembers: (provider) =>
      sightAll(provider, async (neighbour) => {
        const answer = await ask(neighbour.card)
        return answer.outcome === 'answered' ? answer.card : undefined
      }),
    askHolder: async ({ member, boot }, provider) => {
      const answer = await link.prove(member, boot, config.probeMs, provider)
      if (answer.outcome === 'alive')
        return { outcome: 'answered', state: readState(Object(answer.value).state) }
      if (answer.outcome === 'no-responders') neighbours.noResponders(member, boot)
      return { outcome: answer.outcome === 'no-responders' ? 'none' : 'silent' }
    },
    probeHolder: async (holder, provider) => {
      const neighbour = neighbours.of(holder.member)
      if (neighbour?.card.boot !== holder.boot || neighbour.state === 'lost') return { outcome: 'gone' }
      const answer = await ask(neighbour.card)
      if (answer.outcome !== 'answered') return { outcome: answer.outcome === 'refused' ? 'gone' : 'silent' }
      const service = isNewerCard(answer.card) ? undefined : findService(answer.card, provider)?.[1]
      return { outcome: 'answered', state: service?.state ?? 'cold' }
    },
    onRevoked,
    onChange: () => changed$.next(),
  })
  /** A late card of an earlier run of this member is no twin. */
  const proveTwin = async (said: Card | NewerCard) => {
    if (provingTwin) return
    provingTwin = true
    const answer = await ask(said)
    provingTwin = false
    if (answer.outcome !== 'answered') return
    member.send({ type: 'twin.proven', boot: said.boot, address: said.address })
    const { problem } = member.getSnapshot().context
    // The twin is heard with each of its cards.
    if (problem === null || problem === toldTwin || !member.getSnapshot().hasTag('refused')) return
    toldTwin = problem
    publish({ type: 'cluster.refused', message: problem })
  }
  const sayCard = () => {
    if (speaks()) link.publishCard(JSON.stringify(card()))
  }
  const beat = toCardBeat(clock, config.beatMs, changed$).subscribe(sayCard)
  member.on('card.publish', sayCard)
  member.on('census.ask', () => link.askWho())
  member.on('bye.say', () => link.publishBye(proof.proveFarewell()))
  member.on('view.frozen', () => neighbours.setFrozen(true))
  member.on('view.thawed', () => {
    neighbours.setFrozen(false)
    // The others may have called this member lost, even in a stand-still too short to be told as one.
    placements.noteBack()
  })
  member.on('echo.heard', () => neighbours.echo())
  member.subscribe((snapshot) => {
    if (snapshot.hasTag('joined')) toldTwin = undefined
  })
  member.start()

  const neighbourhood: Neighbourhood = {
    self: self.member,
    prefer: config.prefer,
    moveAfterMs: config.moveAfterMs,
    isDraining,
    standingOf: (member, providerId) => {
      const neighbour = neighbours.of(member)
      if (neighbour === undefined || !isUsable(neighbour) || isNewerCard(neighbour.card)) return undefined
      const found = findService(neighbour.card, providerId)
      if (found === undefined) return undefined
      const [id, { models: _, state, ...load }] = found
      return {
        ...load,
        state: neighbour.card.state === 'draining' ? 'draining' : state,
        isMuted: neighbour.state === 'muted',
        isSettling: neighbour.state === 'settling',
        uncounted: departures.uncounted(member, id, neighbour.card.counted[self.member] ?? 0),
      }
    },
    depart: (member, providerId, method, path) => {
      const neighbour = neighbours.of(member)
      if (neighbour === undefined || !isUsable(neighbour)) return undefined
      const number = departures.next()
      const to = { member, boot: neighbour.card.boot }
      return departures.add(number, member, providerId, proof.prove(to, number, { method, path }))
    },
    admit: (method, path, headers) => {
      const hop = proof.check({ method, path }, headers as Parameters<typeof proof.check>[1])
      if (hop === undefined) return undefined
      arrivals.add(hop, path)
      return hop
    },
    suspect: neighbours.suspect,
    lost$,
  }

  return {
    neighbourhood,
    isShared,
    isUsed,
    get isMeeting() {
      return member.getSnapshot().hasTag('meeting')
    },
    findAway: (ref) =>
      neighbours
        .all()
        .filter((neighbour) => !isUsable(neighbour))
        .find(({ card: said }) => !isNewerCard(said) && isModelOf(said, ref, isUsed))?.member,
    card,
    proveAnswer: proof.proveAnswer,
    members: () => [
      toOwnListing(card(), member.getSnapshot()),
      ...neighbours.all().map((neighbour) => toListing(neighbour, clock.now())),
    ],
    noteChange: () => changed$.next(),
    place: async (providerId, signal) => {
      await waitFor(member, (snapshot) => !snapshot.hasTag('meeting'), { signal })
      return placements.place(providerId, signal)
    },
    noteReady: placements.noteReady,
    noteEnded: placements.noteEnded,
    noteStandstill: () => {
      member.send({ type: 'stood.still' })
      placements.noteStandstill()
    },
    get isDraining() {
      return isDraining()
    },
    drain: (isOn) => {
      member.send({ type: isOn ? 'drain.asked' : 'drain.undone' })
      changed$.next()
    },
    leave: () => member.send({ type: 'leave.asked' }),
    close: async () => {
      beat.unsubscribe()
      neighbours.close()
      await placements.close()
      member.send({ type: 'leave.asked' })
      member.send({ type: 'leave.done' })
      await link.close()
    },
  }
}

/** Part of `probeMs` after which the bytes of a stream stand for an answer that has not come. */
const DELIVERING_SHARE = 0.75

/** Why a member is lost, in words. */
const LOSSES: Readonly<Record<LossCause, string>> = {
  left: 'it has left',
  refused: 'nothing listens at its address',
  silent: 'it answers neither over NATS nor over HTTP',
  restarted: 'another run of it is there',
}

/** `undefined`: nothing is used of it. */
function describeOffer(neighbour: Neighbour | undefined): string | undefined {
  if (neighbour === undefined || !isUsable(neighbour) || isNewerCard(neighbour.card)) return undefined
  const { address, services } = neighbour.card
  return JSON.stringify([address, Object.entries(services).map(([id, { models }]) => [id, models])])
}

const STATES: readonly CardServiceState[] = ['cold', 'asking', 'starting', 'ready', 'failed']

/** A state that this version does not know is taken for a start that goes on. */
function readState(value: unknown): CardServiceState {
  return STATES.find((state) => state === value) ?? 'starting'
}

/** Ids of providers are compared without regard to case. */
function findService(
  { services }: Pick<Card, 'services'>,
  providerId: string,
): readonly [string, CardService] | undefined {
  const exact = services[providerId]
  if (exact !== undefined) return [providerId, exact]
  const wanted = providerId.toLowerCase()
  return Object.entries(services).find(([id]) => id.toLowerCase() === wanted)
}

/** Providers of one name at two members are one service if they have the same models. */
function toClaimName(provider: string, models: CardService['models']): string {
  const ids = models.map(({ id }) => id).sort()
  return `${provider}/${createHash('sha256').update(JSON.stringify(ids)).digest('hex').slice(0, 16)}`
}

/** Whether a reference means a model of a member. */
function isModelOf(
  { member, address, services }: Card,
  ref: string,
  isUsed: (providerId: string) => boolean,
): boolean {
  if (address === null) return false
  const providers = Object.entries(services)
    .filter(([id]) => isUsed(id))
    .map(([id, { models }]) => ({ id, models }))
  const aliases = providers.flatMap(({ id, models }) =>
    models.flatMap((model) => (model.aliases ?? []).map((alias) => ({ alias, ref: `${id}/${model.id}` }))),
  )
  const name = ref.toLowerCase().startsWith(`${member}:`) ? ref.slice(member.length + 1) : ref
  return findModel({ providers, aliases }, name).kind !== 'unknown'
}

/** Whether a provider elsewhere has every model of ours. One that lists none takes any. */
function isCovered(ours: CardService['models'], theirs: CardService['models']): boolean {
  return (
    theirs.length === 0 || (ours.length > 0 && ours.every(({ id }) => theirs.some((one) => one.id === id)))
  )
}

function toListing({ member, card, state, heardAtMs, problem }: Neighbour, nowMs: number): MemberListing {
  const { address, version, boot } = card
  return {
    member,
    isSelf: false,
    address,
    version,
    state: isNewerCard(card) && state !== 'lost' ? 'newer' : state,
    heardMs: Math.round(nowMs - heardAtMs),
    boot,
    seq: card.seq,
    services: card.services ?? {},
    problem,
  }
}

function toOwnListing(
  { member, address, version, boot, seq, state, services }: Card,
  snapshot: SnapshotFrom<typeof memberMachine>,
): MemberListing {
  const isIn = snapshot.hasTag('joined') || snapshot.hasTag('draining')
  return {
    member,
    isSelf: true,
    address,
    version,
    state: isIn ? state : snapshot.hasTag('refused') ? 'refused' : 'connecting',
    heardMs: null,
    boot,
    seq,
    services,
    problem: snapshot.context.problem,
  }
}
