import type { IncomingHttpHeaders } from 'node:http'
import type { ModelServerSettings } from './options.ts'

/** One request whose body has been read, with the settings that hold for it. */
export interface Call {
  readonly method: string
  /** Path without the query. */
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  readonly settings: ModelServerSettings
  /** Part of every id in the answer: the client's `x-demo-nonce`, otherwise a running number. */
  readonly nonce: string
  /** Wall clock time, for display, in milliseconds. */
  readonly receivedAtMs: number
}

/** What every answer, and every piece of one, of the OpenAI completions APIs begins with. */
export function buildFrame(call: Call, prefix: 'chatcmpl' | 'cmpl', asked: unknown) {
  return {
    id: `${prefix}-${call.nonce}`,
    created: findCreated(call),
    model: findServedModel(call, asked),
    system_fingerprint: 'leasehold-demo',
  }
}

/** When the answer was created, in seconds, as the APIs want it. */
export function findCreated(call: Call): number {
  return Math.floor(call.receivedAtMs / 1000)
}

/** The model that answers: the one asked for if it is served, otherwise the first, as llama.cpp does. */
export function findServedModel(call: Call, asked: unknown): string {
  return call.settings.models.find((id) => id === asked) ?? call.settings.models[0] ?? 'demo'
}
