/** A network in virtual time: NATS with its store of claims, and HTTP. It loses, delays, doubles and reorders on demand. */

export type Random = () => number

/** The same numbers for the same seed. */
export function createRandom(seed: number): Random {
  let state = (seed + 0x6d2b79f5) | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

export interface Entry {
  readonly atMs: number
  readonly order: number
  readonly run: () => void
  isOff: boolean
}

/** Everything that happens, in order of time. Nothing here is asynchronous. */
export function createTimeline() {
  const heap: Entry[] = []
  let nowMs = 0
  let order = 0
  const isBefore = (a: Entry, b: Entry) => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
  const push = (entry: Entry) => {
    let at = heap.push(entry) - 1
    while (at > 0) {
      const up = (at - 1) >> 1
      const parent = heap[up] as Entry
      if (!isBefore(entry, parent)) break
      heap[at] = parent
      at = up
    }
    heap[at] = entry
  }
  const pop = (): Entry | undefined => {
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || first === last) return first
    let at = 0
    for (;;) {
      let down = 2 * at + 1
      if (down >= heap.length) break
      if (down + 1 < heap.length && isBefore(heap[down + 1] as Entry, heap[down] as Entry)) down += 1
      if (!isBefore(heap[down] as Entry, last)) break
      heap[at] = heap[down] as Entry
      at = down
    }
    heap[at] = last
    return first
  }
  return {
    now: () => nowMs,
    after: (ms: number, run: () => void): Entry => {
      order += 1
      const entry = { atMs: nowMs + Math.max(0, ms), order, run, isOff: false }
      push(entry)
      return entry
    },
    /** Runs everything that is due until then, and looks after every step. */
    runUntil: (timeMs: number, look: () => void) => {
      for (;;) {
        const next = heap[0]
        if (next === undefined || next.atMs > timeMs) break
        pop()
        if (next.isOff) continue
        nowMs = next.atMs
        next.run()
        look()
      }
      nowMs = timeMs
    },
  }
}

export type Timeline = ReturnType<typeof createTimeline>

/** A process: what is meant for it waits while it is stopped, and is dropped when it is killed. */
export interface Host {
  readonly name: string
  readonly boot: string
  isStopped: boolean
  isKilled: boolean
  /** The cable between it and NATS. */
  hasNats: boolean
  /** What its library believes. */
  isConnected: boolean
  /** What the server believes. */
  isRegistered: boolean
  run(work: () => void): void
  receive(subject: 'card' | 'bye' | 'who', from: string, value: unknown): void
  /** It is asked over NATS or HTTP for the state of a service. */
  stateOf(service: string): string
  card(): unknown
  onConnected(): void
  onDisconnected(): void
}

/** How bad the network is: shares of messages, between 0 and 1. */
export interface Weather {
  readonly lost: number
  readonly late: number
  readonly doubled: number
  /** Share of answers of the store that never come; what was asked for is done all the same. */
  readonly unanswered: number
}

export interface ClaimEntry {
  readonly member: string
  readonly boot: string
  readonly revision: number
  readonly untilMs: number
}

export interface NetworkOptions {
  readonly timeline: Timeline
  readonly random: Random
  readonly weather: () => Weather
  readonly claimTtlMs: number
}

export function createNetwork({ timeline, random, weather, claimTtlMs }: NetworkOptions) {
  const { after, now } = timeline
  const hosts = new Map<string, Host>()
  const cuts = new Set<string>()
  const claims = new Map<string, ClaimEntry>()
  let isServerUp = true
  let revision = 0

  const latency = () => 1 + random() * 3
  const living = () => [...hosts.values()].filter(({ isKilled }) => !isKilled)
  const reaches = (host: Host) => isServerUp && host.hasNats && !host.isKilled
  const cutKey = (a: string, b: string) => (a < b ? `${a} ${b}` : `${b} ${a}`)
  const hasPath = (a: string, b: string) => a === b || !cuts.has(cutKey(a, b))
  const claimOf = (service: string) => {
    const entry = claims.get(service)
    return entry !== undefined && entry.untilMs > now() ? entry : undefined
  }
  const write = (service: string, { name, boot }: Host) => {
    revision += 1
    claims.set(service, { member: name, boot, revision, untilMs: now() + claimTtlMs })
    return revision
  }
  /** The library notices a dead connection late, a closed one at once, and tries again until it is connected. */
  const disconnect = (host: Host, ms: number) =>
    after(ms, () => {
      if (host.isKilled || reaches(host) || !host.isConnected) return
      host.isConnected = false
      host.run(host.onDisconnected)
    })
  const reconnect = (host: Host) =>
    after(50 + random() * 250, () => {
      if (!reaches(host) || host.isStopped) return
      host.isRegistered = true
      if (host.isConnected) return
      host.isConnected = true
      host.run(host.onConnected)
    })

  /** What TCP has sent arrives when the cable is in again. */
  const overPath = (a: string, b: string, work: () => void, ms = latency()) => {
    after(ms, () => {
      if (hasPath(a, b)) work()
      else overPath(a, b, work, 200)
    })
  }

  return {
    hosts,
    hasPath,
    reaches,
    claimOf,
    claims,
    isServerUp: () => isServerUp,
    join: (host: Host) => {
      hosts.set(host.name, host)
      reconnect(host)
    },
    kill: (host: Host) => {
      host.isKilled = true
      host.isConnected = false
      if (reaches({ ...host, isKilled: false })) host.isRegistered = false
      else
        after(2_500, () => {
          host.isRegistered = false
        })
    },
    resume: (host: Host) => {
      if (!host.isConnected) reconnect(host)
    },
    cut: (a: string, b: string) => void cuts.add(cutKey(a, b)),
    mend: (a: string, b: string) => void cuts.delete(cutKey(a, b)),
    setServer: (isUp: boolean, keepsStore: boolean) => {
      isServerUp = isUp
      if (!isUp && !keepsStore) claims.clear()
      for (const host of living()) {
        if (isUp) reconnect(host)
        else {
          host.isRegistered = false
          disconnect(host, 3 + random() * 40)
        }
      }
    },
    setCable: (host: Host, isIn: boolean) => {
      host.hasNats = isIn
      if (isIn) return void reconnect(host)
      disconnect(host, 2_400 + random() * 600)
      after(2_000 + random() * 500, () => {
        if (!reaches(host)) host.isRegistered = false
      })
    },
    publish: (from: Host, subject: 'card' | 'bye' | 'who', value: unknown) => {
      // What is sent without a connection is dropped without a word.
      if (!from.isConnected || !reaches(from)) return
      const deliver = (to: Host, ms: number) =>
        after(ms, () => {
          if (reaches(to) && to.isConnected) to.run(() => to.receive(subject, from.name, value))
        })
      const { lost, late, doubled } = weather()
      for (const to of living()) {
        if (random() < lost) continue
        deliver(to, random() < late ? random() * 2_500 : latency())
        if (random() < doubled) deliver(to, random() * 1_000)
      }
    },
    /** A question to the store. It may be done long after the one who asked has given up. */
    ask: <Reply>(from: Host, work: () => Reply, reply: (reply: Reply | 'unavailable') => void) => {
      if (!from.isConnected) return void after(0, () => from.run(() => reply('unavailable')))
      const { late, unanswered } = weather()
      after(random() < late ? random() * 3_000 : latency(), () => {
        if (!reaches(from)) return
        const result = work()
        if (random() < unanswered) return
        after(latency(), () => {
          if (reaches(from)) from.run(() => reply(result))
        })
      })
    },
    store: {
      create: (service: string, host: Host) => {
        const held = claimOf(service)
        return held === undefined ? { won: write(service, host) } : { held }
      },
      update: (service: string, host: Host, expected: number) => {
        const held = claimOf(service)
        if (held?.revision === expected) return { won: write(service, host) }
        return held === undefined ? 'free' : { held }
      },
      read: (service: string) => claimOf(service),
      purge: (service: string, expected: number) => {
        if (claims.get(service)?.revision === expected) claims.delete(service)
      },
    },
    /** Asks one run over NATS. */
    request: (
      from: Host,
      name: string,
      boot: string,
      service: string,
      reply: (state: string | 'none' | 'silent') => void,
    ) => {
      const answer = (state: string) => void after(latency(), () => from.run(() => reply(state)))
      if (!from.isConnected) return answer('silent')
      after(latency(), () => {
        if (!reaches(from)) return
        const host = hosts.get(name)
        if (host === undefined || host.boot !== boot || !host.isRegistered) return answer('none')
        if (reaches(host) && !host.isKilled) host.run(() => answer(host.stateOf(service)))
      })
    },
    /** Asks over HTTP. Over a cut cable, and from a stopped process, the answer comes when that is over. */
    http: (
      from: Host,
      name: string,
      serve: (host: Host, respond: (work: () => void) => void) => void,
      refused: () => void,
    ) => {
      overPath(from.name, name, () => {
        const host = hosts.get(name)
        const respond = (work: () => void) => overPath(from.name, name, () => from.run(work))
        if (host === undefined || host.isKilled) return respond(refused)
        host.run(() => serve(host, respond))
      })
    },
  }
}

export type Network = ReturnType<typeof createNetwork>
