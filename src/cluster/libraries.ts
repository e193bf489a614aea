import type * as kv from '@nats-io/kv'
import type * as transport from '@nats-io/transport-node'
import { ClusterError } from '../errors.ts'

/** The client of NATS. It is loaded with the first cluster that is joined. */
export interface Libraries {
  readonly transport: typeof transport
  readonly kv: typeof kv
}

/** What adds the libraries to the package of a host. */
export const INSTALL_LINE = 'npm install @nats-io/transport-node @nats-io/kv'

type Load = (name: string) => Promise<unknown>

/** As a call of a variable, so that the bundler of a host does not look for optional packages. */
const loadModule: Load = (name) => import(name)

/** @throws {@link ClusterError} `LEASEHOLD_CLUSTER_UNAVAILABLE` with the line that installs what is missing */
export async function loadLibraries(load: Load = loadModule): Promise<Libraries> {
  try {
    const [loadedTransport, loadedKv] = await Promise.all([
      load('@nats-io/transport-node'),
      load('@nats-io/kv'),
    ])
    return { transport: toExports(loadedTransport) as typeof transport, kv: toExports(loadedKv) as typeof kv }
  } catch (error) {
    throw new ClusterError(
      `leasehold.cluster needs the client of NATS, which is not installed beside leasehold: run "${INSTALL_LINE}", with --global where leasehold is installed globally`,
      { cause: error },
    )
  }
}

/**
 * Both packages are CommonJS, and Node guesses the names of their exports from their text. On a busy host it has missed
 * `connect`, and the member never joined. All that such a package exports is `default`.
 */
function toExports(loaded: unknown): unknown {
  return Object(loaded).default ?? loaded
}
