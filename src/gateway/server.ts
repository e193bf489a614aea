import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { isIPv6 } from 'node:net'
import type { Logger } from 'pino'
import { Subject } from 'rxjs'
import { type Clock, systemClock } from '../clock.ts'
import { BadRequestError, GatewayError, LeaseholdError } from '../errors.ts'
import { createInspectionHub } from '../inspector/hub.ts'
import type { Supervisor } from '../supervisor/supervisor.ts'
import { decodePath } from '../transport/path.ts'
import { answerApi } from './api.ts'
import { readBody } from './body.ts'
import { guard } from './guard.ts'
import { answerModelRequest } from './model-route.ts'
import { sendError, sendJson } from './respond.ts'

export interface GatewayOptions {
  readonly supervisor: Supervisor
  /** @default the configuration's `leasehold.host` */
  readonly host?: string
  /** `0` takes a free one. @default the configuration's `leasehold.port` */
  readonly port?: number
  /** What `GET /health` says. @default '0.0.0' */
  readonly version?: string
  /** @default silent */
  readonly logger?: Logger
  /** @default the system's */
  readonly clock?: Clock
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

/** Limits of the listening side: Node's own default lets a slow client hold a connection for minutes. */
const LIMITS = {
  headersTimeout: 10_000,
  requestTimeout: 60_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
  maxHeaderSize: 16_384,
} as const
const BACKLOG = 4096
const MAX_CONNECTIONS = 4096

/** Creates a gateway. Nothing listens before `listen`. */
export function createGateway({
  supervisor,
  host = supervisor.config.leasehold.host,
  port = supervisor.config.leasehold.port,
  version = '0.0.0',
  logger,
  clock = systemClock,
}: GatewayOptions): Gateway {
  let hosts: ReadonlySet<string> = new Set()
  /** What would go on for ever ends here: streams of events and logs. */
  const closing$ = new Subject<void>()
  const inspection = createInspectionHub({ inspect: supervisor.inspect, clock })
  const serve = (request: IncomingMessage, response: ServerResponse) => {
    response.on('error', () => {})
    answer(request, response).catch((error: unknown) => {
      if (!(error instanceof LeaseholdError))
        logger?.error({ event: 'gateway.failed', err: error }, 'a request failed')
      sendError(response, error)
    })
  }
  const server = createServer(LIMITS, serve)
  // Without this listener Node asks for a body before anybody has looked at its head.
  server.on('checkContinue', serve)
  server.maxConnections = MAX_CONNECTIONS

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { apiKeys, maxBodyBytes, coldStartCommentsMs } = supervisor.config.leasehold
    guard(request, { hosts, apiKeys })
    const { method, url: path = '/' } = request
    if (method === 'POST' && path.startsWith('/v1/')) {
      const body = await readBody(response, maxBodyBytes)
      return answerModelRequest(request, response, body, { supervisor, clock, coldStartCommentsMs })
    }
    const url = new URL(path, 'http://gateway')
    if (url.pathname.startsWith('/api/'))
      return answerApi(supervisor, request, response, url, { closing$, inspection })
    if (method !== 'GET')
      throw new BadRequestError(`${method} ${url.pathname} is not served here.`, { status: 404 })
    if (url.pathname === '/health')
      return sendJson(response, 200, { status: 'ok', name: 'leasehold', version, pid: process.pid })
    if (url.pathname === '/v1/models')
      return sendJson(response, 200, { object: 'list', data: supervisor.models() })
    if (url.pathname.startsWith('/v1/models/'))
      return sendJson(response, 200, supervisor.model(decodePath(url.pathname.slice('/v1/models/'.length))))
    throw new BadRequestError(`GET ${url.pathname} is not served here.`, { status: 404 })
  }

  let closing: Promise<void> | undefined
  const close = () => {
    closing ??= new Promise((resolve) => {
      closing$.next()
      server.close(() => resolve())
      server.closeIdleConnections()
    })
    return closing
  }

  return {
    listen: () =>
      new Promise((resolve, reject) => {
        server.once('error', (cause) => reject(new GatewayError(host, port, cause)))
        server.listen({ host, port, backlog: BACKLOG }, () => {
          const address = server.address()
          const actual = typeof address === 'object' && address !== null ? address.port : port
          hosts = toHosts(host, actual)
          resolve({ host, port: actual, url: `http://${toAuthority(host, actual)}` })
        })
      }),
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** The names by which a loopback gateway may be called. */
function toHosts(host: string, port: number): ReadonlySet<string> {
  return new Set([host, '127.0.0.1', 'localhost', '::1'].map((name) => toAuthority(name, port)))
}

function toAuthority(host: string, port: number): string {
  return `${isIPv6(host) ? `[${host}]` : host}:${port}`
}
