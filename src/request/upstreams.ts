import type { Clock } from '../clock.ts'
import type { ModelTarget } from '../config/model-ref.ts'
import { createUpstream, type Upstream, type UpstreamOptions } from '../transport/upstream.ts'

/** The connections of every generation: opened by its first request, closed before its server is signalled. */
export interface Upstreams {
  /** @param locate where the server of a target was found, and whether it may be used @default its base URL */
  of(target: ModelTarget, generation: string, locate?: (target: ModelTarget) => UpstreamOptions): Upstream
  /** Closes a generation's connections, and waits until its server can have noticed. */
  disconnect(generation: string): Promise<void>
  /** Closes those of every generation that an actor made. */
  disconnectAll(instance?: string): Promise<void>
}

export function createUpstreams(clock: Clock): Upstreams {
  /** By generation, then by base URL: providers that share a service may spell its address differently. */
  const upstreams = new Map<string, Map<string, Upstream>>()
  const disconnect = async (generation: string) => {
    const closing = [...(upstreams.get(generation)?.values() ?? [])]
    upstreams.delete(generation)
    await Promise.all(closing.map((upstream) => upstream.close()))
  }
  const open = (generation: string, target: ModelTarget, options: UpstreamOptions = {}) => {
    const { baseUrl } = target.provider
    const upstream = createUpstream(baseUrl, clock, options)
    const siblings = upstreams.get(generation) ?? new Map<string, Upstream>()
    upstreams.set(generation, siblings.set(baseUrl, upstream))
    return upstream
  }
  return {
    of: (target, generation, locate) =>
      upstreams.get(generation)?.get(target.provider.baseUrl) ?? open(generation, target, locate?.(target)),
    disconnect,
    disconnectAll: async (instance = '') => {
      await Promise.all(
        [...upstreams.keys()].filter((generation) => generation.startsWith(instance)).map(disconnect),
      )
    },
  }
}
