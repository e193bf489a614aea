import { randomBytes } from 'node:crypto'
import type { NatsConnection } from '@nats-io/transport-node'
import { type Card, isNewerCard, type NewerCard, readCard } from '../../machines/cluster/messages.ts'
import { type Clock, delay } from '../clock.ts'
import type { ClusterConfig } from '../config/cluster.ts'
import { get } from '../transport/get.ts'
import { createMemberProof } from '../transport/member-proof.ts'
import { createMemberTls, explainMemberTls } from '../transport/member-tls.ts'
import { readCredentials } from './credentials.ts'
import { type Libraries, loadLibraries } from './libraries.ts'
import { createMemberDoor } from './member-door.ts'
import { explainNatsFault, isAuthFault } from './nats-faults.ts'
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
  const attempt = async <Result>(
    about: string,
    work: () => Promise<Result>,
    explain = toText,
  ): Promise<Result | undefined> => {
    try {
      return await work()
    } catch (error) {
      note(about, 'error', explain(error))
      return undefined
    }
  }

  const libraries = await attempt('libraries', loadLibraries)
  if (libraries === undefined) return results
  const credentials = await attempt('credentials', () => readCredentials(config, libraries))
  if (credentials === undefined) return results
  let hasLooked = false
  for (const server of config.servers) {
    const options = { ...toConnectOptions(config), ...credentials, servers: [server] }
    const nc = await attempt(
      server,
      () => libraries.transport.connect(options),
      (error) => explainConnection(error, config),
    )
    if (nc === undefined) continue
    try {
      const version = nc.info?.version ?? ''
      if (isOld(version))
        note(
          server,
          'error',
          `nats-server ${version} is too old for claims on cold starts: install ${LEAST_SERVER.join('.')} or later`,
        )
      else note(server, 'ok', `connected: nats-server ${version}`)
      // The servers are one cluster of NATS.
      if (hasLooked) continue
      hasLooked = true
      if (!isOld(version)) await checkClaims(server, nc, { config, clock, libraries }, note)
      await checkMembers(await takeCensus(nc, config, clock, note), config, clock, note)
    } finally {
      await nc.close()
    }
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
      'JetStream is off, so no claim can be had and several members may start one model: add jetstream { store_dir: … } to its configuration, or start it with -js',
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
        ? `a claim cannot be had (${claim.message}): give this member the permissions that "leasehold cluster nats-config" prints, and set claimReplicas (${config.claimReplicas}) to no more than there are servers`
        : 'a claim of another check is in the way: try again',
    )
  await claims.release(name, claim.revision)
  note(server, 'ok', `claims work (${Math.round(clock.now() - begunMs)} ms for one)`)
}

async function takeCensus(
  nc: NatsConnection,
  { prefix }: ClusterConfig,
  clock: Clock,
  note: Note,
): Promise<readonly (Card | NewerCard)[]> {
  const subjects = toSubjects(prefix)
  const cards = new Map<string, Card | NewerCard>()
  nc.subscribe(subjects.card('*'), {
    callback: (error, msg) => {
      if (error !== null)
        return note(
          'members',
          'error',
          `their cards cannot be read (${error.message}): give this member the permissions that "leasehold cluster nats-config" prints`,
        )
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
    note('members', 'warning', 'no member is there: start leasehold serve on the machines')
  const self = { member: config.member, boot: randomBytes(6).toString('hex') }
  let number = 0
  const door = createMemberDoor({
    clock,
    tls: createMemberTls(config.secret),
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
      note(
        about,
        'error',
        `two members have this name, at ${twins.map(({ address }) => address).join(' and ')}: give one of them another leasehold.cluster.member`,
      )
    if (card.member === config.member && card.address !== config.address)
      note(
        about,
        'error',
        `another gateway has the name of this member, at ${card.address} (here ${config.address}): give one of the two another leasehold.cluster.member, or restart leasehold serve if its address was changed`,
      )
    if (isNewerCard(card))
      note(
        about,
        'warning',
        `speaks a newer format (leasehold ${card.version}), so it is not used: install that version here`,
      )
    if (card.address === null) {
      note(about, 'ok', 'has no address: it only sends requests')
      continue
    }
    if (!(await checkGateway(about, card.address, config, clock, note))) continue
    const answer = await door.askCard(card, card.address, HTTP_MS)
    if (answer.outcome === 'answered') note(about, 'ok', `${card.address} answers and has the same secret`)
    else
      note(
        about,
        'error',
        `${card.address} answers, but not as this member (${answer.detail}): give all members the same leasehold.cluster.secret, and each its own address`,
      )
  }
}

/** Whether anything answers at the address of a member. Its clock is looked at, too. */
async function checkGateway(
  about: string,
  address: string,
  config: ClusterConfig,
  clock: Clock,
  note: Note,
): Promise<boolean> {
  try {
    const { headers } = await ask(address, config, clock)
    const aheadMs = Date.parse(String(headers.date)) - Date.now()
    if (Math.abs(aheadMs) > CLOCK_MS)
      note(
        about,
        'warning',
        `its clock is ${Math.round(Math.abs(aheadMs) / 1000)} s ${aheadMs > 0 ? 'ahead of' : 'behind'} this one: times in logs do not match; set both by NTP`,
      )
    return true
  } catch (error) {
    const fault = explainMemberTls(error)
    if (fault !== undefined)
      note(
        about,
        'error',
        `${address} is reached, but ${fault}: give all members the same leasehold.cluster.secret`,
      )
    else
      note(
        about,
        'error',
        `${address} cannot be reached from here (${toText(error)}): correct leasehold.cluster.address there, or let leasehold.host and the firewall there take connections from here`,
      )
    return false
  }
}

async function checkOwnAddress(config: ClusterConfig, clock: Clock, note: Note): Promise<void> {
  const about = 'this member'
  const { address } = config
  try {
    const { status, body } = await ask(address, config, clock)
    if (status === 200 && body.includes('"leasehold"')) note(about, 'ok', `${address} is a gateway`)
    else
      note(
        about,
        'error',
        `another program answers at ${address} (status ${status}): correct leasehold.cluster.address`,
      )
  } catch (error) {
    note(
      about,
      'warning',
      `${address} does not answer (${toText(error)}): start leasehold serve here, and let other members reach the port`,
    )
  }
}

function ask(address: string, { secret }: ClusterConfig, clock: Clock) {
  const tls = createMemberTls(secret).connect
  return get({ url: `${address}/health`, headers: {}, timeoutMs: HTTP_MS, maxBodyBytes: 4096, clock, tls })
}

/** Why a server does not take this member, and what to do. */
function explainConnection(error: unknown, config: ClusterConfig): string {
  const { member, credentialsFile } = config
  const { isRefusal, message } = explainNatsFault(error, config)
  if (!isRefusal)
    return `cannot be reached (${message}): start nats-server -js there, or correct leasehold.cluster.servers`
  if (!isAuthFault(error)) return message
  const command = `"leasehold cluster nats-config ${member} …"`
  return credentialsFile === undefined
    ? `asks for a key, and none is configured (${toText(error)}): set leasehold.cluster.credentialsFile; ${command} makes the keys`
    : `refuses the key in ${credentialsFile} (${toText(error)}): add the user that ${command} prints to its configuration, and reload it`
}

function toText(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function isOld(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [leastMajor, leastMinor] = LEAST_SERVER
  return major < leastMajor || (major === leastMajor && minor < leastMinor)
}
