import type { Clock } from '../clock.ts'
import type { ModelTarget } from '../config/model-ref.ts'
import { createUpstream, type Upstream } from '../transport/upstream.ts'

/** The connections of every generation: opened by its first request, closed before its server is signalled. */
export interface Upstreams {
  of(target: ModelTarget, generation: string): Upstream
  /** Closes a generation's connections, and waits until its server can have noticed. */
  disconnect(generation: string): Promise<void>
  /** Closes those of every generation that an actor made. */
  disconnectAll(instance?: string): Promise<void>
}

export function createUpstreams(clock: Clock): Upstreams {
  const upstreams = new Map<string, Upstream>()
  const disconnect = async (generation: string) => {
    const upstream = upstreams.get(generation)
    upstreams.delete(generation)
    await upstream?.close()
  }
  return {
    of: ({ provider }, generation) => {
      const upstream = upstreams.get(generation) ?? createUpstream(new URL(provider.baseUrl).origin, clock)
      upstreams.set(generation, upstream)
      return upstream
    },
    disconnect,
    disconnectAll: async (instance = '') => {
      const generations = [...upstreams.keys()].filter((generation) => generation.startsWith(instance))
      await Promise.all(generations.map(disconnect))
    },
  }
}
