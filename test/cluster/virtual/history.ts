import { type Box, type Charts, charts, createBox, LIMIT_MS, POLICY, type World } from './box.ts'
import { createNetwork, createRandom, createTimeline, type Weather } from './network.ts'

/** Promises of the cluster that a history can break. */
export type ClusterInvariant =
  | 'I1: one start'
  | 'I5: no verdict of a member that is cut off'
  | 'I6: no loss of a member that can be reached'
  | 'I7: no lease of a member that drains'
  | 'I8: no start without its claim'
  | 'I9: leases of a lost origin end'
  | 'a member that is gone is found in time'
  | 'every request ends once'
  | 'every member comes back'

export class ClusterInvariantError extends Error {
  readonly broken: ClusterInvariant

  constructor(broken: ClusterInvariant, detail: string, story: readonly string[]) {
    super(`${broken}: ${detail}\n${story.slice(-60).join('\n')}`)
    this.broken = broken
  }
}

/** How a request ends. */
export type End = 'complete' | 'cut' | 'refused' | 'too late'

/** Faults that a history may have. */
export type Fault =
  | 'kill'
  | 'stop'
  | 'cable'
  | 'path'
  | 'both'
  | 'nats'
  | 'empty store'
  | 'drain'
  | 'leave'
  | 'weather'
const FAULTS: readonly Fault[] = [
  'kill',
  'stop',
  'cable',
  'path',
  'both',
  'nats',
  'empty store',
  'drain',
  'leave',
  'weather',
]

export interface HistoryOptions {
  readonly seed: number
  readonly charts?: Partial<Charts>
  readonly faults?: readonly Fault[]
}

export interface HistoryResult {
  readonly requests: number
  readonly complete: number
  readonly cut: number
  readonly refused: number
  readonly 'too late': number
  readonly story: readonly string[]
  readonly spawns: number
  readonly lost: number
  readonly faults: number
}

const CALM: Weather = { lost: 0, late: 0, doubled: 0, unanswered: 0 }
/** Time in which faults happen, and in which all is mended and everything must come right again. */
const FAULTY_MS = 5_000
const QUIET_MS = 12_000
/** What happens between two members within this time of a fault is not judged: no member can know yet. */
const GRACE_MS = 2_000

/** Plays one history to its end. @throws {@link ClusterInvariantError} with what happened before. */
export function playHistory({
  seed,
  charts: given = {},
  faults: kinds = FAULTS,
}: HistoryOptions): HistoryResult {
  const random = createRandom(seed)
  const timeline = createTimeline()
  const { now, after } = timeline
  const story: string[] = []
  const tell = (text: string) => story.push(`${now().toFixed(0).padStart(6)} ${text}`)
  let failure: ClusterInvariantError | undefined
  /** An error that a listener throws is lost, so it is thrown after the step. */
  const fail = (broken: ClusterInvariant, detail: string) => {
    failure ??= new ClusterInvariantError(broken, `${detail} (seed ${seed})`, [...story])
  }
  const look = () => {
    if (failure !== undefined) throw failure
  }
  let weather = CALM
  const network = createNetwork({
    timeline,
    random,
    weather: () => weather,
    claimTtlMs: POLICY.claimTtlMs,
  })
  const all = { ...charts, ...given }
  const names = ['attic', 'barn', 'cellar', 'den', 'east', 'field', 'garage'].slice(
    0,
    3 + Math.floor(random() ** 3 * 5),
  )
  const services = ['a/x', 'b/y'].slice(0, 1 + Math.floor(random() * 2))
  const boxes = new Map<string, Box>()
  const ended = new Map<string, End>()
  const asked = new Set<string>()
  /** When the last fault of a box or of a pair of boxes ended. */
  const faultOf = new Map<string, number>()
  /** Which run has met which, and has not called it lost since. */
  const met = new Set<string>()
  const starts = new Map<string, { readonly box: Box; readonly run: number }[]>()
  const counts = { spawns: 0, lost: 0, faults: 0 }

  const pair = (a: string, b: string) => (a < b ? `${a} ${b}` : `${b} ${a}`)
  const note = (key: string) => faultOf.set(key, now())
  const isCalm = (...keys: readonly string[]) =>
    keys.every((key) => now() - (faultOf.get(key) ?? Number.NEGATIVE_INFINITY) > GRACE_MS)
  const isWell = ({ host }: Box) =>
    !host.isKilled && !host.isStopped && network.reaches(host) && host.isConnected
  /** Two members that have had no trouble for a while, each alone and with each other. */
  const areCalm = (a: Box, b: Box) =>
    isWell(a) &&
    isWell(b) &&
    network.hasPath(a.name, b.name) &&
    isCalm(a.name, b.name, pair(a.name, b.name), 'nats', 'weather')
  /** NATS has been away for a while, and nothing else is wrong: all members reach each other. */
  const isOnlyNatsAway = () =>
    !network.isServerUp() &&
    isCalm('nats', 'weather', ...names, ...names.flatMap((a) => names.map((b) => pair(a, b)))) &&
    [...boxes.values()].every(({ host, isDraining }) => !host.isKilled && !host.isStopped && !isDraining()) &&
    names.every((a) => names.every((b) => network.hasPath(a, b)))

  const world: World = {
    timeline,
    network,
    random,
    watch: {
      spawned: (box, service, isClaimed, revision) => {
        counts.spawns += 1
        tell(`${box.name} starts ${service}${isClaimed ? ` with claim ${revision}` : ' without a claim'}`)
        const claim = network.claimOf(service)
        // A process that was stopped between the last answer and now cannot know; it is told right after.
        if (
          isClaimed &&
          now() - box.resumedAtMs() > 50 &&
          claim?.revision !== revision &&
          isCalm(box.name, 'nats')
        )
          fail('I8: no start without its claim', `${box.name} starts ${service}`)
        const others = (starts.get(service) ?? []).filter(
          ({ box: other, run }) =>
            other !== box &&
            other.own.get(service)?.state === 'starting' &&
            other.own.get(service)?.run === run,
        )
        for (const { box: other } of others)
          if (areCalm(box, other) || isOnlyNatsAway())
            fail('I1: one start', `${box.name} starts ${service}, as ${other.name} does`)
        starts.set(service, [...others, { box, run: (box.own.get(service)?.run ?? 0) + 1 }])
      },
      met: (box, run) => void met.add(`${box.boot} ${run}`),
      lost: (box, member, boot, because) => {
        counts.lost += 1
        met.delete(`${box.boot} ${boot}`)
        tell(`${box.name} calls ${member} lost: ${because}`)
        const gone = boxes.get(member)
        if (because === 'silent' && now() - box.lastEchoMs() > POLICY.lostMs + 3 * POLICY.probeMs)
          fail('I5: no verdict of a member that is cut off', `${box.name} calls ${member} lost`)
        if (gone === undefined || gone.boot !== boot || because === 'left') return
        const isThere =
          !gone.host.isKilled &&
          !gone.host.isStopped &&
          now() - gone.resumedAtMs() > GRACE_MS &&
          now() - box.resumedAtMs() > GRACE_MS &&
          network.hasPath(box.name, member) &&
          isCalm(pair(box.name, member))
        if (isThere) fail('I6: no loss of a member that can be reached', `${box.name} calls ${member} lost`)
      },
      granted: (box, ask) => {
        if (box.isDraining() && ask.origin !== null && !drainedWith.has(ask.id))
          fail('I7: no lease of a member that drains', `${box.name} serves ${ask.id}`)
      },
      sent: (box, member) => {
        if (box.isDrainingNeighbour(member))
          fail('I7: no lease of a member that drains', `${box.name} sends a request to ${member}`)
      },
      ended: (id, how) => {
        tell(`${id} ends: ${how}`)
        if (ended.has(id)) fail('every request ends once', `${id} ended before: ${ended.get(id)}`)
        if (how === 'too late') fail('every request ends once', `${id} was served by no member`)
        ended.set(id, how)
      },
    },
  }
  /** What was in the waiting line when a member began to drain is finished. */
  const drainedWith = new Set<string>()

  let boots = 0
  const boot = (name: string) => {
    boots += 1
    const box = createBox(world, name, `${name}-${boots}`, services, all, 200 + random() * 2_000)
    boxes.set(name, box)
    if (now() > 0) note(name)
    box.start()
    tell(`${name} begins as ${box.boot}`)
  }
  const pick = <Item>(list: readonly Item[]) => list[Math.floor(random() * list.length)] as Item
  const kill = (box: Box) => {
    if (box.host.isKilled) return
    tell(`${box.name} is killed`)
    note(box.name)
    box.kill()
    for (const other of boxes.values())
      if (other !== box && !other.host.isKilled)
        after(1 + random() * 3, () => {
          if (network.hasPath(box.name, other.name)) other.host.run(() => other.reset(box.name, box.boot))
        })
  }

  const mends: (() => void)[] = []
  const strike = () => {
    counts.faults += 1
    const kind = pick(kinds)
    const box = boxes.get(pick(names)) as Box
    const other = boxes.get(pick(names)) as Box
    const ms = 100 + random() ** 2 * 5_000
    const between = (begin: () => void, finish: () => void) => {
      begin()
      const mend = () => {
        const at = mends.indexOf(mend)
        if (at < 0) return
        mends.splice(at, 1)
        finish()
      }
      mends.push(mend)
      after(ms, mend)
    }
    if (kind === 'weather') {
      const bad = {
        lost: random() * 0.5,
        late: random() * 0.4,
        doubled: random() * 0.3,
        unanswered: random() * 0.3,
      }
      between(
        () => {
          tell('the network is bad')
          weather = bad
          note('weather')
        },
        () => {
          tell('the network is good')
          weather = CALM
          note('weather')
        },
      )
    } else if (kind === 'nats' || kind === 'empty store')
      between(
        () => {
          tell(`nats ends (${kind})`)
          note('nats')
          network.setServer(false, kind === 'nats')
        },
        () => {
          tell('nats is back')
          note('nats')
          network.setServer(true, true)
        },
      )
    else if (kind === 'path' && box !== other)
      between(
        () => {
          tell(`no way between ${box.name} and ${other.name}`)
          note(pair(box.name, other.name))
          network.cut(box.name, other.name)
        },
        () => {
          tell(`${box.name} and ${other.name} reach each other again`)
          note(pair(box.name, other.name))
          network.mend(box.name, other.name)
        },
      )
    else if (kind === 'kill')
      between(
        () => kill(box),
        () => {
          if (boxes.get(box.name) === box) boot(box.name)
        },
      )
    else if (box.host.isKilled) return
    else if (kind === 'stop')
      between(
        () => {
          tell(`${box.name} is stopped`)
          note(box.name)
          box.stop()
        },
        () => {
          if (box.host.isKilled) return
          tell(`${box.name} goes on`)
          note(box.name)
          box.resume()
        },
      )
    else if (kind === 'cable')
      between(
        () => {
          tell(`${box.name} loses nats`)
          note(box.name)
          network.setCable(box.host, false)
        },
        () => {
          tell(`${box.name} has nats again`)
          note(box.name)
          network.setCable(box.host, true)
        },
      )
    else if (kind === 'both')
      between(
        () => {
          tell(`the cable of ${box.name} is pulled`)
          network.setCable(box.host, false)
          note(box.name)
          for (const name of names)
            if (name !== box.name) {
              note(pair(name, box.name))
              network.cut(name, box.name)
            }
        },
        () => {
          tell(`the cable of ${box.name} is in`)
          network.setCable(box.host, true)
          note(box.name)
          for (const name of names)
            if (name !== box.name) {
              note(pair(name, box.name))
              network.mend(name, box.name)
            }
        },
      )
    else if (kind === 'drain')
      between(
        () => {
          tell(`${box.name} drains`)
          // A box that stands still hears of it later, and of requests that came before.
          box.host.run(() => {
            for (const { waiting } of box.own.values()) for (const { id } of waiting) drainedWith.add(id)
            box.drain(true)
          })
        },
        () => {
          tell(`${box.name} drains no more`)
          box.host.run(() => box.drain(false))
        },
      )
    else if (kind === 'leave' && !box.host.isStopped)
      between(
        () => {
          tell(`${box.name} leaves`)
          for (const { waiting } of box.own.values()) for (const { id } of waiting) drainedWith.add(id)
          note(box.name)
          box.leave()
        },
        () => {
          if (boxes.get(box.name) !== box) return
          if (!box.host.isKilled) kill(box)
          boot(box.name)
        },
      )
  }

  for (const name of names) boot(name)
  const strikes = kinds.length === 0 ? 0 : 1 + Math.floor(random() * 5)
  for (let at = 0; at < strikes; at += 1) after(1_000 + random() * (FAULTY_MS - 1_000), strike)
  const bursts = 1 + Math.floor(random() * 5)
  let requests = 0
  for (let at = 0; at < bursts; at += 1) {
    const service = pick(services)
    const size = 1 + Math.floor(random() * 8)
    const spread = random() ** 2 * 30
    after(700 + random() * (FAULTY_MS - 500), () => {
      for (let one = 0; one < size; one += 1)
        after(random() * spread, () => {
          const box = boxes.get(pick(names)) as Box
          if (box.host.isKilled || box.host.isStopped) return
          requests += 1
          const id = `r${requests}`
          const preferred = random() < 0.5 ? pick(names) : undefined
          asked.add(id)
          tell(`${id} for ${service} at ${box.name}${preferred === undefined ? '' : `, first ${preferred}`}`)
          box.request(id, service, preferred)
        })
    })
  }
  after(FAULTY_MS, () => {
    for (const mend of [...mends]) mend()
    tell('everything is mended')
  })

  /** Members that a well one cannot reach in any way: since when. */
  const apart = new Map<string, number>()
  const watchParted = () => {
    for (const box of boxes.values())
      for (const other of boxes.values()) {
        const key = `${box.boot} ${other.boot}`
        const isReached =
          !other.host.isStopped &&
          !other.host.isKilled &&
          (network.hasPath(box.name, other.name) || network.reaches(other.host))
        if (isReached || !isWell(box) || !met.has(key)) {
          apart.delete(key)
          continue
        }
        if (!isCalm(box.name, 'nats', 'weather')) apart.delete(key)
        const since = apart.get(key) ?? now()
        apart.set(key, since)
        if (now() - since > POLICY.lostMs + POLICY.beatMs + POLICY.probeMs + 300)
          fail('a member that is gone is found in time', `${box.name} does not call ${other.boot} lost`)
      }
    after(100, watchParted)
  }
  after(0, watchParted)

  /** Leases whose gateway is gone: since when. */
  const orphans = new Map<string, number>()
  const watchOrphans = () => {
    for (const box of boxes.values()) {
      if (!isWell(box) || !isCalm(box.name, 'nats', 'weather')) {
        orphans.clear()
        continue
      }
      for (const { leases, waiting } of box.own.values())
        for (const { id, origin } of [...leases.values(), ...waiting]) {
          if (origin === null) continue
          const gateway = boxes.get(origin.member)
          const isGone = gateway === undefined || gateway.boot !== origin.boot || gateway.host.isKilled
          const key = `${box.boot} ${id} ${origin.number}`
          if (!isGone) orphans.delete(key)
          else {
            const since = orphans.get(key) ?? now()
            orphans.set(key, since)
            if (now() - since > POLICY.lostMs + POLICY.beatMs + POLICY.probeMs + 1_000)
              fail('I9: leases of a lost origin end', `${box.name} holds ${id} of ${origin.boot}`)
          }
        }
    }
    after(100, watchOrphans)
  }
  after(0, watchOrphans)

  timeline.runUntil(FAULTY_MS + QUIET_MS, look)

  for (const id of asked)
    if (!ended.has(id)) fail('every request ends once', `${id} has not ended after ${LIMIT_MS} ms and more`)
  for (const box of boxes.values()) {
    if (!box.isJoined()) fail('every member comes back', `${box.name} is ${box.memberState()}`)
    const view = box.view()
    for (const other of boxes.values())
      if (other !== box && view[other.name] !== `${other.boot} {"alive":"open"}`)
        fail(
          'every member comes back',
          `${box.name} sees ${other.name} as ${view[other.name]}, not as ${other.boot}`,
        )
    for (const { leases, waiting } of box.own.values())
      if (leases.size + waiting.length > 0)
        fail('I9: leases of a lost origin end', `${box.name} holds leases`)
  }
  look()
  const ends: Record<End, number> = { complete: 0, cut: 0, refused: 0, 'too late': 0 }
  for (const how of ended.values()) ends[how] += 1
  return { requests: asked.size, ...ends, ...counts, story }
}
