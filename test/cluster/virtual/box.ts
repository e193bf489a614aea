import { type ActorRefFrom, type AnyActorRef, createActor } from 'xstate'
import { memberMachine } from '../../../machines/cluster/member.ts'
import { type Card, type CardServiceState, readCard } from '../../../machines/cluster/messages.ts'
import { type LossCause, type NeighbourProbe, neighbourMachine } from '../../../machines/cluster/neighbour.ts'
import {
  type ClaimReply,
  type PlacementContext,
  placementMachine,
  type ServiceSight,
} from '../../../machines/cluster/placement.ts'
import { type ReplicaLoad, rankReplicas } from '../../../machines/replicas.ts'
import { compile } from '../../../src/statechart/compile.ts'
import type { ClaimEntry, Host, Network, Random, Timeline } from './network.ts'

/** The charts that the boxes of a history run: those of leasehold, or mutants. */
export interface Charts {
  readonly member: typeof memberMachine
  readonly neighbour: typeof neighbourMachine
  readonly placement: typeof placementMachine
}

export const charts: Charts = {
  member: memberMachine,
  neighbour: neighbourMachine,
  placement: placementMachine,
}

export const POLICY = {
  beatMs: 500,
  lostMs: 1_600,
  probeMs: 400,
  claimTimeoutMs: 700,
  claimTtlMs: 3_000,
  claimLingerMs: 500,
  prefer: 'warm',
} as const
/** Leases that one server grants at once. */
const ROOM = 2
const IDLE_STOP_MS = 800
/** A process that stood still for this long is told so. Others may call it lost sooner. */
const STILL_MS = 2_000
/** A request that no member can serve ends after this. */
export const LIMIT_MS = 10_000
const PAUSE_MS = 50

export interface Origin {
  readonly member: string
  readonly boot: string
  readonly number: number
}

interface Ask {
  readonly id: string
  readonly origin: Origin | null
  reply(answer: Answer): void
}

type Answer =
  | { readonly type: 'granted' | 'done' | 'draining' | 'failed' | 'dropped' }
  | { readonly type: 'elsewhere'; readonly member: string }

interface Service {
  state: CardServiceState
  run: number
  isPlacing: boolean
  readonly leases: Map<string, Ask>
  waiting: Ask[]
}

/** What a history wants to know of its boxes. */
export interface Watch {
  spawned(box: Box, service: string, isClaimed: boolean, revision: number | null): void
  met(box: Box, boot: string): void
  lost(box: Box, member: string, boot: string, because: LossCause): void
  granted(box: Box, ask: Ask): void
  sent(box: Box, member: string): void
  /** A request has ended. */
  ended(id: string, how: 'complete' | 'cut' | 'refused' | 'too late'): void
}

export interface World {
  readonly timeline: Timeline
  readonly network: Network
  readonly random: Random
  readonly watch: Watch
}

const boxes = new WeakMap<object, Box>()
const provided = new WeakMap<object, unknown>()

/** The same chart with effects that find their box; made once for each chart, because that takes as long as a history. */
function provide<Machine extends object>(machine: Machine, build: (machine: Machine) => Machine): Machine {
  const made = (provided.get(machine) ?? build(machine)) as Machine
  provided.set(machine, made)
  return made
}

/** An effect that answers once. `reply` says whether the answer was still waited for. */
function toEffect<Input, Output>(
  ask: (box: Box, input: Input, reply: (output: Output) => boolean) => void,
): never {
  type State = { status: string; output: unknown; error: undefined; input: Input }
  return {
    getInitialSnapshot: (_: object, input: Input): State => ({
      status: 'active',
      output: undefined,
      error: undefined,
      input,
    }),
    start: ({ input }: State, { self }: { self: AnyActorRef }) =>
      ask(boxes.get(self.system) as Box, input, (output) => {
        if (self.getSnapshot().status !== 'active') return false
        self.send({ type: 'reply', output })
        return true
      }),
    transition: (state: State, event: { type: string; output?: unknown }): State =>
      event.type === 'reply'
        ? { ...state, status: 'done', output: event.output }
        : event.type === 'xstate.stop'
          ? { ...state, status: 'stopped' }
          : state,
    getPersistedSnapshot: (state: State) => state,
  } as never
}

const toHeld = (entry: ClaimEntry): ClaimReply => ({
  outcome: 'held',
  holder: { member: entry.member, boot: entry.boot },
  revision: entry.revision,
})

type Written = { readonly won: number } | { readonly held: ClaimEntry } | 'free' | 'unavailable'

function toReply(written: Written): ClaimReply {
  if (written === 'free' || written === 'unavailable') return { outcome: written }
  return 'won' in written ? { outcome: 'ours', revision: written.won } : toHeld(written.held)
}

/** A claim that is won after the chart has stopped waiting is given back. */
const toWrite = (work: (box: Box, context: PlacementContext) => Written) =>
  toEffect<PlacementContext, ClaimReply>((box, context, reply) => {
    const { network } = box.world
    network.ask(
      box.host,
      () => work(box, context),
      (written) => {
        if (reply(toReply(written)) || typeof written === 'string' || !('won' in written)) return
        network.ask(
          box.host,
          () => network.store.purge(context.service, written.won),
          () => {},
        )
      },
    )
  })

const provideNeighbour = (machine: typeof neighbourMachine) =>
  compile(
    machine.provide({
      actors: {
        probe: toEffect<{ member: string }, NeighbourProbe>((box, { member }, reply) =>
          box.world.network.http(
            box.host,
            member,
            (host, respond) => {
              const card = readCard(host.card())
              respond(() => void (card !== undefined && reply({ outcome: 'answered', card })))
            },
            () => reply({ outcome: 'refused' }),
          ),
        ),
      },
    }),
  )

const providePlacement = (machine: typeof placementMachine) =>
  compile(
    machine.provide({
      actors: {
        look: toEffect<PlacementContext, readonly ServiceSight[]>((box, { service }, reply) =>
          box.lookAt(service, false, reply),
        ),
        askMembers: toEffect<PlacementContext, readonly ServiceSight[]>((box, { service }, reply) =>
          box.lookAt(service, true, reply),
        ),
        claim: toWrite((box, { service }) => box.world.network.store.create(service, box.host)),
        takeOver: toWrite((box, { service, held }) =>
          box.world.network.store.update(service, box.host, held?.revision ?? 0),
        ),
        renew: toWrite((box, { service, revision }) =>
          box.world.network.store.update(service, box.host, revision ?? 0),
        ),
        confirm: toEffect<PlacementContext, ClaimReply>((box, { service, self }, reply) =>
          box.world.network.ask<ClaimEntry | undefined>(
            box.host,
            () => box.world.network.store.read(service),
            (entry) => {
              if (entry === 'unavailable') reply({ outcome: 'unavailable' })
              else if (entry === undefined) reply({ outcome: 'free' })
              else if (entry.boot === self.boot) reply({ outcome: 'ours', revision: entry.revision })
              else reply(toHeld(entry))
            },
          ),
        ),
        askHolder: toEffect<PlacementContext, object>((box, { held, service }, reply) => {
          if (held === null) return
          const { member, boot } = held.holder
          box.world.network.request(box.host, member, boot, service, (state) =>
            reply(
              state === 'none' || state === 'silent' ? { outcome: state } : { outcome: 'answered', state },
            ),
          )
        }),
        probeHolder: toEffect<PlacementContext, object>((box, { held, service }, reply) => {
          if (held === null) return
          const { member, boot } = held.holder
          if (box.isLost(member, boot)) return void box.after(0, () => reply({ outcome: 'gone' }))
          box.after(POLICY.probeMs, () => reply({ outcome: 'silent' }))
          box.world.network.http(
            box.host,
            member,
            (host, respond) => {
              const state = host.stateOf(service)
              respond(() => reply(host.boot === boot ? { outcome: 'answered', state } : { outcome: 'gone' }))
            },
            () => reply({ outcome: 'gone' }),
          )
        }),
      },
      actions: {
        release: ({ context: { service, revision }, self }) => {
          const { world, host } = boxes.get(self.system) as Box
          if (revision !== null)
            world.network.ask(
              host,
              () => world.network.store.purge(service, revision),
              () => {},
            )
        },
      },
    }),
  )

interface Neighbour {
  readonly actor: ActorRefFrom<typeof neighbourMachine>
  heardAtMs: number
}

interface Trip {
  readonly member: string
  readonly boot: string
  readonly number: number
  hasAnswer: boolean
}

/** A request of a client at the gateway of this box. */
interface Request {
  readonly id: string
  readonly service: string
  readonly untilMs: number
  trip: Trip | null
  isOver: boolean
  /** Counts the attempts, so that an answer of an earlier one changes nothing. */
  attempt: number
}

export type Box = ReturnType<typeof createBox>

/** One machine: its charts, a model of its servers, and a model of its gateway. */
export function createBox(
  world: World,
  name: string,
  boot: string,
  services: readonly string[],
  given: Charts,
  startMs: number,
) {
  const { timeline, network, random, watch } = world
  const backlog: (() => void)[] = []
  const neighbours = new Map<string, Neighbour>()
  const placements = new Map<string, ActorRefFrom<typeof placementMachine>>()
  const requests = new Map<string, Request>()
  const counted: Record<string, number> = {}
  const own = new Map<string, Service>(
    services.map((id) => [id, { state: 'cold', run: 0, isPlacing: false, leases: new Map(), waiting: [] }]),
  )
  let seq = 0
  let number = 0
  let isCardDue = false
  let stoppedAtMs = 0
  let resumedAtMs = -10_000
  let lastEchoMs = -10_000

  const run = (work: () => void) => {
    if (host.isKilled) return
    if (host.isStopped) backlog.push(work)
    else work()
  }
  const after = (ms: number, work: () => void) => timeline.after(ms, () => run(work))
  const clock = {
    now: timeline.now,
    setTimeout: (work: () => void, ms: number) => {
      // One that came due while the process was stopped may be cleared before it runs.
      const timer = after(ms, () => {
        if (!timer.isOff) work()
      })
      return timer
    },
    clearTimeout: (timer: { isOff: boolean }) => {
      timer.isOff = true
    },
  }
  const serviceOf = (id: string) => own.get(id) as Service
  const stateOf = (id: string) => {
    const { state, isPlacing } = serviceOf(id)
    return isPlacing ? 'asking' : state
  }
  const card = (): Card => ({
    v: 1,
    member: name,
    boot,
    seq: ++seq,
    address: `http://${name}:4141`,
    version: '2.1.0',
    state: member.getSnapshot().context.availability,
    services: Object.fromEntries(
      [...own].map(([id, { leases, waiting }]) => [
        id,
        {
          models: [{ id: 'm', api: 'openai-completions' }],
          state: stateOf(id),
          leases: leases.size,
          waiting: waiting.length,
          room: ROOM,
          startMs: 1_000,
          fit: 'fits',
        },
      ]),
    ),
    counted: { ...counted },
  })
  const publish = () => {
    // Before it has joined a member says nothing.
    if (!member.getSnapshot().hasTag('joining')) network.publish(host, 'card', card())
  }
  const noteChange = () => {
    if (isCardDue) return
    isCardDue = true
    after(20, () => {
      isCardDue = false
      publish()
    })
  }
  const beat = () => {
    publish()
    after(POLICY.beatMs, beat)
  }

  // Servers.
  const serve = (id: string) => {
    const service = serviceOf(id)
    while (service.state === 'ready' && service.leases.size < ROOM) {
      const ask = service.waiting.shift()
      if (ask === undefined) break
      service.leases.set(ask.id, ask)
      watch.granted(box, ask)
      ask.reply({ type: 'granted' })
      after(50 + random() * 500, () => {
        if (!service.leases.delete(ask.id)) return
        ask.reply({ type: 'done' })
        serve(id)
      })
    }
    if (service.state === 'ready' && service.leases.size === 0) {
      const { run: idle } = service
      after(IDLE_STOP_MS, () => {
        if (service.run === idle && service.state === 'ready' && service.leases.size === 0) end(id)
      })
    }
    const isWanted = service.state === 'cold' && service.waiting.length > 0 && !service.isPlacing
    if (isWanted && !member.getSnapshot().hasTag('meeting')) place(id)
    noteChange()
  }
  /** The process is gone. */
  const end = (id: string) => {
    const service = serviceOf(id)
    service.state = 'cold'
    service.run += 1
    for (const ask of [...service.leases.values()]) ask.reply({ type: 'failed' })
    service.leases.clear()
    placements.get(id)?.send({ type: 'start.ended' })
    noteChange()
  }
  const refuse = (id: string, answer: Answer) => {
    const service = serviceOf(id)
    for (const ask of service.waiting.splice(0)) ask.reply(answer)
    noteChange()
  }
  const spawn = (id: string, placement: ActorRefFrom<typeof placementMachine>) => {
    const service = serviceOf(id)
    const { context, value } = placement.getSnapshot()
    watch.spawned(box, id, JSON.stringify(value) === '{"permitted":"claimed"}', context.revision)
    service.state = 'starting'
    service.run += 1
    const current = service.run
    after(startMs * (0.5 + random()), () => {
      if (service.run !== current) return
      if (random() < 0.1) {
        end(id)
        refuse(id, { type: 'failed' })
        return
      }
      service.state = 'ready'
      placement.send({ type: 'start.ready' })
      serve(id)
    })
    noteChange()
  }
  const place = (id: string) => {
    const service = serviceOf(id)
    service.isPlacing = true
    const known = placements.get(id)
    const placement = known ?? openPlacement(id)
    placement.send({ type: 'start.wanted' })
    hear(id, placement)
  }
  const hear = (id: string, placement: ActorRefFrom<typeof placementMachine>) => {
    const service = serviceOf(id)
    const { outcome } = placement.getSnapshot().context
    if (!service.isPlacing || outcome === null) return
    service.isPlacing = false
    if (outcome.outcome === 'permitted') spawn(id, placement)
    else refuse(id, { type: 'elsewhere', member: outcome.member })
  }
  const openPlacement = (service: string) => {
    const placement = createActor(provide(given.placement, providePlacement), {
      clock: clock as never,
      input: { service, self: { member: name, boot }, policy: POLICY },
    })
    boxes.set(placement.system, box)
    placements.set(service, placement)
    placement.subscribe(() => hear(service, placement))
    placement.on('start.revoked', ({ member: to }) => {
      if (serviceOf(service).state === 'starting') {
        end(service)
        refuse(service, { type: 'elsewhere', member: to })
      }
    })
    return placement.start()
  }
  const ask = (service: string, wanted: Ask) => {
    const { origin } = wanted
    if (origin !== null) counted[origin.member] = Math.max(counted[origin.member] ?? 0, origin.number)
    if (member.getSnapshot().context.availability === 'draining') return wanted.reply({ type: 'draining' })
    serviceOf(service).waiting.push(wanted)
    serve(service)
  }
  const withdraw = (id: string) => {
    for (const [service, { leases, waiting }] of own) {
      const at = waiting.findIndex((wanted) => wanted.id === id)
      if (at >= 0) waiting.splice(at, 1)
      if (leases.delete(id)) serve(service)
    }
  }

  // The others.
  const member = createActor(compile(given.member), {
    clock: clock as never,
    input: { self: { member: name, boot }, policy: POLICY },
  })
  const tellNeighbours = (type: 'view.frozen' | 'view.thawed' | 'echo.heard') => {
    for (const { actor } of neighbours.values()) actor.send({ type })
  }
  let isMeeting = true
  member.subscribe((snapshot) => {
    if (!isMeeting || snapshot.hasTag('meeting')) return
    isMeeting = false
    for (const id of services) serve(id)
  })
  member.on('card.publish', publish)
  member.on('census.ask', () => network.publish(host, 'who', null))
  member.on('bye.say', () => network.publish(host, 'bye', { boot }))
  for (const type of ['view.frozen', 'view.thawed', 'echo.heard'] as const)
    member.on(type, () => tellNeighbours(type))
  // The others may have called this member lost, even in a stand-still too short to be told as one.
  member.on('view.thawed', () => {
    for (const placement of placements.values()) placement.send({ type: 'nats.back' })
  })

  const openNeighbour = (first: Card): Neighbour => {
    const actor = createActor(provide(given.neighbour, provideNeighbour), {
      clock: clock as never,
      input: { card: first, policy: POLICY, isFrozen: member.getSnapshot().hasTag('cut off') },
    })
    boxes.set(actor.system, box)
    actor.on('neighbour.met', ({ boot: run }) => watch.met(box, run))
    actor.on('neighbour.lost', ({ member: gone, boot: run, because }) => {
      watch.lost(box, gone, run, because)
      for (const [id, { leases, waiting }] of own) {
        for (const asked of [...leases.values(), ...waiting])
          if (asked.origin?.member === gone && asked.origin.boot === run) {
            // The connection is closed: the gateway may live and only be parted from here.
            asked.reply({ type: 'dropped' })
            withdraw(asked.id)
          }
        serve(id)
      }
      for (const request of [...requests.values()])
        if (request.trip?.member === gone && request.trip.boot === run)
          if (request.trip.hasAnswer) settle(request, 'cut')
          else route(request)
    })
    const neighbour = { actor, heardAtMs: timeline.now() }
    neighbours.set(first.member, neighbour)
    actor.start()
    return neighbour
  }
  const isUsed = ({ actor }: Neighbour) => {
    const snapshot = actor.getSnapshot()
    return snapshot.status === 'active' && (snapshot.hasTag('usable') || snapshot.hasTag('muted'))
  }
  const cardOf = ({ actor }: Neighbour) => actor.getSnapshot().context.card as Card
  const toSight = (said: Card, service: string, isSettling: boolean): ServiceSight[] => {
    const one = said.services[service]
    if (one === undefined) return []
    return [
      {
        member: said.member,
        state: one.state,
        hasRoom: one.leases + one.waiting < ROOM,
        canStart: said.state === 'open',
        isSettling,
      },
    ]
  }

  // The gateway.
  const route = (request: Request, preferred?: string, refusedBy?: string) => {
    if (request.isOver) return
    leave(request)
    request.attempt += 1
    const { attempt, service } = request
    const isCurrent = () => !request.isOver && request.attempt === attempt
    const again = (to?: string, without?: string) => {
      // Requests that are sent back and forth end by time.
      after(PAUSE_MS, () => {
        if (isCurrent()) route(request, to, without)
      })
    }
    const others = [...neighbours].filter(([to, neighbour]) => isUsed(neighbour) && to !== refusedBy)
    const loads: ReplicaLoad[] = [
      toOwnLoad(service),
      ...others.map(([to, neighbour]) => toLoad(to, neighbour, service)),
    ]
    const order = rankReplicas(loads, { self: name, service }).map((at) =>
      at === 0 ? name : (others[at - 1]?.[0] ?? name),
    )
    const to = preferred !== undefined && order.includes(preferred) ? preferred : order[0]
    if (to === undefined) return again()
    const take = (answer: Answer, from: string) => {
      if (!isCurrent()) return
      if (answer.type === 'granted') {
        if (request.trip !== null) request.trip.hasAnswer = true
      } else if (answer.type === 'done') settle(request, 'complete')
      else if (answer.type === 'elsewhere') again(answer.member)
      else if (answer.type === 'failed' || answer.type === 'dropped') {
        if (request.trip?.hasAnswer === true) settle(request, 'cut')
        else if (answer.type === 'dropped') again()
        else settle(request, 'refused')
      } else again(undefined, from)
    }
    if (to === name)
      return ask(service, {
        id: `${request.id}.${attempt}`,
        origin: null,
        reply: (answer) => take(answer, name),
      })
    const neighbour = neighbours.get(to) as Neighbour
    watch.sent(box, to)
    number += 1
    const trip: Trip = { member: to, boot: cardOf(neighbour).boot, number, hasAnswer: false }
    request.trip = trip
    network.http(
      host,
      to,
      (there, respond) => {
        const asked = network.hosts.get(there.name) as Host & { readonly box: Box }
        if (there.boot !== trip.boot) return respond(() => take({ type: 'draining' }, to))
        asked.box.ask(service, {
          id: `${request.id}#${trip.number}`,
          origin: { member: name, boot, number: trip.number },
          reply: (answer) => respond(() => take(answer, to)),
        })
      },
      () => {
        neighbour.actor.send({ type: 'connection.failed' })
        if (isCurrent()) again(undefined, to)
      },
    )
  }
  /** Its connection is closed: the owner hears of it where the cable is in. */
  const leave = (request: Request) => {
    const { trip } = request
    if (trip === null) return withdraw(`${request.id}.${request.attempt}`)
    request.trip = null
    network.http(
      host,
      trip.member,
      (there) => {
        const asked = network.hosts.get(there.name) as Host & { readonly box: Box }
        if (there.boot === trip.boot) asked.box.withdraw(`${request.id}#${trip.number}`)
      },
      () => {},
    )
  }
  const settle = (request: Request, how: 'complete' | 'cut' | 'refused' | 'too late') => {
    request.isOver = true
    leave(request)
    requests.delete(request.id)
    watch.ended(request.id, how)
  }
  const toOwnLoad = (id: string): ReplicaLoad => {
    const { state, leases, waiting } = serviceOf(id)
    return {
      state: state === 'ready' ? 'ready' : state === 'starting' ? 'starting.warming' : 'down.cold',
      leases: leases.size,
      queue: waiting.length,
      maxConcurrent: ROOM,
      startMs: 1_000,
      isDraining: member.getSnapshot().context.availability === 'draining',
    }
  }
  const toLoad = (to: string, neighbour: Neighbour, id: string): ReplicaLoad => {
    const snapshot = neighbour.actor.getSnapshot()
    const said = cardOf(neighbour)
    const service = said.services[id]
    if (service === undefined) return { state: null, leases: 0, queue: 0, maxConcurrent: 1 }
    const last = said.counted[name] ?? 0
    let uncounted = 0
    for (const { trip } of requests.values()) if (trip?.member === to && trip.number > last) uncounted += 1
    const { models: _, state, ...load } = service
    return {
      state: 'down.cold',
      leases: 0,
      queue: 0,
      maxConcurrent: ROOM,
      standing: {
        ...load,
        member: to,
        state: said.state === 'draining' ? 'draining' : state,
        isMuted: snapshot.hasTag('muted'),
        isSettling: snapshot.context.isSettling,
        uncounted,
      },
    }
  }

  const host: Host & { box: Box } = {
    name,
    boot,
    isStopped: false,
    isKilled: false,
    hasNats: true,
    isConnected: false,
    isRegistered: false,
    box: undefined as never,
    run,
    stateOf,
    card,
    onConnected: () => {
      member.send({ type: 'nats.connected' })
      for (const placement of placements.values()) placement.send({ type: 'nats.back' })
    },
    onDisconnected: () => member.send({ type: 'nats.disconnected' }),
    receive: (subject, from, value) => {
      if (subject === 'who') return publish()
      if (subject === 'bye') {
        if (from !== name)
          neighbours.get(from)?.actor.send({ type: 'bye.heard', boot: (value as { boot: string }).boot })
        return
      }
      const heard = readCard(JSON.parse(JSON.stringify(value))) as Card
      if (from === name) {
        if (heard.boot !== boot) return
        lastEchoMs = timeline.now()
        if (member.getSnapshot().status !== 'active') return
        member.send({ type: 'echo.heard' })
        return
      }
      const known = neighbours.get(from) ?? openNeighbour(heard)
      known.heardAtMs = timeline.now()
      known.actor.send({ type: 'card.heard', card: heard })
    },
  }

  const box = {
    name,
    boot,
    host,
    world,
    after,
    ask,
    own,
    requests,
    /** The servers at the others, as a placement sees them: each that is not heard lately, or all, are asked over HTTP. */
    lookAt: (service: string, isAll: boolean, reply: (sights: readonly ServiceSight[]) => boolean) => {
      const sights: ServiceSight[] = []
      let open = 1
      const close = () => {
        open -= 1
        if (open === 0) reply(sights)
      }
      for (const [to, neighbour] of neighbours) {
        if (!isUsed(neighbour)) continue
        const { isSettling } = neighbour.actor.getSnapshot().context
        const isFresh = timeline.now() - neighbour.heardAtMs <= 2 * POLICY.beatMs
        if (!isAll && isFresh) {
          sights.push(...toSight(cardOf(neighbour), service, isSettling))
          continue
        }
        open += 1
        let isAnswered = false
        const answer = (found: readonly ServiceSight[]) => {
          if (isAnswered) return
          isAnswered = true
          sights.push(...found)
          close()
        }
        after(POLICY.probeMs, () => answer([]))
        network.http(
          host,
          to,
          (there, respond) => {
            const said = there.card() as Card
            respond(() => answer(toSight(said, service, isSettling)))
          },
          () => answer([]),
        )
      }
      after(0, close)
    },
    isLost: (to: string, run: string) => {
      const neighbour = neighbours.get(to)
      if (neighbour === undefined) return false
      return cardOf(neighbour).boot !== run || neighbour.actor.getSnapshot().hasTag('lost')
    },
    withdraw,
    start: () => {
      member.start()
      network.join(host)
      after(random() * POLICY.beatMs, beat)
    },
    /** A client asks this gateway, perhaps for one member: its own choice, or a view that is out of date. */
    request: (id: string, service: string, preferred?: string) => {
      const request: Request = {
        id,
        service,
        untilMs: timeline.now() + LIMIT_MS,
        trip: null,
        isOver: false,
        attempt: 0,
      }
      requests.set(id, request)
      after(LIMIT_MS, () => {
        if (!request.isOver) settle(request, 'too late')
      })
      route(request, preferred)
    },
    kill: () => {
      network.kill(host)
      for (const { actor } of neighbours.values()) actor.stop()
      for (const placement of placements.values()) placement.stop()
      member.stop()
      // Its clients see a reset.
      for (const { id } of requests.values()) watch.ended(id, 'cut')
      requests.clear()
    },
    stop: () => {
      host.isStopped = true
      stoppedAtMs = timeline.now()
    },
    resume: () => {
      if (!host.isStopped || host.isKilled) return
      host.isStopped = false
      resumedAtMs = timeline.now()
      const work = backlog.splice(0)
      const isLong = timeline.now() - stoppedAtMs >= STILL_MS
      // The timer that notices it is one of the timers that are due.
      const at = Math.floor(random() * Math.min(4, work.length))
      if (isLong)
        work.splice(at, 0, () => {
          member.send({ type: 'stood.still' })
          for (const placement of placements.values()) placement.send({ type: 'stood.still' })
        })
      for (const one of work) run(one)
      network.resume(host)
    },
    /** The connections to a process that was killed are reset, where its host can be reached. */
    reset: (to: string, run: string) => {
      neighbours.get(to)?.actor.send({ type: 'connection.failed' })
      for (const request of [...requests.values()])
        if (request.trip?.member === to && request.trip.boot === run)
          if (request.trip.hasAnswer) settle(request, 'cut')
          else route(request, undefined, to)
      for (const [id, { leases, waiting }] of own) {
        for (const asked of [...leases.values(), ...waiting])
          if (asked.origin?.member === to && asked.origin.boot === run) withdraw(asked.id)
        serve(id)
      }
    },
    drain: (isOn: boolean) => {
      if (member.getSnapshot().status === 'active')
        member.send({ type: isOn ? 'drain.asked' : 'drain.undone' })
    },
    leave: () => {
      member.send({ type: 'leave.asked' })
      after(300, () => {
        if (member.getSnapshot().status === 'active') member.send({ type: 'leave.done' })
        after(10, () => box.kill())
      })
    },
    isJoined: () => member.getSnapshot().hasTag('joined'),
    isDraining: () => member.getSnapshot().context.availability === 'draining',
    isDrainingNeighbour: (to: string) => {
      const neighbour = neighbours.get(to)
      return neighbour !== undefined && cardOf(neighbour).state === 'draining'
    },
    lastEchoMs: () => lastEchoMs,
    resumedAtMs: () => resumedAtMs,
    /** What it thinks of the others, by name. */
    view: () =>
      Object.fromEntries(
        [...neighbours].map(([to, neighbour]) => [
          to,
          `${cardOf(neighbour).boot} ${JSON.stringify(neighbour.actor.getSnapshot().value)}`,
        ]),
      ),
    memberState: () => JSON.stringify(member.getSnapshot().value),
    placementOf: (service: string) => placements.get(service),
  }
  host.box = box
  boxes.set(member.system, box)
  return box
}
