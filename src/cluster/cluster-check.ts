import { randomBytes } from 'node:crypto'
import type { NatsConnection } from '@nats-io/transport-node'
import { type Card, isNewerCard, type NewerCard, readCard } from '../../machines/cluster/messages.ts'
import { type Clock, delay } from '../clock.ts'
import type { ClusterConfig } from '../config/cluster.ts'
import { get } from '../transport/get.ts'
import { createMemberProof } from '../transport/member-proof.ts'
import { readCredentials } from './credentials.ts'
import { type Libraries, loadLibraries } from './libraries.ts'
import { createMemberDoor } from './member-door.ts'
import { toConnectOptions } from './nats-link.ts'
import { createStartClaims } from './start-claims.ts'
import { toSubjects } from './subjects.ts'

/** One thing that was looked at. */
export interface CheckResult {
  readonly about: string
  readonly verdict: 'ok' | 'warning' | 'error'
  readonly text: string
}

/** The first version whose buckets tell that a claim has expired. */
const LEAST_SERVER = [2, 11] as const
/** Time in which members answer who is there, in milliseconds: more than one beat. */
const CENSUS_MS = 1200
/** Longest time for an answer over HTTP, in milliseconds. */
const HTTP_MS = 2000
/** A clock that differs by more makes times in logs hard to compare, in milliseconds. Nothing else depends on it. */
const CLOCK_MS = 5000

/** Looks at everything that keeps members apart: files, servers, permissions, names, addresses, the secret. */
export async function checkCluster(config: ClusterConfig, clock: Clock): Promise<readonly CheckResult[]> {
  const results: CheckResult[] = []
  const note = (about: string, verdict: CheckResult['verdict'], text: string) =>
    results.push({ about, verdict, text })
  const attempt = async <Result>(about: string, work: () => Promise<Result>): Promise<Result | undefined> => {
    try {
      return await work()
    } catch (error) {
      note(about, 'error', error instanceof Error ? error.message : String(error))
      return undefined
    }
  }

  const libraries = await attempt('libraries', loadLibraries)
  if (libraries === undefined) return results
  const credentials = await attempt('credentials', () => readCredentials(config, libraries))
  if (credentials === undefined) return results
  for (const server of config.servers) {
    const nc = await attempt(server, () =>
      libraries.transport.connect({
        ...toConnectOptions(config),
        ...credentials,
        servers: [server],
        reconnect: false,
      }),
    )
    if (nc === undefined) continue
    try {
      note(server, 'ok', `connected: nats-server ${nc.info?.version ?? 'of unknown version'}`)
      if (isOld(nc.info?.version ?? ''))
        note(
          server,
          'error',
          `nats-server ${nc.info?.version} is too old: claims on starts need ${LEAST_SERVER.join('.')} or later`,
        )
      await checkClaims(server, nc, { config, clock, libraries }, note)
      const cards = await takeCensus(nc, config, clock)
      await checkMembers(cards, config, clock, note)
    } finally {
      await nc.close()
    }
    break
  }
  await checkOwnAddress(config, clock, note)
  return results
}

type Note = (about: string, verdict: CheckResult['verdict'], text: string) => void

async function checkClaims(
  server: string,
  nc: NatsConnection,
  { config, clock, libraries }: { config: ClusterConfig; clock: Clock; libraries: Libraries },
  note: Note,
): Promise<void> {
  if (nc.info?.jetstream !== true)
    return note(
      server,
      'error',
      'JetStream is off, so no claim can be had and several members may start one model: add jetstream { store_dir: … }',
    )
  const claims = createStartClaims({
    config: { ...config, claimTimeoutMs: Math.max(config.claimTimeoutMs, HTTP_MS) },
    self: { member: config.member, boot: 'check' },
    link: { connection: nc, subjects: toSubjects(config.prefix) },
    clock,
    libraries,
  })
  // A name that no provider has.
  const name = `check/${config.member}`
  const begunMs = clock.now()
  const claim = await claims.take(name)
  if (claim.outcome !== 'won')
    return note(
      server,
      'error',
      claim.outcome === 'unavailable'
        ? `a claim cannot be had: ${claim.message}`
        : 'a claim of another check is in the way; try again',
    )
  await claims.release(name, claim.revision)
  note(server, 'ok', `claims work (${Math.round(clock.now() - begunMs)} ms for one)`)
}

async function takeCensus(
  nc: NatsConnection,
  { prefix }: ClusterConfig,
  clock: Clock,
): Promise<readonly (Card | NewerCard)[]> {
  const subjects = toSubjects(prefix)
  const cards = new Map<string, Card | NewerCard>()
  nc.subscribe(subjects.card('*'), {
    callback: (error, msg) => {
      if (error !== null) return
      try {
        const card = readCard(msg.json())
        if (card !== undefined) cards.set(`${card.member} ${card.boot}`, card)
      } catch {
        // It is no card.
      }
    },
  })
  nc.publish(subjects.who)
  await delay(clock, CENSUS_MS)
  return [...cards.values()]
}

async function checkMembers(
  cards: readonly (Card | NewerCard)[],
  config: ClusterConfig,
  clock: Clock,
  note: Note,
): Promise<void> {
  if (cards.length === 0)
    note('members', 'warning', 'no member is there: is leasehold serve running on the machines?')
  const self = { member: config.member, boot: randomBytes(6).toString('hex') }
  let number = 0
  const door = createMemberDoor({
    clock,
    proof: createMemberProof(config.secret, self),
    nextNumber: () => {
      number += 1
      return number
    },
  })
  for (const card of cards) {
    const about = `member ${card.member}`
    const twins = cards.filter(({ member }) => member === card.member)
    if (twins.length > 1)
      note(about, 'error', `two members have this name: ${twins.map(({ address }) => address).join(' and ')}`)
    if (card.member === config.member && card.address !== config.address)
      note(
        about,
        'error',
        `has the name of this member and another address: ${card.address}, here ${config.address}`,
      )
    if (isNewerCard(card)) note(about, 'warning', `speaks a newer format (leasehold ${card.version})`)
    if (card.address === null) {
      note(about, 'ok', 'has no address: it only sends requests')
      continue
    }
    const answer = await door.askCard(card, card.address, HTTP_MS)
    if (answer.outcome === 'answered') note(about, 'ok', `${card.address} answers and has the same secret`)
    else note(about, 'error', `${card.address} does not answer as a member: ${answer.detail}`)
    await checkClock(about, card.address, clock, note)
  }
}

async function checkClock(about: string, address: string, clock: Clock, note: Note): Promise<void> {
  try {
    const { headers } = await ask(address, clock)
    const differenceMs = Math.abs(Date.parse(String(headers.date)) - Date.now())
    if (differenceMs > CLOCK_MS)
      note(
        about,
        'warning',
        `its clock differs by ${Math.round(differenceMs / 1000)} s: times in logs do not match`,
      )
  } catch {
    // That it does not answer is told already.
  }
}

async function checkOwnAddress({ address }: ClusterConfig, clock: Clock, note: Note): Promise<void> {
  const about = 'this member'
  try {
    const { status, body } = await ask(address, clock)
    if (status === 200 && body.includes('"leasehold"')) note(about, 'ok', `${address} is a gateway`)
    else note(about, 'error', `${address} is no gateway of leasehold: status ${status}`)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    note(
      about,
      'warning',
      `${address} does not answer (${why}): is leasehold serve running, and may others reach the port?`,
    )
  }
}

function ask(address: string, clock: Clock) {
  return get({ url: `${address}/health`, headers: {}, timeoutMs: HTTP_MS, maxBodyBytes: 4096, clock })
}

function isOld(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [leastMajor, leastMinor] = LEAST_SERVER
  return major < leastMajor || (major === leastMajor && minor < leastMinor)
}
