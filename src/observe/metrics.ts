import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { hasTag } from '../../machines/provider/tags.ts'
import type { SupervisorEvent } from '../events/events.ts'
import type { Supervisor } from '../supervisor/interface.ts'

/** What a supervisor has done, for Prometheus. */
export interface Metrics {
  readonly registry: Registry
  /** The text of a scrape. */
  scrape(): Promise<string>
  close(): void
}

/** Requests that are followed at the same time; of further ones only the end is counted. */
const MAX_FOLLOWED = 10_000
const ROUTES = [
  /^\/v1\/(?:chat\/completions|completions|embeddings|responses|messages|rerank|audio\/\w+|images\/\w+)$/,
  // Ollama's API and llama.cpp's routes.
  /^\/api\/(?:chat|generate|embed|embeddings)$/,
  /^\/(?:props|slots|apply-template|completion|detokenize|infill|rerank|reranking|tokenize)$/,
  // Any path of the server itself.
  /^\/upstream(?=\/)/,
]
const SECONDS = [0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]

/** Creates the metrics. They begin with the events that are still kept. Labels are bounded by the configuration. */
export function createMetrics(supervisor: Supervisor): Metrics {
  const registry = new Registry()
  const meters = createMeters(registry)
  const requests = new Map<string, { readonly ref: string; readonly route: string; readonly atMs: number }>()
  /** When each waiter of a service asked, and when each service began to start. */
  const asked = new Map<string, number>()
  const starts = new Map<string, number>()

  const toModel = (ref: string) => {
    const provider = ref.slice(0, ref.indexOf('/'))
    const { providers, members } = supervisor.config
    const isNamed = ({ id }: { readonly id: string }) => id === provider
    // `attic:llama`: of another member of the cluster.
    const known = providers.find(isNamed) ?? members?.providers.find(isNamed)
    const model = ref.slice(provider.length + 1)
    const isListed = known?.models.some(({ id }) => id === model)
    const member = known?.memberOf?.member
    return {
      provider: known?.id ?? 'other',
      model: isListed ? model : 'other',
      ...(member === undefined ? {} : { member }),
    }
  }
  const meter = (event: SupervisorEvent): void => {
    switch (event.type) {
      case 'request.started': {
        if (requests.size >= MAX_FOLLOWED) return
        const route = findRoute(event.route)
        requests.set(event.requestId, { ref: event.ref, route, atMs: event.atMs })
        return
      }
      case 'request.attempted': {
        const { model: _, ...labels } = toModel(event.ref)
        return meters.failovers.inc({ ...labels, code: event.code })
      }
      case 'request.responded': {
        const request = requests.get(event.requestId)
        if (request !== undefined) requests.set(event.requestId, { ...request, ref: event.ref })
        return meters.firstByte.observe(toModel(event.ref), event.waitedMs / 1000)
      }
      case 'request.ended': {
        const { ref = '', route = 'other', atMs = event.atMs } = requests.get(event.requestId) ?? {}
        requests.delete(event.requestId)
        const labels = toModel(ref)
        const { outcome, usage } = event
        meters.requests.inc({ ...labels, route, outcome })
        meters.duration.observe({ ...labels, outcome }, (event.atMs - atMs) / 1000)
        if (usage?.promptTokens) meters.tokens.inc({ ...labels, kind: 'prompt' }, usage.promptTokens)
        if (usage?.completionTokens)
          meters.tokens.inc({ ...labels, kind: 'completion' }, usage.completionTokens)
        if (usage?.tokensPerSecond) meters.pace.observe(labels, usage.tokensPerSecond)
        return
      }
      case 'lease.requested':
        if (asked.size < MAX_FOLLOWED) asked.set(event.id, event.atMs)
        return
      case 'lease.granted':
        return endWait(event, (waitedMs) => meters.wait.observe({ service: event.service }, waitedMs / 1000))
      case 'lease.refused':
        meters.refusals.inc({ service: event.service, code: event.failure.code })
        return endWait(event)
      case 'lease.cancelled':
        return endWait(event)
      case 'service.stop':
        return meters.stops.inc({ service: event.service, reason: event.reason })
      case 'service.state':
        return meterState(event)
    }
  }
  const endWait = (
    { id, atMs }: { readonly id: string; readonly atMs: number },
    then = (_ms: number) => {},
  ) => {
    const since = asked.get(id)
    asked.delete(id)
    if (since !== undefined) then(atMs - since)
  }
  const meterState = ({
    service,
    key,
    to,
    atMs,
    why,
  }: Extract<SupervisorEvent, { type: 'service.state' }>) => {
    if (hasTag(to, 'stopping') && why?.kind === 'idle') meters.stops.inc({ service, reason: 'idle' })
    if (hasTag(to, 'asleep')) meters.sleeps.inc({ service })
    const since = starts.get(key)
    if (hasTag(to, 'starting')) {
      if (since === undefined) starts.set(key, atMs)
      return
    }
    if (since === undefined) return
    starts.delete(key)
    const isUp = hasTag(to, 'up')
    const result = isUp ? 'ready' : why?.kind === 'failed' ? 'failed' : 'called-off'
    meters.starts.inc({ service, result })
    if (isUp) meters.ready.observe({ service }, (atMs - since) / 1000)
  }

  for (const event of supervisor.pastEvents()) meter(event)
  const watch = supervisor.events$.subscribe(meter)
  return {
    registry,
    scrape: () => {
      look(supervisor, meters)
      return registry.metrics()
    },
    close: () => watch.unsubscribe(),
  }
}

/** A route as a label: the clients choose the paths, so there must be few. */
function findRoute(path: string): string {
  for (const pattern of ROUTES) {
    const [route] = pattern.exec(path) ?? []
    if (route !== undefined) return route
  }
  return 'other'
}

/** What is true at the moment of a scrape. */
function look(supervisor: Supervisor, meters: ReturnType<typeof createMeters>): void {
  for (const gauge of [meters.state, meters.leases, meters.queue, meters.memory]) gauge.reset()
  for (const { service, state, leases, queue, memory } of supervisor.snapshot().services) {
    meters.state.set({ service, state }, 1)
    meters.leases.set({ service }, leases)
    meters.queue.set({ service }, queue.length)
    if (memory !== null) meters.memory.set({ service }, memory.bytes)
  }
  meters.own.set(process.memoryUsage.rss())
}

function createMeters(registry: Registry) {
  const registers = [registry]
  const counter = <Label extends string>(name: string, help: string, labelNames: Label[]) =>
    new Counter({ name: `leasehold_${name}`, help, labelNames, registers })
  const gauge = <Label extends string>(name: string, help: string, labelNames: Label[] = []) =>
    new Gauge({ name: `leasehold_${name}`, help, labelNames, registers })
  const histogram = <Label extends string>(
    name: string,
    help: string,
    labelNames: Label[],
    buckets = SECONDS,
  ) => new Histogram({ name: `leasehold_${name}`, help, labelNames, buckets, registers })
  return {
    requests: counter('requests_total', 'Model requests that are over.', [
      'provider',
      'model',
      'route',
      'outcome',
      'member',
    ]),
    duration: histogram('request_duration_seconds', 'From a request to the end of its answer.', [
      'provider',
      'model',
      'outcome',
      'member',
    ]),
    firstByte: histogram('time_to_first_byte_seconds', 'From a request to the head of its answer.', [
      'provider',
      'model',
      'member',
    ]),
    failovers: counter('failed_attempts_total', 'Candidates that could not serve a request.', [
      'provider',
      'code',
      'member',
    ]),
    tokens: counter('tokens_total', 'Tokens, where the server reports its usage.', [
      'provider',
      'model',
      'kind',
      'member',
    ]),
    pace: histogram(
      'tokens_per_second',
      'Pace of generation, where the server reports its timings, or streams and reports its usage.',
      ['provider', 'model', 'member'],
      [1, 5, 10, 20, 40, 80, 160, 320, 1000],
    ),
    wait: histogram('lease_wait_seconds', 'From the question for a lease to its grant.', ['service']),
    refusals: counter('lease_refusals_total', 'Leases that were refused.', ['service', 'code']),
    queue: gauge('queue_depth', 'Requests that wait for a lease now.', ['service']),
    leases: gauge('leases', 'Leases that are held now.', ['service']),
    state: gauge('service_state', '1 for the state that a service is in.', ['service', 'state']),
    starts: counter('starts_total', 'Starts that are over, by their result.', ['service', 'result']),
    ready: histogram('time_to_ready_seconds', 'From the begin of a start until the service is ready.', [
      'service',
    ]),
    sleeps: counter('sleeps_total', 'How often a service fell asleep.', ['service']),
    stops: counter('stops_total', 'Stops that were begun, by their reason.', ['service', 'reason']),
    memory: gauge('service_memory_bytes', 'Memory of the process tree of a service, where it is known.', [
      'service',
    ]),
    own: gauge('resident_memory_bytes', 'Memory of leasehold itself.'),
  }
}
