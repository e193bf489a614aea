import { fileURLToPath } from 'node:url'
import { findFreePort } from '../../dist/src/testing/real-host.js'
import { CONTAINER, toContainer } from './container.mjs'

export const demoServer = fileURLToPath(new URL('../../dist/src/testing/demo-server.js', import.meta.url))

export const sleepingServer = fileURLToPath(new URL('sleeping-demo-server.mjs', import.meta.url))

/** The service whose server sleeps when it is idle, and what it takes of the budget `weights`. */
export const SLEEPER = 'epsilon'
export const SLEEPER_NEEDS = { awake: 10, asleep: 2 }

/**
 * The services of a campaign, each with a weakness of its own. `flags` are the demo server's, `service` is what its
 * `localService` says besides.
 */
const SERVICES = {
  // Stops after a short idle time, takes few at once: cold starts, queues, requests in the tick of a stop.
  alpha: { flags: [], service: { idleStopMs: 150, maxConcurrent: 4, maxQueue: 200 } },
  // One process under two names.
  beta: { flags: ['--load-ms', '50'], service: {}, providers: ['beta', 'beta2'] },
  // Streams whose end only the connection's end tells, and connections that close as soon as they are idle.
  gamma: {
    flags: ['--load-ms', '80', '--bind-after-load', '--close-delimited', '--idle-close-ms', '1'],
    service: { idleStopMs: 1_000 },
  },
  // Slow, deaf to SIGTERM, and with a grandchild in a session of its own.
  delta: {
    flags: ['--token-delay-ms', '2', '--ignore-sigterm', '--fork-grandchild', 'setsid'],
    service: { stopGraceMs: 100, drainTimeoutMs: 300 },
  },
  // Stands first in the chain of the default model, and is told to crash before it answers.
  flaky: { flags: [], service: {} },
  // Sleeps between two requests, and dies of any request meanwhile.
  [SLEEPER]: {
    flags: [],
    service: {
      maxConcurrent: 4,
      maxQueue: 200,
      needs: { weights: SLEEPER_NEEDS.awake },
      sleep: {
        afterMs: 5,
        request: [{ path: '/sleep?level=1' }],
        wake: [{ path: '/wake_up' }],
        check: { path: '/is_sleeping', field: 'is_sleeping' },
        needs: { weights: SLEEPER_NEEDS.asleep },
      },
    },
  },
}

/** A server that the harness itself runs: leasehold may use it and must never signal it. */
export const OUTSIDE = 'outside'

/** The chain of the default model. */
export const CHAIN = ['flaky', 'alpha', OUTSIDE]

/** The names under which clients ask for models. */
export const MODELS = ['alpha', 'beta', 'beta2', 'gamma', 'delta', 'flaky', SLEEPER, OUTSIDE, 'default']

const DIST = fileURLToPath(new URL('../../dist', import.meta.url))

/** The short grace of a container, of which `docker stop` is told whole seconds. */
const CONTAINER_SERVICE = { stopGraceMs: 1_000, maxQueue: 200 }

/**
 * Ports, journals and the configuration file's text.
 * @param engine what runs the service in a container; absent: there is no such service
 * @param temporary the folder whose name marks every process
 */
export async function createServices({ journals, sleepLog, temporary, engine }) {
  const all =
    engine === undefined ? SERVICES : { ...SERVICES, [CONTAINER]: { flags: [], service: CONTAINER_SERVICE } }
  const toNames = (hasContainer) => Object.keys(hasContainer ? all : SERVICES)
  const names = [...toNames(true), OUTSIDE]
  const ports = {}
  for (const name of names) {
    do ports[name] = await findFreePort()
    while (names.some((other) => other !== name && ports[other] === ports[name]))
  }
  const toFlags = (name) => ['--port', String(ports[name]), '--control', '--journal', `${journals}/${name}`]
  const toRunnable = (name, flags) => {
    const words = [
      ...(name === SLEEPER ? [sleepingServer, '--sleep-log', sleepLog] : [demoServer]),
      ...toFlags(name),
      ...flags,
    ]
    if (name !== CONTAINER) return { command: process.execPath, args: words }
    const folders = [`${DIST}:${DIST}:ro`, `${journals}:${journals}`, `${temporary}:${temporary}`]
    return toContainer(engine, { env: { TMPDIR: temporary }, folders, words })
  }
  const toProviders = (variant, hasContainer) =>
    toNames(hasContainer).flatMap((name) => {
      const { flags, service, providers: ids = [name] } = all[name]
      const entry = {
        baseUrl: `http://127.0.0.1:${ports[name]}/v1`,
        localService: {
          ...toRunnable(name, flags),
          healthUrl: `http://127.0.0.1:${ports[name]}/health`,
          readyTimeoutMs: 30_000,
          maxQueueMs: 45_000,
          ...service,
          // Another environment is another service, on the same port.
          ...(name === 'beta' ? { env: { CHAOS_VARIANT: String(variant) } } : {}),
        },
        models: [{ id: 'demo' }],
      }
      return ids.map((id) => [id, entry])
    })
  const outside = { baseUrl: `http://127.0.0.1:${ports[OUTSIDE]}/v1`, models: [{ id: 'demo' }] }
  const toConfig = (variant, hasContainer) => ({
    models: {
      mode: 'replace',
      providers: Object.fromEntries([...toProviders(variant, hasContainer), [OUTSIDE, outside]]),
    },
    agents: {
      defaults: {
        model: { primary: `${CHAIN[0]}/demo`, fallbacks: CHAIN.slice(1).map((name) => `${name}/demo`) },
      },
    },
    leasehold: {
      backoffMs: 10,
      backoffMaxMs: 100,
      breakerCooldownMs: 200,
      stabilityMs: 500,
      heartbeatMs: 100,
      maxConcurrentStarts: 3,
      coldStartCommentsMs: 100,
      budgets: { weights: SLEEPER_NEEDS.awake },
    },
  })
  return {
    ports,
    owned: toNames(true),
    /** Services and models of a chapter. */
    toOwned: toNames,
    toModels: (hasContainer) => (hasContainer && engine !== undefined ? [...MODELS, CONTAINER] : MODELS),
    /** The text of the configuration; `variant` changes the environment of one service. */
    toConfigText: (variant, hasContainer) => JSON.stringify(toConfig(variant, hasContainer), null, 2),
    outsideFlags: toFlags(OUTSIDE),
  }
}

/** The service that a model's requests go to; the default model may go to each of its chain. */
export function toServiceNames(model) {
  if (model === 'default') return CHAIN
  return [model === 'beta2' ? 'beta' : model]
}
