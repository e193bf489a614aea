import type { IncomingMessage, ServerResponse } from 'node:http'
import { networkInterfaces } from 'node:os'
import type { Duplex } from 'node:stream'
import type { Logger } from 'pino'
import { Subject } from 'rxjs'
import { type Clock, delay, systemClock } from '../clock.ts'
import { describeLoop, type GatewayPlace, isGatewayAddress } from '../config/addresses.ts'
import { BadRequestError, GatewayError, KeyError, LeaseholdError, OverloadedError } from '../errors.ts'
import { createInspectionHub } from '../inspector/hub.ts'
import { runOutside } from '../lease/caller-context.ts'
import { createServer, toMessageClass } from '../net/http.ts'
import { isLoopback } from '../net/loopback.ts'
import type { Metrics } from '../observe/metrics.ts'
import { describeHolder } from '../process/tcp-ports.ts'
import { createTurnBudget } from '../request/turns.ts'
import type { Supervisor } from '../supervisor/interface.ts'
import { internalsOf } from '../supervisor/internals.ts'
import { dropForeignMark, INSTANCE_HEADER } from '../transport/hops.ts'
import { explainPath } from '../transport/meant-path.ts'
import { CARD_PATH, type ProvenHop } from '../transport/member-proof.ts'
import { createMemberTls } from '../transport/member-tls.ts'
import { decodePath } from '../transport/path.ts'
import { answerApi } from './api.ts'
import { createAttempts } from './attempts.ts'
import { readBody } from './body.ts'
import { createBodyBudget } from './body-budget.ts'
import { toClientKey } from './client-key.ts'
import { answerCard } from './cluster-routes.ts'
import { answerPreflight, nameOrigin } from './cors.ts'
import { findDoor, isTunnel, withoutQuery } from './doors.ts'
import { type GuardPolicy, guard, guardControl, guardKey } from './guard.ts'
import { toAuthority, toHosts } from './hosts.ts'
import { BACKLOG, type HttpLimits, toServerOptions, watchConnections } from './limits.ts'
import { openMemberPort } from './member-port.ts'
import { answerModelRequest } from './model-route.ts'
import { answerOllama } from './ollama/ollama-routes.ts'
import { sendPage } from './page-route.ts'
import { refuseUpgrade, sendError, sendJson } from './respond.ts'
import { listRunning, stopAll } from './running.ts'
import { answerFromServer, findServed, toServerRequest, tunnelToServer } from './upstream-door.ts'
import { createWaitBoard } from './wait-board.ts'

export interface GatewayOptions {
  readonly supervisor: Supervisor
  /** @default the configuration's `leasehold.host` */
  readonly host?: string | undefined
  /** `0` takes a free one. @default the configuration's `leasehold.port` */
  readonly port?: number | undefined
  /** @default see {@link HttpLimits} */
  readonly limits?: HttpLimits | undefined
  /** What `GET /health` says. @default '0.0.0' */
  readonly version?: string | undefined
  /** @default silent */
  readonly logger?: Logger | undefined
  /** @default the system's */
  readonly clock?: Clock | undefined
}

/** Where a gateway listens. */
export interface GatewayAddress {
  readonly host: string
  readonly port: number
  /** `http://127.0.0.1:4141` */
  readonly url: string
}

/** An OpenAI-compatible HTTP server in front of a supervisor. It does not own the supervisor: close both. */
export interface Gateway {
  /** @throws {@link GatewayError} `LEASEHOLD_LISTEN_FAILED` when the address cannot be had */
  listen(): Promise<GatewayAddress>
  /** Takes no new connection, lets the requests under way end. Idempotent. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Requests that are begun in one turn of the event loop: Node hands out all that have arrived in a single one. */
const MAX_REQUESTS_PER_TURN = 16

/** Creates a gateway. Nothing listens before `listen`. */
export function createGateway({
  supervisor,
  host = supervisor.config.leasehold.host,
  port = supervisor.config.leasehold.port,
  version = '0.0.0',
  limits,
  logger,
  clock = systemClock,
}: GatewayOptions): Gateway {
  /** The names that are ours wherever we listen; the configuration may list more. */
  let ownHosts: readonly string[] = []
  const { dispatch, lookAtFiles, membership } = internalsOf(supervisor)
  const policy = toPolicy(supervisor, () => ownHosts, !isLoopback(host))
  const attempts = createAttempts(clock)
  const budgetOfTurn = createTurnBudget(MAX_REQUESTS_PER_TURN)
  const budget = createBodyBudget(() => supervisor.config.leasehold.maxQueuedBytes)
  /** Ends the endless answers: streams of events and logs. */
  const closing$ = new Subject<void>()
  const waits = createWaitBoard(supervisor, clock)
  const inspection = createInspectionHub({ inspect: supervisor.inspect, clock })
  const serve = (request: IncomingMessage, response: ServerResponse) => {
    connections.note(request, response)
    response.on('error', () => {})
    if (budgetOfTurn.take()) return handle(request, response)
    budgetOfTurn.later(() => {
      // Its client may have left meanwhile.
      if (!request.destroyed) handle(request, response)
    })
  }
  const handle = (request: IncomingMessage, response: ServerResponse) => {
    answer(request, response).catch(async (error: unknown) => {
      if (!(error instanceof LeaseholdError))
        logger?.error({ event: 'gateway.failed', err: error }, 'a request failed')
      // One guess per connection, however many were sent on it at once.
      if (isGuess(error)) response.setHeader('connection', 'close')
      await slowGuess(request, error)
      sendError(response, error)
    })
  }
  const slowGuess = async ({ socket }: IncomingMessage, error: unknown) => {
    const waitMs = isGuess(error) ? attempts.fail(toClientKey(socket.remoteAddress)) : 0
    if (waitMs > 0) await delay(clock, waitMs)
  }
  const server = createServer(
    { ...toServerOptions(limits), IncomingMessage: toMessageClass(isTunnel) },
    serve,
  )
  // Without this listener Node asks for the body before the head is checked.
  server.on('checkContinue', serve)
  server.on('checkExpectation', (_: IncomingMessage, response: ServerResponse) =>
    sendError(
      response,
      new BadRequestError('The only expectation that is met is 100-continue.', { status: 417 }),
    ),
  )
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    // Node has taken its own listener away; a client may reset its connection at any time.
    socket.on('error', () => socket.destroy())
    upgrade(request, socket, head).catch(async (error: unknown) => {
      await slowGuess(request, error)
      refuseUpgrade(socket, error)
    })
  })
  const upgrade = async (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    refuseSurplus(request)
    const rules = policy()
    guard(request, rules)
    const url = new URL(request.url ?? '/', 'http://gateway')
    const door = findDoor('GET', url.pathname)
    if (door?.kind !== 'upstream')
      throw new BadRequestError(`GET ${url.pathname} is not served here.`, { status: 404 })
    guardKey(request, rules)
    const asked = toServerRequest(url, door)
    const served = findServed(supervisor, asked, url.searchParams.get('start') === '1')
    tunnels.add(socket)
    socket.once('close', () => tunnels.delete(socket))
    await tunnelToServer({ supervisor, clock }, request, socket, head, served, asked)
  }
  /** Connections that carry no HTTP any more: the server does not close them. */
  const tunnels = new Set<Duplex>()
  const connections = watchConnections(server, () => supervisor.config.leasehold)
  const { cluster } = supervisor.config.leasehold
  const closeMemberPort = cluster?.address.startsWith('https:')
    ? openMemberPort(server, createMemberTls(cluster.secret))
    : undefined

  const refuseSurplus = (request: IncomingMessage, response?: ServerResponse) => {
    if (!connections.isSurplus(request)) return
    response?.setHeader('connection', 'close')
    throw new OverloadedError(
      'There are too many connections (leasehold.maxConnections, maxClientConnections).',
    )
  }
  /** Who sent a request, where that is a member of the cluster. */
  const admit = (request: IncomingMessage, method: string, path: string): ProvenHop | undefined => {
    const { neighbourhood } = membership
    if (neighbourhood === undefined) return undefined
    const hop = neighbourhood.admit(method, path, request.headers)
    if (hop === undefined) dropForeignMark(request.headers)
    return hop
  }
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    refuseSurplus(request, response)
    const rules = policy()
    const origin = guard(request, rules)
    if (origin !== undefined) nameOrigin(response, origin)
    if (origin !== undefined && answerPreflight(request, response)) return
    const { url: path = '/' } = request
    // A GET without its body, for container health checks.
    const method = request.method === 'HEAD' ? 'GET' : (request.method ?? 'GET')
    const door = findDoor(method, withoutQuery(path))
    const wrongPath = door === undefined ? explainPath(method, path) : undefined
    if (wrongPath !== undefined) throw new BadRequestError(wrongPath, { status: 404 })
    if (path === CARD_PATH && method === 'GET') return answerCard(supervisor, request, response)
    const hop = admit(request, method, path)
    const isOfModels = door === undefined ? path.startsWith('/v1/') : door.kind === 'llama.cpp'
    // A member asks for models without a key of this gateway.
    if (hop === undefined || !isOfModels) guardKey(request, rules)
    if (method === 'POST' && isOfModels) {
      const { maxBodyBytes, coldStartCommentsMs, writeStallMs } = supervisor.config.leasehold
      const reservation = budget.open()
      response.once('close', reservation.release)
      const body = await readBody(response, maxBodyBytes, reservation)
      const onAnswer = reservation.release
      const options = { dispatch, hop, clock, waits, coldStartCommentsMs, writeStallMs, onAnswer }
      const rootPath = door?.kind === 'llama.cpp' ? door.path : undefined
      return answerModelRequest(
        request,
        response,
        body,
        rootPath === undefined ? options : { ...options, rootPath },
      )
    }
    const url = new URL(path, 'http://gateway')
    if (door?.kind === 'ollama') {
      const reservation = budget.open()
      response.once('close', reservation.release)
      return answerOllama(door.route, response, {
        supervisor,
        clock,
        reservation,
        guardControl: () => guardControl(request, rules),
      })
    }
    if (door !== undefined) {
      const asked =
        door.kind === 'upstream'
          ? toServerRequest(url, door)
          : { ref: url.searchParams.get('model') ?? '', path: door.path + url.search, prefix: '' }
      if (method === 'TRACE')
        // A server echoes it, with the key of the provider.
        throw new BadRequestError('TRACE is not served here.', { status: 405 })
      const isRead = method === 'GET' || method === 'OPTIONS'
      const served = findServed(supervisor, asked, !isRead || url.searchParams.get('start') === '1')
      return answerFromServer({ supervisor, clock }, request, response, served, asked)
    }
    if (url.pathname === '/running' && method === 'GET')
      return sendJson(response, 200, { running: listRunning(supervisor) })
    if (url.pathname === '/unload' && method === 'POST')
      return sendJson(response, 200, await stopAll(supervisor, false))
    if (url.pathname.startsWith('/api/'))
      return answerApi(supervisor, request, response, url, { closing$, inspection, clock })
    if (method !== 'GET')
      throw new BadRequestError(`${method} ${url.pathname} is not served here.`, { status: 404 })
    if (await sendPage(response, url.pathname)) return
    if (url.pathname === '/health')
      return sendJson(response, 200, { status: 'ok', name: 'leasehold', version, pid: process.pid })
    if (url.pathname === '/metrics') {
      metrics ??= import('../observe/metrics.ts').then(({ createMetrics }) => createMetrics(supervisor))
      const { registry, scrape } = await metrics
      response.setHeader('content-type', registry.contentType)
      return void response.end(await scrape())
    }
    if (url.pathname === '/v1/models' || url.pathname.startsWith('/v1/models/')) await lookAtFiles()
    if (url.pathname === '/v1/models')
      return sendJson(
        response,
        200,
        { object: 'list', data: supervisor.models() },
        { [INSTANCE_HEADER]: internalsOf(supervisor).instance },
      )
    if (url.pathname.startsWith('/v1/models/'))
      return sendJson(response, 200, supervisor.model(decodePath(url.pathname.slice('/v1/models/'.length))))
    throw new BadRequestError(`GET ${url.pathname} is not served here.`, { status: 404 })
  }

  /** Most gateways are never scraped, and the library is a large one. */
  let metrics: Promise<Metrics> | undefined
  let closing: Promise<void> | undefined
  const close = () => {
    closing ??= new Promise((resolve) => {
      closing$.next()
      void metrics?.then(({ close }) => close())
      server.close(() => resolve())
      connections.close()
      closeMemberPort?.()
      for (const tunnel of tunnels) tunnel.destroy()
    })
    return closing
  }

  const listen = () =>
    new Promise<GatewayAddress>((resolve, reject) => {
      if (!isLoopback(host) && supervisor.config.leasehold.apiKeys.length === 0)
        return reject(new GatewayError(host, port, NEEDS_KEY))
      server.once('error', (cause) =>
        reject(new GatewayError(host, port, cause, describeHolder({ host, port }))),
      )
      server.listen({ host, port, backlog: BACKLOG }, () => {
        const address = server.address()
        const actual = typeof address === 'object' && address !== null ? address.port : port
        const looping = findLooping(supervisor.config.providers, { host, port: actual })
        if (looping !== undefined) {
          server.close()
          return reject(new GatewayError(host, actual, looping))
        }
        ownHosts = toHosts(host, actual, networkInterfaces())
        resolve({ host, port: actual, url: `http://${toAuthority(host, actual)}` })
      })
    })

  return {
    // Connections live in the async context of this call.
    listen: () => runOutside(listen),
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** A provider that is the gateway itself: its port may be known only now. */
function findLooping(providers: Supervisor['config']['providers'], place: GatewayPlace): string | undefined {
  const looping = providers.find(
    ({ baseUrl, unavailable }) => unavailable === undefined && isGatewayAddress(baseUrl, place),
  )
  return looping && `provider "${looping.id}": ${describeLoop(looping.baseUrl)}`
}

function isGuess(error: unknown): boolean {
  return error instanceof KeyError && error.isGuess
}

const NEEDS_KEY =
  'other hosts can reach that address, and leasehold.apiKeys holds no key; leasehold keys new makes one'

/** The guard's rules, rebuilt when another configuration is in force. */
function toPolicy(supervisor: Supervisor, ownHosts: () => readonly string[], isKeyRequired: boolean) {
  let source: unknown
  let policy: GuardPolicy | undefined
  return (): GuardPolicy => {
    const { leasehold } = supervisor.config
    if (policy !== undefined && source === leasehold) return policy
    source = leasehold
    const { allowedHosts, allowedOrigins, apiKeys, controlKeys, cluster } = leasehold
    // Members come by the address that this one gave them.
    const asMember = cluster === undefined ? [] : [new URL(cluster.address).host]
    const hosts = new Set([...ownHosts(), ...allowedHosts, ...asMember].map((name) => name.toLowerCase()))
    const origins = new Set(allowedOrigins.map((origin) => origin.toLowerCase()))
    policy = { hosts, origins, apiKeys, controlKeys, isKeyRequired }
    return policy
  }
}
