// What a host in TypeScript may write. It is compiled against the declarations that are published, with
// `exactOptionalPropertyTypes`, and never run.
import type {
  AcquireOptions,
  ConfigInput,
  ConfigOptions,
  FileOptions,
  ProviderState,
  RecorderOptions,
  ServiceSnapshot,
  SignalOptions,
  StopOptions,
  Supervisor,
  SupervisorOptions,
} from 'leasehold'
import type { GatewayOptions, HttpLimits } from 'leasehold/gateway'
import type { ModelServerOptions, StageOptions } from 'leasehold/testing'

type OptionalKey<T> = { [K in keyof T]-?: object extends Pick<T, K> ? K : never }[keyof T]
/** Options of which one that is absent cannot be given as `undefined`. */
type Refuses<T> = {
  [K in OptionalKey<T>]: { [P in K]: undefined } extends Pick<T, K> ? never : K
}[OptionalKey<T>]
type Never<T extends never> = T

export type Accepted = [
  Never<Refuses<AcquireOptions>>,
  Never<Refuses<ConfigInput>>,
  Never<Refuses<NonNullable<ConfigInput['leasehold']>>>,
  Never<Refuses<ConfigOptions>>,
  Never<Refuses<FileOptions>>,
  Never<Refuses<GatewayOptions>>,
  Never<Refuses<HttpLimits>>,
  Never<Refuses<ModelServerOptions>>,
  Never<Refuses<RecorderOptions>>,
  Never<Refuses<SignalOptions>>,
  Never<Refuses<StageOptions>>,
  Never<Refuses<StopOptions>>,
  Never<Refuses<SupervisorOptions>>,
]

/** Every state has its branch: one that is missing would leave a type that is not `never`. */
export function describe({ state }: ServiceSnapshot): string {
  switch (state) {
    case 'down.cold':
    case 'down.backoff':
    case 'down.tripped':
      return 'down'
    case 'probing':
    case 'starting.claiming':
    case 'starting.spawning':
    case 'starting.warming':
      return 'starting'
    case 'ready':
    case 'leased.open':
    case 'leased.draining':
      return 'up'
    case 'ready.falling-asleep':
    case 'ready.asleep':
    case 'ready.waking':
      return 'asleep'
    case 'idle-stopping.terminating':
    case 'idle-stopping.killing':
    case 'idle-stopping.sweeping':
      return 'stopping'
    case 'retired':
      return 'retired'
    default:
      return state satisfies never
  }
}

export function listen(supervisor: Supervisor, wanted: ProviderState): void {
  supervisor.events$.subscribe((event) => {
    if (event.type === 'service.state' && event.to === wanted) console.log(event.service)
    // @ts-expect-error no such state
    if (event.type === 'service.state' && event.to === 'hot') return
  })
  for (const { state } of supervisor.models()) state satisfies ProviderState | 'unavailable'
  for (const { state } of supervisor.requests()) state satisfies string
  supervisor.snapshot().state satisfies 'running' | 'draining' | 'stopped'
  // @ts-expect-error what only the gateway needs is not public
  supervisor.dispatch
  // @ts-expect-error
  supervisor.seq$
  // @ts-expect-error
  supervisor.pastEvents(0, 10, (kept) => kept)
}
