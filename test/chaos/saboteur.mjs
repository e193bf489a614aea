import { setTimeout as delay } from 'node:timers/promises'
import { CONTAINER } from './container.mjs'
import { ask } from './gateway.mjs'
import { describe, listMarked, signalMarked } from './processes.mjs'
import { createRandom } from './random.mjs'

/** What is done to a gateway's servers while it works, and how often besides the kills, which have their own count. */
const DEEDS = {
  'server hung': 3,
  'health hung': 2,
  'health lied': 2,
  'server crashed before its answer': 3,
  'stop asked': 3,
  'forced stop asked': 2,
  'start asked': 2,
  'configuration changed': 1,
  'client of the container killed': 2,
}

/** Something is done after this time even when no request gets further, in milliseconds. */
const IDLE_MS = 10_000

/**
 * Does harm to the servers of one gateway until it is told to end. It signals only what carries the campaign's mark.
 * @param quota the round's requests, of which `sent()` were sent
 * @param kills how many servers are to be killed in this round
 */
export function startSaboteur({ url, ports, owned, mark, changeConfig, seed, kills, quota, sent, done }) {
  const random = createRandom(seed)
  const killAt = Array.from({ length: kills }, () => random.next() * 0.95 * quota).sort(
    (one, other) => one - other,
  )
  let isOver = false
  const { 'client of the container killed': _, ...others } = DEEDS
  const deedsHere = owned.includes(CONTAINER) ? DEEDS : others

  const pickServer = () => {
    const servers = listMarked(mark).filter((pid) => /demo-server\.m?js/.test(describe(pid)))
    return servers.length === 0 ? undefined : random.pick(servers)
  }
  const control = (name, body) =>
    ask(`http://127.0.0.1:${ports[name]}/__control`, { method: 'POST', body, limitMs: 500 })
  const command = (name, verb, body) =>
    ask(`${url}/api/services/${name}/${verb}`, { method: 'POST', body: body ?? {}, limitMs: 10_000 })
  /** Does something to a server, and undoes it after a while, if the server is still there. */
  const forAWhile = async (name, harm, cure) => {
    await control(name, harm)
    await delay(random.whole(50, 500))
    await control(name, cure)
  }

  const kill = () => {
    const server = pickServer()
    if (server === undefined || !signalMarked(server, 'SIGKILL', mark)) return false
    done('server killed')
    return true
  }
  const killClient = () => {
    const isClient = (pid) => new RegExp(`(docker|podman) run .*leasehold-${CONTAINER}-`).test(describe(pid))
    const client = listMarked(mark).find(isClient)
    if (client !== undefined) signalMarked(client, 'SIGKILL', mark)
  }
  const act = async (deed, name) => {
    switch (deed) {
      case 'server hung': {
        const server = pickServer()
        if (server === undefined || !signalMarked(server, 'SIGSTOP', mark)) return
        await delay(random.whole(50, 600))
        signalMarked(server, 'SIGCONT', mark)
        return
      }
      case 'health hung':
        return forAWhile(name, { hangHealth: true }, { hangHealth: false })
      case 'health lied':
        return forAWhile(name, { failLoad: 'health500' }, { failLoad: null })
      case 'server crashed before its answer':
        return forAWhile('flaky', { crashBeforeResponse: true }, { crashBeforeResponse: false })
      case 'stop asked':
        return command(name, 'stop')
      case 'forced stop asked':
        return command(name, 'stop', { force: true })
      case 'client of the container killed':
        return killClient()
      case 'configuration changed':
        return changeConfig()
      default:
        return command(name, 'start')
    }
  }
  /** Deeds overlap: one does not wait for the cure of another. */
  const deeds = new Set()
  const killing = (async () => {
    for (const at of killAt) {
      while (!isOver && sent() < at) await delay(5)
      // A look for servers reads all of /proc: often is dear.
      while (!isOver && !kill()) await delay(100)
    }
  })()
  const working = (async () => {
    while (!isOver) {
      // So many requests further, which makes some four deeds in a round. Harm to a host that is too busy to get
      // further would only keep it so.
      const next = sent() + random.whole(Math.ceil(quota / 8), Math.ceil(quota / 3))
      const giveUpAtMs = performance.now() + IDLE_MS
      while (!isOver && sent() < next && performance.now() < giveUpAtMs) await delay(5)
      if (isOver) break
      const deed = random.weighted(deedsHere)
      const name = random.pick(owned)
      const running = act(deed, name).finally(() => deeds.delete(running))
      done(deed, name, running)
      deeds.add(running)
      if (deeds.size > 4) await Promise.race(deeds)
    }
  })()

  return {
    async end() {
      isOver = true
      await Promise.all([killing, working, ...deeds])
    },
  }
}
