/** What the members of a cluster say to each other. All JSON; what arrives is read by `readCard` and `readStartClaim`. */

/** A model that a member offers. */
export interface CardModel {
  readonly id: string
  readonly aliases?: readonly string[]
  readonly api: string
  readonly input?: readonly string[]
  /** Tokens of its context; absent: not known. */
  readonly context?: number
}

/** `asking`: the member wants to start it and has not won the claim. It ranks as cold, so that two that ask do not defer to each other. */
export type CardServiceState = 'cold' | 'asking' | 'starting' | 'ready' | 'failed'

/** What a start would do on that host: start at once, stop another service first, wait for one, or never start. */
export type CardFit = 'fits' | 'evicts' | 'waits' | 'never'

/** Whether there is, or can be made, room at once. */
export function hasRoomSoon(fit: CardFit): boolean {
  return fit === 'fits' || fit === 'evicts'
}

/** One provider that a member offers. */
export interface CardService {
  readonly models: readonly CardModel[]
  readonly state: CardServiceState
  /** It is `cold`, and its server is there and sleeps: a request wakes it. @default false */
  readonly isAsleep?: boolean
  readonly leases: number
  readonly waiting: number
  /** Maximum number of leases at once; `null`: no limit. */
  readonly room: number | null
  /** How long a start takes, in milliseconds; `null`: not known. */
  readonly startMs: number | null
  readonly fit: CardFit
}

/** What a member says of itself. A newer card replaces the one before; `seq` counts within one `boot`. */
export interface Card {
  readonly v: 1
  readonly member: string
  /** A random name of this run of the member. */
  readonly boot: string
  readonly seq: number
  /** Where members reach its gateway; `null`: nowhere, it only sends requests. */
  readonly address: string | null
  /** The version of leasehold. */
  readonly version: string
  readonly state: 'open' | 'draining'
  /** By provider id. */
  readonly services: Readonly<Record<string, CardService>>
  /** By member: the number of the last request from it that `leases` and `waiting` include. */
  readonly counted: Readonly<Record<string, number>>
}

/** A card of a format that this version does not know. Its member is listed and not used. */
export interface NewerCard {
  /** At least 2. */
  readonly v: number
  readonly member: string
  readonly boot: string
  readonly seq: number
  readonly address: string | null
  readonly version: string
  readonly services?: undefined
}

/** The value of a claim on the start of a service: the member that holds it, and which run of that member. */
export interface StartClaim {
  readonly member: string
  readonly boot: string
}

/** A member name is a token of subjects, so it has neither dots nor wildcards. */
const MEMBER_NAME = /^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/

const BOOT = /^[A-Za-z0-9_-]{1,64}$/
const STATES: readonly CardServiceState[] = ['cold', 'asking', 'starting', 'ready', 'failed']
const FITS: readonly CardFit[] = ['fits', 'evicts', 'waits', 'never']
const MAX_TEXT = 1_024
const MAX_SERVICES = 512
const MAX_MODELS = 4_096
const MAX_LIST = 64
/** Most origins in `counted`. A member with more tells of the latest. */
export const MAX_COUNTED = 1_024

type Fields = Readonly<Record<string, unknown>>

/**
 * A card as it came from another member. `undefined`: it is no card. Unknown fields are ignored, and so is a service
 * whose state or fit this version does not know; a card of another format is only told apart.
 */
export function readCard(value: unknown): Card | NewerCard | undefined {
  if (!isFields(value) || !isCount(value.v) || value.v < 1) return undefined
  const { member, boot, seq, address, version, state } = value
  if (!isMemberName(member) || !isBoot(boot) || !isCount(seq) || !isText(version)) return undefined
  if (address !== null && !isAddress(address)) return undefined
  if (value.v > 1) return { v: value.v, member, boot, seq, address, version }
  if (state !== 'open' && state !== 'draining') return undefined
  const services = readServices(value.services)
  const counted = readCounted(value.counted)
  if (services === undefined || counted === undefined) return undefined
  return { v: 1, member, boot, seq, address, version, state, services, counted }
}

export function isNewerCard(card: Card | NewerCard): card is NewerCard {
  return card.services === undefined
}

/** The value of a claim. `undefined`: it is none, as after a purge. */
export function readStartClaim(value: unknown): StartClaim | undefined {
  return isFields(value) && isMemberName(value.member) && isBoot(value.boot)
    ? { member: value.member, boot: value.boot }
    : undefined
}

function readServices(value: unknown): Card['services'] | undefined {
  if (!isFields(value)) return undefined
  const entries = Object.entries(value)
  if (entries.length > MAX_SERVICES) return undefined
  const services = entries.flatMap(([id, fields]) => {
    const service = id.length > MAX_TEXT ? undefined : readService(fields)
    return service === undefined ? [] : [[id, service] as const]
  })
  const models = services.reduce((sum, [, service]) => sum + service.models.length, 0)
  return models > MAX_MODELS ? undefined : Object.fromEntries(services)
}

function readService(value: unknown): CardService | undefined {
  if (!isFields(value) || !Array.isArray(value.models)) return undefined
  const { leases, waiting, room, startMs } = value
  const state = STATES.find((name) => name === value.state)
  const fit = FITS.find((name) => name === value.fit)
  if (state === undefined || fit === undefined || !isCount(leases) || !isCount(waiting)) return undefined
  if ((room !== null && !isCount(room)) || (startMs !== null && !isDuration(startMs))) return undefined
  const models = value.models.map(readModel).filter((model) => model !== undefined)
  // It says more of `cold` alone, so that a version that does not know it takes the service for a cold one.
  const asleep = state === 'cold' && value.isAsleep === true ? { isAsleep: true } : {}
  return { models, state, ...asleep, leases, waiting, room, startMs, fit }
}

function readModel(value: unknown): CardModel | undefined {
  if (!isFields(value) || !isText(value.id) || value.id === '' || !isText(value.api)) return undefined
  const { id, api, aliases, input, context } = value
  return {
    id,
    api,
    ...(isTextList(aliases) ? { aliases } : {}),
    ...(isTextList(input) ? { input } : {}),
    ...(isCount(context) ? { context } : {}),
  }
}

function readCounted(value: unknown): Card['counted'] | undefined {
  if (!isFields(value)) return undefined
  const valid = Object.entries(value).filter(
    (entry): entry is [string, number] => isMemberName(entry[0]) && isCount(entry[1]),
  )
  // What is left out is counted by its gateway alone.
  return Object.fromEntries(valid.slice(0, MAX_COUNTED))
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isMemberName(value: unknown): value is string {
  return typeof value === 'string' && MEMBER_NAME.test(value)
}

function isBoot(value: unknown): value is string {
  return typeof value === 'string' && BOOT.test(value)
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_TEXT
}

function isTextList(value: unknown): value is string[] {
  return Array.isArray(value) && value.length <= MAX_LIST && value.every(isText)
}

/** An origin, so that no card can add a path, a query or a user to what is asked of a member. */
function isAddress(value: unknown): value is string {
  return isText(value) && /^https?:\/\/[^\s/?#@\\]+$/.test(value)
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function isDuration(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}
