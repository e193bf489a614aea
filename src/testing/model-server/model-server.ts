import { once } from 'node:events'
import { createServer } from '../../net/http.ts'
import { createHandler } from './handler.ts'
import { openJournal } from './journal.ts'
import type { RecordedRequest } from './ledger.ts'
import { createLedger } from './ledger.ts'
import { load, printLines, printLoadEnd } from './model-load.ts'
import { defaultSettings, parseOptions } from './option-fields.ts'
import type { ModelServerOptions, ModelServerSettings } from './options.ts'

/** Where a listening server is reached. */
export interface ModelServerAddress {
  readonly port: number
  /** Without a path: `http://127.0.0.1:41234`. */
  readonly url: string
}

/** What a server does to the process it runs in. Absent functions leave the process alone. */
export interface ModelServerEffects {
  /** Prints a log line. Default: prints nothing. */
  readonly log?: ((line: string) => void) | undefined
  /** Ends the process by a signal, for the crash faults. Default: destroys the connection. */
  readonly crash?: ((signal: NodeJS.Signals) => void) | undefined
  /** Ends the process, after a load that fails. Default: closes the server. */
  readonly exit?: ((code: number) => void) | undefined
}

/** A model server that answers by rule, and misbehaves on demand. */
export interface ModelServer {
  /**
   * Opens the port and begins the load; with `bindAfterLoad` the other way round. Called again, it
   * returns the same promise. Rejects when the port cannot be bound, when the server is closed meanwhile,
   * and when a load that precedes the port fails.
   */
  listen(): Promise<ModelServerAddress>
  /** Changes settings from the next request on. @throws {@link ConfigError} for an unknown name or a wrong value. */
  set(options: ModelServerOptions): void
  readonly settings: ModelServerSettings
  /** The newest requests, oldest first; health checks too, requests to `/__control` not. */
  readonly requests: readonly RecordedRequest[]
  /** Requests by path without query, and under `aborted` those whose client left before the end of the answer. */
  readonly counts: Readonly<Record<string, number>>
  /** Requests that have neither been answered completely nor been given up. */
  readonly inFlight: number
  /** Closes the port and cuts every connection, as a model server's exit does: nothing is drained. Idempotent. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Creates an OpenAI-compatible model server without a model: the demo provider, and the tests' imitation of
 * real backends. It says so in the `system_fingerprint` of its answers and in its models' `owned_by`:
 * `leasehold-demo`.
 * @throws {@link ConfigError} `LEASEHOLD_CONFIG_INVALID` for an unknown option or a wrong value.
 */
export function createModelServer(
  options: ModelServerOptions = {},
  { log = () => undefined, crash, exit }: ModelServerEffects = {},
): ModelServer {
  let settings: ModelServerSettings = { ...defaultSettings(), ...parseOptions(options) }
  let isLoaded = false
  let listening: Promise<ModelServerAddress> | undefined
  let closed: Promise<void> | undefined
  const ledger = createLedger()
  const closing = new AbortController()

  const set = (changes: ModelServerOptions): void => {
    settings = { ...settings, ...parseOptions(changes) }
    applyIdleClose()
  }

  const controls = {
    state: () => ({
      counts: ledger.counts,
      inFlight: ledger.inFlight,
      options: { ...settings, apiKey: settings.apiKey === null ? null : '(hidden)' },
    }),
    set,
    crash: (signal: NodeJS.Signals): void => {
      if (crash === undefined) server.closeAllConnections()
      else crash(signal)
    },
  }

  const server = createServer(
    createHandler({
      get settings() {
        return settings
      },
      get isLoaded() {
        return isLoaded
      },
      get isClosing() {
        return closing.signal.aborted
      },
      ledger,
      ...(settings.journal === null ? {} : { journal: openJournal(settings.journal) }),
      controls,
      crash,
    }),
  )

  // Newer versions of Node add a second to this time; tests of idle connections want it as it is.
  const applyIdleClose = (): void => {
    Object.assign(server, { keepAliveTimeout: settings.idleCloseMs, keepAliveTimeoutBuffer: 0 })
  }

  const start = async (): Promise<ModelServerAddress> => {
    void printLines(settings.logLineEveryMs, log, closing.signal)
    if (settings.bindAfterLoad) {
      if (!(await loadModel())) throw new Error('The model server could not load its model.')
      const address = await bind()
      log(`listening on ${address.url}`)
      return address
    }
    const address = await bind()
    loadModel().then(
      (isReady) => {
        if (isReady) log(`listening on ${address.url}`)
      },
      () => undefined, // The load rejects only when the server is closed.
    )
    return address
  }

  /** Whether the load succeeded. One that ends in `health500` is over too, and health tells how. */
  const loadModel = async (): Promise<boolean> => {
    await load(settings, log, closing.signal)
    const { failLoad } = settings
    printLoadEnd(failLoad, log)
    isLoaded = failLoad !== 'exit'
    if (failLoad !== 'exit') return failLoad === null
    if (exit === undefined) void close()
    else exit(1)
    return false
  }

  const bind = async (): Promise<ModelServerAddress> => {
    closing.signal.throwIfAborted()
    applyIdleClose()
    server.listen(settings.port, settings.host)
    await once(server, 'listening')
    const bound = server.address()
    const port = typeof bound === 'object' && bound !== null ? bound.port : settings.port
    const host = settings.host.includes(':') ? `[${settings.host}]` : settings.host
    log(`port ${port} is open`)
    return { port, url: `http://${host}:${port}` }
  }

  const close = (): Promise<void> => {
    closed ??= new Promise((resolve) => {
      closing.abort()
      server.close(() => resolve())
      server.closeAllConnections()
    })
    return closed
  }

  return {
    listen: () => {
      listening ??= start()
      return listening
    },
    set,
    get settings() {
      return settings
    },
    requests: ledger.requests,
    counts: ledger.counts,
    get inFlight() {
      return ledger.inFlight
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}
