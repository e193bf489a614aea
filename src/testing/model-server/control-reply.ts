import { constants } from 'node:os'
import { ConfigError } from '../../errors.ts'
import type { Call } from './call.ts'
import type { JsonObject } from './json.ts'
import { asObject } from './json.ts'
import { parseOptions } from './option-fields.ts'
import type { ModelServerOptions } from './options.ts'
import type { Reply } from './reply.ts'
import { buildErrorReply, buildJsonReply, buildNotFoundReply } from './reply.ts'

/** What the control route may ask of the server. */
export interface Controls {
  /** Counts, requests in flight, and the options without the key. */
  state(): JsonObject
  set(options: ModelServerOptions): void
  crash(signal: NodeJS.Signals): void
}

/** The path under which a server with `control: true` is steered. */
export const controlPath = '/__control'

/**
 * `GET /__control` tells the pid, the counts, the requests in flight and the options, without the key;
 * `POST` first changes options: `{ "hangHealth": true }`. `{ "crash": "SIGKILL" }` ends the process by
 * that signal; a server inside another process only loses its connections.
 */
export function buildControlReply(call: Call, controls: Controls): Reply {
  if (call.method === 'POST') {
    const refusal = applyChanges(call.body.toString(), controls)
    if (refusal !== undefined) return refusal
  } else if (call.method !== 'GET') return buildNotFoundReply()
  return buildJsonReply({ pid: process.pid, ...controls.state() })
}

function applyChanges(body: string, controls: Controls): Reply | undefined {
  try {
    const { crash, ...options } = asObject(JSON.parse(body))
    if (crash !== undefined && !isSignal(crash))
      return buildErrorReply(400, 'crash: expected the name of a signal')
    controls.set(parseOptions(options))
    if (crash !== undefined) controls.crash(crash)
    return undefined
  } catch (error) {
    if (error instanceof ConfigError || error instanceof SyntaxError)
      return buildErrorReply(400, error.message)
    throw error
  }
}

function isSignal(value: unknown): value is NodeJS.Signals {
  return typeof value === 'string' && Object.hasOwn(constants.signals, value)
}
