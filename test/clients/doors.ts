import OpenAI from 'openai'
import { createGateway } from '../../src/gateway/server.ts'
import type { ServiceSnapshot } from '../../src/service/snapshot.ts'
import type { ModelServerOptions } from '../../src/testing/model-server/options.ts'
import { createLibrary, type Library, type LibraryOptions } from '../integration/library.ts'

/** The two ways in: over HTTP, and in the process itself. */
export const doors = ['gateway', 'library'] as const
export type Door = (typeof doors)[number]

/** What clients are configured with to come in by a door. */
export interface Way {
  readonly baseURL: string
  readonly apiKey: string
  readonly fetch: typeof globalThis.fetch
}

/** A supervisor with a demo server to run, and a gateway before it. */
export interface Doors extends AsyncDisposable {
  readonly library: Library
  /** Of the gateway, without a path. */
  readonly url: string
  readonly ways: Readonly<Record<Door, Way>>
  /** The service of the demo server, as it stands. */
  service(): ServiceSnapshot
  /** Changes how the running demo server behaves. */
  steer(options: ModelServerOptions): Promise<void>
}

/** Opens both doors in front of one demo server. */
export async function openDoors(options: LibraryOptions = {}): Promise<Doors> {
  const library = await createLibrary({ ...options, leasehold: { port: 0, ...options.leasehold } })
  const { supervisor, port } = library
  const gateway = createGateway({ supervisor })
  const { url } = await gateway.listen()
  return {
    library,
    url,
    ways: {
      gateway: { baseURL: `${url}/v1`, apiKey: 'unused', fetch: globalThis.fetch },
      library: { baseURL: 'http://leasehold/v1', apiKey: 'unused', fetch: supervisor.fetch },
    },
    service: () => {
      const [service] = supervisor.snapshot().services
      if (service === undefined) throw new Error('a service was expected')
      return service
    },
    steer: async (changes) => {
      const body = JSON.stringify(changes)
      const { status } = await fetch(`http://127.0.0.1:${port}/__control`, { method: 'POST', body })
      if (status !== 200) throw new Error('the demo server refused the change')
    },
    [Symbol.asyncDispose]: async () => {
      await supervisor.close({ force: true })
      await gateway.close()
    },
  }
}

/** An OpenAI client as it comes: it tries again twice, unless told otherwise. */
export function toOpenAi(way: Way, options: { readonly maxRetries?: number } = {}): OpenAI {
  return new OpenAI({ ...way, ...options })
}

/** The same way, with what went through it: one entry per request that was sent. */
export function countRequests(way: Way): { readonly way: Way; readonly sent: readonly string[] } {
  const sent: string[] = []
  const fetch: typeof globalThis.fetch = (input, init) => {
    sent.push(String(input instanceof Request ? input.url : input))
    return way.fetch(input, init)
  }
  return { way: { ...way, fetch }, sent }
}

/** The error that a promise ends in. */
export async function catchError(promise: PromiseLike<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error('It was expected to fail.')
}

/** Everything that comes, in order. */
export async function collect<T>(source: AsyncIterable<T>): Promise<readonly T[]> {
  const all: T[] = []
  for await (const one of source) all.push(one)
  return all
}
