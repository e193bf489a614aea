import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import OpenAI from 'openai'
import { describe } from 'vitest'
import { createGateway } from '../../src/gateway/index.ts'
import { createSupervisor, type ServiceSnapshot, type Supervisor } from '../../src/index.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { type Hearing, listen, writeAndLoad } from '../integration/library.ts'
import { type ModelOptions, writeModel } from './model.ts'

const setUpServer = fileURLToPath(new URL('../../.cache/llama/bin/llama-server', import.meta.url))

/** The llama-server of this host: that of `$LEASEHOLD_LLAMA_SERVER`, else the one that was set up, else none. */
export const llamaServer = findLlamaServer()

/** `describe`, for tests that need a real llama-server: without one they are skipped, and their title says so. */
export const describeWithLlama = (title: string, tests: () => void): void => {
  if (llamaServer !== undefined) describe(title, tests)
  else
    describe.skip(`${title} (there is no llama-server; test/llama/setup-llama-server.sh fetches one)`, tests)
}

export interface LlamaOptions {
  /** What the server loads. @default {@link countModel} */
  readonly model?: ModelOptions
  /** Further arguments of llama-server. */
  readonly flags?: readonly string[]
  /** Fields of the provider, of its `localService`, of its model's `compat`, and of `leasehold`. */
  readonly provider?: object
  readonly service?: object
  readonly compat?: object
  readonly leasehold?: object
}

/** A supervisor and a gateway, and a real llama-server that they start when it is needed. */
export interface Llama extends Hearing, AsyncDisposable {
  readonly supervisor: Supervisor
  /** Where the server listens, without `/v1`. */
  readonly serverUrl: string
  readonly port: number
  readonly modelPath: string
  /** A client that uses the supervisor's `fetch`, and one that talks to the gateway. */
  readonly openai: { readonly library: OpenAI; readonly gateway: OpenAI }
  service(): ServiceSnapshot
  /** Starts the same server without leasehold, and waits until it is ready. Disposing ends it. */
  startStranger(): Promise<AsyncDisposable>
}

/** Answers `0 1 2 … 399` and ends: a piece that is lost, doubled or out of order is plain to see. */
export const countModel: ModelOptions = { pieces: Array.from({ length: 400 }, (_, index) => ` ${index}`) }
export const countText = Array.from({ length: 400 }, (_, index) => index).join(' ')

/** Counts at some 300 tokens a second, so that there is time to stop it. */
export const slowCountModel: ModelOptions = { ...countModel, width: 512, layers: 7 }

/** Never ends an answer before 131072 tokens. */
export const endlessModel: ModelOptions = { ...countModel, isEndless: true, contextTokens: 131_072 }

/** Creates all of it. Nothing runs before the first request. */
export async function createLlama(options: LlamaOptions = {}): Promise<Llama> {
  const directory = await mkdtemp(join(tmpdir(), 'leasehold-llama-'))
  const modelPath = join(directory, 'model.gguf')
  await writeModel(modelPath, options.model ?? countModel)
  const port = await findFreePort()
  const serverUrl = `http://127.0.0.1:${port}`
  const command = llamaServer ?? 'llama-server'
  // One thread: several of them spin, and starve each other on a small machine.
  const args = [
    ...['--model', modelPath, '--threads', '1', '--host', '127.0.0.1', '--port', String(port)],
    ...(options.flags ?? []),
  ]
  const llama = {
    baseUrl: `${serverUrl}/v1`,
    models: [{ id: 'demo', compat: options.compat ?? {} }],
    localService: {
      command,
      args,
      healthUrl: `${serverUrl}/health`,
      // llama-server reads settings and plug-ins from these places.
      cwd: directory,
      env: { XDG_CONFIG_HOME: directory },
      ...options.service,
    },
    ...options.provider,
  }
  const config = await writeAndLoad(
    JSON.stringify({
      models: { mode: 'replace', providers: { llama } },
      leasehold: { port: 0, backoffMs: 10, ...options.leasehold },
    }),
  )
  const supervisor = createSupervisor({ config })
  const hearing = listen(supervisor)
  const gateway = createGateway({ supervisor })
  const { url } = await gateway.listen()
  const toClient = (baseURL: string, fetch?: typeof globalThis.fetch) =>
    new OpenAI({ baseURL, apiKey: 'unused', maxRetries: 0, fetch })

  return {
    supervisor,
    serverUrl,
    port,
    modelPath,
    openai: {
      library: toClient('http://leasehold/v1', supervisor.fetch),
      gateway: toClient(`${url}/v1`),
    },
    ...hearing,
    service: () => {
      const [service] = supervisor.snapshot().services
      if (service === undefined) throw new Error('There is one service.')
      return service
    },
    startStranger: async () => {
      const child = spawn(command, args, { cwd: directory, stdio: 'ignore' })
      const exited = once(child, 'close')
      while (!(await isReady(serverUrl)))
        if (child.exitCode !== null) throw new Error(`The stranger exited with code ${child.exitCode}.`)
      return {
        [Symbol.asyncDispose]: async () => {
          child.kill('SIGKILL')
          await exited
        },
      }
    },
    [Symbol.asyncDispose]: async () => {
      await supervisor.close({ force: true })
      await gateway.close()
      await rm(directory, { recursive: true })
    },
  }
}

/** The messages of a chat with one question. */
export function ask(content: string): OpenAI.ChatCompletionMessageParam[] {
  return [{ role: 'user', content }]
}

/** What a chat is asked for in these tests: llama-server answers the same to everything. */
export const question = { model: 'llama/demo', messages: ask('Count!') }

function findLlamaServer(): string | undefined {
  const { LEASEHOLD_LLAMA_SERVER: named } = process.env
  // A name that leads nowhere is a mistake, and must not look like a host without a server.
  if (named) accessSync(named, constants.X_OK)
  return named || (existsSync(setUpServer) ? setUpServer : undefined)
}

async function isReady(serverUrl: string): Promise<boolean> {
  try {
    return (await fetch(`${serverUrl}/health`)).ok
  } catch {
    return false
  }
}
