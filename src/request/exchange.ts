import { type Actor, createActor } from 'xstate'
import type { RequestEvent } from '../../machines/messages.ts'
import type { requestMachine } from '../../machines/request.ts'
import type { Clock } from '../clock.ts'
import { adviseDropped } from '../compat/dropped.ts'
import type { Advice } from '../compat/error-advice.ts'
import type { Config, ProviderConfig } from '../config/config.ts'
import type { ModelTarget } from '../config/model-ref.ts'
import {
  AbortedError,
  BadRequestError,
  type LeaseholdError,
  LoopError,
  ModelNotFoundError,
  ProviderUnavailableError,
  ServiceError,
  UpstreamTimeoutError,
} from '../errors.ts'
import type { RequestEventBody } from '../events/events.ts'
import { type RequestTimings, toTimings } from '../events/timings.ts'
import type { Usage } from '../events/usage.ts'
import { toChoiceText } from '../explanation/choice-text.ts'
import type { LeaseBook, LeaseListener, Place } from '../lease/desk.ts'
import type { Inspections } from '../observe/inspection.ts'
import { toServiceKey } from '../service/services.ts'
import { toShortText } from '../text/plain-text.ts'
import type { AnswerHandler } from '../transport/answer-handler.ts'
import type { Headers } from '../transport/headers.ts'
import { checkHops, GRANTED_HEADER, hasHop, QUEUED_HEADER, WAITED_HEADER } from '../transport/hops.ts'
import type { ProvenHop } from '../transport/member-proof.ts'
import { isConnectionRefused, type Upstream, type UpstreamCall } from '../transport/upstream.ts'
import { toOwnHeaders, type Wait } from './answer-headers.ts'
import type { AnswerSecrets } from './answer-mask.ts'
import type { rememberCandidates } from './candidates.ts'
import type { FindClientName } from './client-name.ts'
import { adviseOtherApi, partByApi } from './fallback-api.ts'
import type { Departure, Neighbourhood } from './neighbourhood.ts'
import type { LeadsOn } from './one-hop.ts'
import type { OpenRequest } from './open-requests.ts'
import { type OutgoingRequest, peekRequest, toUpstreamRequest } from './outgoing.ts'
import type { WaitPlace } from './ranking.ts'
import { Relay, type RelayListener } from './relay.ts'
import type { FailedCandidate, RequestRecord } from './request-log.ts'

/** A model request as any door of leasehold hands it in. */
export interface ModelRequest {
  readonly method: string
  /** Path and query of the client: `/v1/chat/completions`. */
  readonly path: string
  /** The path that the client called, where that is another. */
  readonly route?: string
  /** Whether the path begins at the root of the server, as llama.cpp's own routes do. @default false */
  readonly isAtRoot?: boolean
  readonly headers: Headers
  readonly body: Buffer
  /** The member of the cluster that sent it on: then it goes no further. Absent: a client's. */
  readonly hop?: ProvenHop
  /** How long it has waited there, in milliseconds. @default 0 */
  readonly waitedMs?: number
  /** Higher goes first in a queue. @default 0 */
  readonly priority?: number
  /** Whether fallbacks may stand in for a model that the client named itself. @default false */
  readonly failover?: boolean
}

/** A model request under way. */
export interface ModelCall {
  readonly id: string
  /** Whether the client asked for a stream. */
  readonly isStream: boolean
  /** The service that the request waits for or talks to; absent before a model is found. */
  readonly serviceKey: string | undefined
  resume(): void
  /** The client left: frees its lease, or its place in the queue. */
  abort(reason?: unknown): void
}

/** What the effects of all requests work with. */
export interface ExchangeParts {
  readonly clock: Clock
  readonly config: () => Config
  /** The same without the models of other members of the cluster. */
  readonly ownConfig: () => Config
  /** Of that what a member of the cluster may use. */
  readonly sharedConfig: () => Config
  readonly leases: Pick<LeaseBook, 'request' | 'end'>
  /** Servers of one model in the order in which they are tried. */
  readonly rank: (replicas: readonly ModelTarget[]) => readonly ModelTarget[]
  /** Why one of them is a member of the cluster, in words; `undefined`: it is none. */
  readonly explainChoice: (replicas: readonly ModelTarget[], chosen: ModelTarget) => string | undefined
  /** The member of the cluster that would serve a waiting request sooner; `undefined`: none would. */
  readonly findRoom: (targets: readonly ModelTarget[], from: WaitPlace) => string | undefined
  /** Why a model that is unknown now may be there soon; `undefined`: it may not. */
  readonly findAway: (ref: string) => ServiceError | undefined
  readonly upstreamOf: (target: ModelTarget, generation: string) => Upstream
  /** A request was refused the connection, as a health check would have been. */
  readonly noteRefused: (key: string, generation: string) => void
  readonly publish: (requestId: string, event: RequestEventBody) => void
  /** Removes secrets from a text. */
  readonly scrub: (text: string) => string
  /** What an answer of this provider must not show; `undefined`: nothing. */
  readonly secretsOf: (provider: ProviderConfig) => AnswerSecrets | undefined
  /** Whether advice is told for the first time. */
  readonly isNews: (advice: string) => boolean
  readonly clientOf: FindClientName
  /** How long a service has been loading since a moment, in milliseconds. */
  readonly loadMsOf: (key: string, sinceMs: number) => number
  /** Keeps what is known of a request that has ended. */
  readonly keep: (record: RequestRecord) => void
  /** Asked for a request that has passed a leasehold before this one. */
  readonly leadsOn: LeadsOn
  /** Whether a request comes from a leasehold that is listed here as a server. */
  readonly isFromListed: (headers: Headers) => boolean
  /** The other members of the cluster; `undefined`: none is joined. */
  readonly neighbourhood: () => Neighbourhood | undefined
  /** The candidates of a model name. */
  readonly candidatesOf: ReturnType<typeof rememberCandidates>
  /** The request has ended. */
  readonly forget: (id: string) => void
}

/** Replaces a body that is not needed any more. */
const NO_BODY = Buffer.alloc(0)
const NOTHING: readonly string[] = []
const NO_ATTEMPTS: readonly FailedCandidate[] = []
/** Longest path that an event tells, in characters: events are kept. */
const MAX_ROUTE = 256
/** Longest name of a model that does not exist and is told, in characters. */
const MAX_ASKED = 100

/**
 * One model request: what the effects of the request chart do, in the order in which the chart names them. A class,
 * because one is made for each request.
 */
export class Exchange implements ModelCall, OpenRequest, LeaseListener, RelayListener {
  readonly id: string
  readonly actor: Actor<typeof requestMachine>
  readonly startedAtMs: number
  isStream = false
  /** What its `user-agent` names. */
  client: string | null = null
  readonly #parts: ExchangeParts
  readonly #client: AnswerHandler<LeaseholdError>
  /** Loses its body when the answer begins: no other attempt can need it then. */
  #request: ModelRequest
  #targets: readonly ModelTarget[] = []
  #index = 0
  #keepAliveMs: number | undefined
  #isStarted = false
  /** The name of the model that the client asked for. */
  #asked = ''
  #askedAtMs = 0
  /** Its position in the line of the member that it was sent to, when it came there. */
  #positionThere = 0
  /** When its lease was granted, and its answer began; `0`: not yet. */
  #grantedAtMs = 0
  #firstByteAtMs = 0
  #loadMs = 0
  #bytes = 0
  #wait: Wait | undefined
  #generation = ''
  /** From `rewrite` to `dispatch`: a stream must not keep the body. */
  #outgoing: OutgoingRequest | undefined
  #dropped: readonly string[] = NOTHING
  #rewrites: readonly string[] = NOTHING
  #route: string | null = null
  #status: number | null = null
  #attempts: readonly FailedCandidate[] = NO_ATTEMPTS
  #relay: Relay | undefined
  #call: UpstreamCall | undefined
  /** Why the last attempt failed. */
  #failure: LeaseholdError | undefined
  #usage: Usage | null = null
  /** Counts it as under way to a member of the cluster. */
  #departure: Departure | undefined
  /** Which member of the cluster it is sent to, and why that one; `undefined`: this machine serves it. */
  #choice: string | undefined
  /** The member that was last named as the one that has the model. */
  #redirectedTo: string | undefined

  constructor(
    id: string,
    machine: typeof requestMachine,
    inspection: ReturnType<Inspections['optionsOf']>,
    given: { readonly request: ModelRequest; readonly client: AnswerHandler<LeaseholdError> },
    parts: ExchangeParts,
  ) {
    this.id = id
    this.#parts = parts
    this.#request = given.request
    this.#client = given.client
    this.startedAtMs = parts.clock.now()
    this.actor = createActor(machine, { ...inspection, id, clock: parts.clock, input: { id } })
  }

  // The effects.

  resolve(): void {
    const { candidatesOf, config, rank } = this.#parts
    const { failover = false, headers, hop, method, path, route: called = path } = this.#request
    this.client = this.#parts.clientOf(headers)
    if (method !== 'POST') throw new BadRequestError(`${method} is not served here.`, { status: 405 })
    checkHops(headers, this.id)
    const { model, stream, keepAliveMs } = peekRequest(this.#request)
    this.isStream = stream
    this.#asked = model ?? ''
    this.#keepAliveMs = keepAliveMs
    this.#targets = []
    this.#index = 0
    const isPassedOn = hop === undefined && hasHop(headers) && this.#parts.isFromListed(headers)
    const ofClient = isPassedOn ? this.#parts.ownConfig() : config()
    const models = hop === undefined ? ofClient : this.#parts.sharedConfig()
    const { spoken, others } = partByApi(
      path,
      this.#find(() => candidatesOf(models, model, failover)),
    )
    const [first] = spoken
    const found =
      spoken.length === 1 && first !== undefined
        ? rank(first.replicas)
        : spoken.flatMap(({ replicas }) => rank(replicas))
    const near = hasHop(headers) ? this.#keepNear(found) : found
    const targets = this.#redirectedTo === undefined ? near : putFirst(near, this.#redirectedTo)
    this.#targets = targets
    const [chosen] = targets
    this.#choice =
      chosen?.provider.memberOf === undefined ? undefined : this.#explain(first?.replicas ?? targets, chosen)
    const route = describeRoute(called)
    this.#route = route
    if (!this.#isStarted) this.#tellStart(route, targets[0]?.ref ?? '')
    for (const { target } of others) this.#adviseOnce(adviseOtherApi(target, route), target.ref, ` ${route}`)
    this.actor.send({ type: 'request.resolved', candidates: targets.map(({ ref }) => ref) })
  }

  /** @param index of the candidate */
  requestLease(index: number): void {
    const { clock, leases } = this.#parts
    this.#index = index
    const { provider } = this.#target
    if (provider.memberOf === undefined && this.#parts.neighbourhood()?.isDraining() === true)
      return this.fail(new ServiceError(provider.id, DRAINING))
    if (provider.unavailable !== undefined)
      return this.fail(new ProviderUnavailableError(provider.id, provider.unavailable))
    this.#askedAtMs = clock.now()
    this.#grantedAtMs = 0
    this.#wait = undefined
    const keepAliveMs = provider.localService === undefined ? undefined : this.#keepAliveMs
    // It has waited elsewhere before it came here.
    const sinceMs = this.#hasMoved ? this.startedAtMs - (this.#request.waitedMs ?? 0) : undefined
    const { priority } = this.#request
    leases.request(toServiceKey(provider), this.id, this, priority, undefined, keepAliveMs, sinceMs)
  }

  /** A request that waits goes where it would be served sooner. */
  lookForRoom(): void {
    const { clock, findRoom, neighbourhood } = this.#parts
    const { memberOf } = this.#target.provider
    const here = memberOf?.member ?? neighbourhood()?.self ?? ''
    const position = memberOf === undefined ? (this.#wait?.position ?? 1) : this.#positionThere
    const waitedMs = clock.now() - this.#askedAtMs
    const member = findRoom(this.#targets, { index: this.#index, position, waitedMs })
    if (member === undefined || member === here) return
    // While it waits for its lease, its place is given up here: a refusal would have ended it.
    if (this.#grantedAtMs === 0) this.releaseLease()
    const message = `${member} has room for it`
    const error = new ServiceError(here, { code: 'LEASEHOLD_ELSEWHERE', message, member })
    this.tell({ type: 'request.failed', code: error.code, retryable: true, isMove: true }, error)
  }

  /**
   * Whether no other member may start its model in the place of this one: the client named this member, or the model is
   * not listed. `usesOthers`: whether this gateway would send it on; one that came from a member goes back there.
   */
  isForHere(usesOthers: boolean): boolean {
    const target = this.#targets[this.#index]
    const isSent = this.#request.hop === undefined && !usesOthers
    return isSent || target?.isPinned === true || target?.model?.unlisted === true
  }

  releaseLease(): void {
    this.#parts.leases.end(this.id)
  }

  rewrite(): void {
    const target = this.#target
    const secrets = this.#parts.secretsOf(target.provider)
    const outgoing = toUpstreamRequest(this.#request, target, {
      id: this.id,
      isStream: this.isStream,
      isSearched: secrets !== undefined,
    })
    this.#outgoing = outgoing
    this.#dropped = outgoing.dropped
    this.#rewrites = outgoing.rewrites
    for (const member of outgoing.dropped)
      if (!target.model?.dropParams.includes(member))
        this.#adviseOnce(adviseDropped(member, target.ref), target.ref, '')
    this.#relay = new Relay({
      clock: this.#parts.clock,
      listener: this,
      client: this.#client,
      target,
      hidesUsage: outgoing.hidesUsage,
      acceptsPage: String(this.#request.headers.accept ?? '').includes('text/html'),
      path: this.#request.path,
      scrub: this.#parts.scrub,
      secrets,
    })
  }

  dispatch(): void {
    const outgoing = this.#outgoing
    this.#outgoing = undefined
    // The rewrite failed, and has said so.
    if (outgoing === undefined || this.#relay === undefined) return
    const target = this.#target
    if (target.provider.memberOf !== undefined && !this.#depart(target.provider.memberOf, outgoing)) return
    const member = target.provider.memberOf?.member
    const choice = member === undefined ? undefined : this.#explainSent(member)
    this.#choice = choice
    this.#parts.publish(this.id, {
      type: 'request.sent',
      ref: target.ref,
      rewrites: this.#rewrites,
      ...(member === undefined ? {} : { member, choice }),
    })
    this.#call = this.#parts.upstreamOf(target, this.#generation).send(outgoing, this.#relay)
  }

  relay(): void {
    const head = this.#relay?.head
    if (head === undefined) return
    const { ref, provider } = this.#target
    const nowMs = this.#parts.clock.now()
    // An answer without a body has no later byte.
    this.#firstByteAtMs = nowMs
    this.#status = head.status
    this.#parts.publish(this.id, {
      type: 'request.responded',
      ref,
      status: head.status,
      waitedMs: Math.round(nowMs - this.startedAtMs),
      ...(provider.memberOf === undefined ? {} : { member: provider.memberOf.member }),
    })
    this.#request = { ...this.#request, body: NO_BODY }
    const own = toOwnHeaders(this.id, ref, this.#index, this.#wait, this.#dropped)
    this.#client.onHead(head.status, { ...head.headers, ...own })
  }

  hangUp(): void {
    const relay = this.#relay
    const call = this.#call
    this.#relay = undefined
    this.#call = undefined
    this.#departure?.ended()
    this.#departure = undefined
    if (relay === undefined) return
    this.#noteProgress(relay)
    relay.close()
    if (!relay.isOver) call?.abort(this.#failure ?? new AbortedError())
  }

  reportAttempt(): void {
    const failure = this.#failure
    const target = this.#targets[this.#index]
    if (failure === undefined || target === undefined) return
    if (isConnectionRefused(failure.cause))
      this.#parts.noteRefused(toServiceKey(target.provider), this.#generation)
    this.#attempts = [...this.#attempts, { ref: target.ref, code: failure.code }]
    this.#parts.publish(this.id, { type: 'request.attempted', ref: target.ref, code: failure.code })
  }

  failOverdue(): void {
    const { id, timeoutMs = 0 } = this.#target.provider
    this.fail(new UpstreamTimeoutError(id, timeoutMs))
  }

  failBroken(): void {
    if (this.#failure !== undefined) this.fail(this.#failure)
  }

  finish(outcome: 'done' | 'failed' | 'cancelled'): void {
    this.#parts.forget(this.id)
    if (!this.#isStarted) this.#tellRefused()
    // An error costs its stack, so an answered request makes none.
    const failure = outcome === 'done' ? null : (this.#failure ?? new AbortedError())
    const code = failure?.code ?? null
    const usage = this.#usage
    const endedAtMs = this.#parts.clock.now()
    const timings = this.timingsAt(endedAtMs)
    this.#parts.publish(this.id, { type: 'request.ended', outcome, code, usage, timings })
    this.#parts.keep({
      id: this.id,
      ref: this.#targets[this.#index]?.ref ?? (this.#asked === '' ? null : this.#asked),
      service: this.serviceKey ?? null,
      route: this.#route,
      client: this.client,
      startedAtMs: this.startedAtMs,
      endedAtMs,
      outcome,
      code,
      status: this.#status,
      timings,
      usage,
      bytes: this.#bytes,
      rewrites: this.#rewrites,
      attempts: this.#attempts,
      ...(this.#choice === undefined ? {} : { choice: this.#choice }),
    })
    if (failure === null) return this.#client.onEnd()
    failure.requestId = this.id
    this.#client.onError(failure)
  }

  // What the lease desk tells.

  queued(place: Place): void {
    this.#wait = { ...place, waitedMs: 0 }
    if (this.#request.hop !== undefined) this.#client.onEarly?.({ [QUEUED_HEADER]: String(place.position) })
    else if (this.#target.provider.memberOf === undefined && this.#targets.length > 1) this.#tellQueued()
  }

  granted({ generation }: { readonly generation: string }): void {
    this.#generation = generation
    const { provider } = this.#target
    // What answers there may be known only now.
    if (hasHop(this.#request.headers) && this.#parts.leadsOn(this.#request.headers, provider))
      return this.fail(new LoopError([provider.id], true))
    const nowMs = this.#parts.clock.now()
    const waitedMs = Math.round(nowMs - this.#askedAtMs)
    this.#loadMs += this.#measureLoad()
    this.#grantedAtMs = nowMs
    if (this.#wait !== undefined) {
      this.#wait = { ...this.#wait, waitedMs }
      if (this.#request.hop !== undefined) this.#client.onEarly?.({ [GRANTED_HEADER]: String(waitedMs) })
    }
    const { timeoutMs = null } = provider
    this.actor.send({ type: 'lease.granted', timeLimitMs: timeoutMs })
  }

  refused(error: ServiceError): void {
    this.#loadMs += this.#measureLoad()
    this.#wait = undefined
    // The member that sent it asks the other one.
    this.fail(error, this.#request.hop === undefined || error.code !== 'LEASEHOLD_ELSEWHERE')
  }

  revoked(error: ServiceError): void {
    this.fail(error)
  }

  // What the relay tells.

  tell(event: RequestEvent, failure?: LeaseholdError): void {
    if (failure !== undefined) this.#note(failure)
    if (failure instanceof ServiceError && failure.code === 'LEASEHOLD_ELSEWHERE')
      this.#redirectedTo = failure.failure.member
    if (event.type === 'request.failed') this.#relay?.cut()
    if (event.type === 'response.ended') this.#usage = this.#relay?.usage() ?? null
    this.actor.send(event)
  }

  can(event: RequestEvent): boolean {
    return this.actor.getSnapshot().can(event)
  }

  hasNext(): boolean {
    return this.#index + 1 < this.#targets.length
  }

  queuedAt(position: number): void {
    this.#positionThere = position
    this.#tellQueued()
  }

  suspect(member: string): void {
    this.#parts.neighbourhood()?.suspect(member)
  }

  advise(advice: Advice): void {
    this.#publishAdvice(advice, this.#target.ref)
  }

  // What the client's side does.

  get serviceKey(): string | undefined {
    const target = this.#targets[this.#index]
    return target && toServiceKey(target.provider)
  }

  /** Where its time went until a moment. */
  timingsAt(nowMs: number): RequestTimings {
    const relay = this.#relay
    if (relay !== undefined) this.#noteProgress(relay)
    const moments = {
      startedAtMs: this.startedAtMs,
      grantedAtMs: this.#grantedAtMs,
      // The head alone may come long before the answer.
      firstByteAtMs: this.#firstByteAtMs,
      loadMs: this.#loadMs + this.#measureLoad(),
    }
    return toTimings(moments, nowMs)
  }

  /** The size of its answer so far, and in how many pieces it came. */
  get progress(): { readonly bytes: number; readonly chunks: number } {
    return { bytes: this.#relay?.bytes ?? this.#bytes, chunks: this.#relay?.chunks ?? 0 }
  }

  resume(): void {
    this.#relay?.resume()
    this.#call?.resume()
  }

  abort(reason?: unknown): void {
    if (this.actor.getSnapshot().status !== 'active') return
    this.#failure = reason instanceof AbortedError ? reason : new AbortedError(reason)
    this.actor.send({ type: 'request.cancelled' })
  }

  /** Ends the attempt. `retryable`: another candidate may do better. */
  fail(error: LeaseholdError, retryable = true): void {
    this.tell({ type: 'request.failed', code: error.code, retryable }, error)
  }

  #explain(replicas: readonly ModelTarget[], chosen: ModelTarget): string | undefined {
    const member = chosen.provider.memberOf?.member
    return member !== undefined && member === this.#redirectedTo
      ? toChoiceText({ member, cause: 'redirected' })
      : this.#parts.explainChoice(replicas, chosen)
  }

  #tellQueued(): void {
    const moveAfterMs = this.#parts.neighbourhood()?.moveAfterMs
    if (moveAfterMs !== undefined) this.actor.send({ type: 'member.queued', moveAfterMs })
  }

  /** A later candidate is tried because the one before it failed. */
  #explainSent(member: string): string | undefined {
    const failed = this.#index === 0 ? undefined : this.#attempts.at(-1)
    return failed === undefined ? this.#choice : toChoiceText({ member, cause: 'failed', ref: failed.ref })
  }

  #find<Found>(look: () => Found): Found {
    try {
      return look()
    } catch (error) {
      // A model that was there when the request came is not unknown now: its member has failed.
      if (this.#attempts.length > 0 && this.#failure !== undefined) throw this.#failure
      throw this.#findAway(error) ?? error
    }
  }

  #findAway(error: unknown): ServiceError | undefined {
    if (!(error instanceof ModelNotFoundError) || error.code !== 'LEASEHOLD_MODEL_UNKNOWN') return undefined
    // Another member asks for what this one has itself.
    return this.#request.hop === undefined ? this.#parts.findAway(error.ref) : undefined
  }

  /** A request that has passed a leasehold goes to none that would pass it on, unless there is no other server. */
  #keepNear(targets: readonly ModelTarget[]): readonly ModelTarget[] {
    const near = targets.filter(({ provider }) => !this.#parts.leadsOn(this.#request.headers, provider))
    return near.length === 0 ? targets : near
  }

  #note(failure: LeaseholdError): void {
    // It may quote what a server said.
    failure.message = this.#parts.scrub(failure.message)
    this.#failure = failure
  }

  #noteProgress({ firstByteMs, bytes }: Relay): void {
    if (firstByteMs > 0) this.#firstByteAtMs = firstByteMs
    this.#bytes = bytes
  }

  /** How long its service has been loading while it waits for its lease. One that did not have to wait is not asked. */
  #measureLoad(): number {
    const key = this.#wait === undefined || this.#grantedAtMs !== 0 ? undefined : this.serviceKey
    return key === undefined ? 0 : this.#parts.loadMsOf(key, this.#askedAtMs)
  }

  #tellStart(route: string, ref: string): void {
    this.#isStarted = true
    this.#parts.publish(this.id, { type: 'request.started', route, ref, client: this.client })
  }

  /** A request that ends before a model was found for it has begun, too: readers skip an end without a begin. */
  #tellRefused(): void {
    const { path, route = path } = this.#request
    this.#route = describeRoute(route)
    this.#asked = this.#parts.scrub(toShortText(this.#asked, MAX_ASKED))
    this.#tellStart(this.#route, this.#asked)
  }

  /** Whether it waited elsewhere before. */
  get #hasMoved(): boolean {
    return this.#request.hop !== undefined || this.#redirectedTo !== undefined
  }

  /** Proves the request to the member that gets it. `false`: that one is gone. */
  #depart({ member, provider }: MemberOf, outgoing: OutgoingRequest): boolean {
    const path = `${outgoing.isAtRoot === true ? '' : '/v1'}${outgoing.path}`
    this.#departure?.ended()
    const departure = this.#parts.neighbourhood()?.depart(member, provider, outgoing.method, path)
    if (departure === undefined) this.#failMember(member)
    else
      Object.assign(outgoing.headers, departure.headers, {
        [WAITED_HEADER]: String(Math.round(this.#parts.clock.now() - this.startedAtMs)),
      })
    this.#departure = departure
    return departure !== undefined
  }

  /** A member of the cluster is gone: what it has not begun to answer goes to another one. */
  lose(member: string): void {
    const target = this.#targets[this.#index]
    if (target?.provider.memberOf?.member !== member) return
    // While it waits for its lease, its place is given up here: a refusal would have ended it.
    if (this.#grantedAtMs === 0) this.releaseLease()
    this.#failMember(member)
  }

  #failMember(member: string): void {
    const error = buildLoss(member)
    this.tell({ type: 'request.failed', code: error.code, retryable: true, isOfMember: true }, error)
  }

  /** When a byte of a member came last, on the clock; minus infinity: none has. */
  lastByteOf(member: string): number {
    const isOf = this.#targets[this.#index]?.provider.memberOf?.member === member
    return isOf && this.#relay !== undefined ? this.#relay.lastByteMs : Number.NEGATIVE_INFINITY
  }

  /** The member that sent the request, or that run of it, is gone: its answer would reach no client. */
  loseOrigin(member: string, boot: string): void {
    const { hop } = this.#request
    if (hop?.member === member && hop.boot === boot)
      this.abort(new AbortedError(undefined, `The member "${member}" that sent the request is gone.`))
  }

  /** The candidate in use. */
  get #target(): ModelTarget {
    const target = this.#targets[this.#index]
    if (target === undefined) throw new RangeError('A request that was resolved has a candidate.')
    return target
  }

  #adviseOnce(advice: Advice, ref: string, about: string): void {
    if (this.#parts.isNews(`${advice.id} ${ref}${about}`)) this.#publishAdvice(advice, ref)
  }

  #publishAdvice({ id: advice, text, block }: Advice, ref: string): void {
    this.#parts.publish(this.id, { type: 'request.advised', ref, advice, text, block: block ?? null })
  }
}

type MemberOf = NonNullable<ProviderConfig['memberOf']>

const DRAINING = {
  code: 'LEASEHOLD_SHUTTING_DOWN',
  message: 'this member of the cluster drains, and no other one has the model',
} as const

function buildLoss(member: string): ServiceError {
  return new ServiceError(member, { code: 'LEASEHOLD_OWNER_LOST', message: 'the member is gone', member })
}

/** The servers of a member first; of a member that is not among them, this one's. */
function putFirst(targets: readonly ModelTarget[], member: string): readonly ModelTarget[] {
  const isOf = ({ provider }: ModelTarget) => provider.memberOf?.member === member
  const isFirst = targets.some(isOf) ? isOf : ({ provider }: ModelTarget) => provider.memberOf === undefined
  return [...targets.filter(isFirst), ...targets.filter((target) => !isFirst(target))]
}

/** The path alone: a query may hold a key. */
export function describeRoute(path: string): string {
  const end = path.search(/[?#]/)
  return toShortText(end === -1 ? path : path.slice(0, end), MAX_ROUTE)
}
