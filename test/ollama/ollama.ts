import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe } from 'vitest'
import { createSupervisor } from '../../src/index.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { listen, writeAndLoad } from '../integration/library.ts'
import { slowCountModel } from '../llama/llama-server.ts'
import { type ModelOptions, writeModel } from '../llama/model.ts'

/** The Ollama of `$LEASEHOLD_OLLAMA`, else none. */
const ollama = findOllama()

/** `describe`, for tests that need a real Ollama: without one they are skipped, and their title says so. */
export const describeWithOllama = (title: string, tests: () => void): void => {
  if (ollama !== undefined) describe(title, tests)
  else describe.skip(`${title} (LEASEHOLD_OLLAMA names no program)`, tests)
}

export interface OllamaOptions {
  /** Fields of each `localService`, by the id of its provider, which is its model unless `model` says another. */
  readonly services?: Readonly<Record<string, object>>
  readonly leasehold?: object
  readonly env?: Readonly<Record<string, string>>
}

/** The models, and the name that each is created under. */
const MODELS: Readonly<Record<string, ModelOptions>> = {
  a: { pieces: [' a', ' b', ' c'], hasPooling: false },
  b: { pieces: [' b', ' c', ' d'], hasPooling: false },
  'Team/C:Q4': { pieces: [' c', ' d', ' e'], hasPooling: false },
  'hf.co/x/Y:Q4': { pieces: [' y', ' z'], hasPooling: false },
  embedder: { pieces: [' e'] },
  slow: { ...slowCountModel, hasPooling: false },
}

interface Listed {
  readonly models: readonly { readonly name: string; readonly expires_at: string }[]
}

/** A real Ollama with some models, of which none is loaded, and a supervisor whose services are models of it. */
export async function openOllama({ services = { a: {} }, leasehold = {}, env = {} }: OllamaOptions = {}) {
  const directory = await mkdtemp(join(tmpdir(), 'leasehold-ollama-'))
  const port = await findFreePort()
  const origin = `http://127.0.0.1:${port}`
  const program = ollama ?? 'ollama'
  const variables = {
    ...{ PATH: process.env.PATH, HOME: directory, OLLAMA_HOST: `127.0.0.1:${port}` },
    ...{ OLLAMA_MODELS: join(directory, 'models'), OLLAMA_NUM_PARALLEL: '1', OLLAMA_CONTEXT_LENGTH: '4096' },
    // It asks nothing of the internet.
    OLLAMA_NO_CLOUD: '1',
    ...env,
  }
  const start = async () => {
    const child = spawn(program, ['serve'], { cwd: directory, env: variables, stdio: 'ignore' })
    const exited = once(child, 'exit')
    const isUp = () =>
      fetch(`${origin}/api/version`).then(
        ({ ok }) => ok,
        () => false,
      )
    while (!(await isUp())) if (child.exitCode !== null) throw new Error(`Ollama exited: ${child.exitCode}.`)
    return async () => {
      child.kill()
      await exited
    }
  }
  let end = await start()
  const run = (...args: string[]) => promisify(execFile)(program, args, { cwd: directory, env: variables })
  const create = async (name: string, model: ModelOptions) => {
    const folder = join(directory, name.replaceAll(/\W/g, '-'))
    await mkdir(folder)
    await writeModel(join(folder, 'model.gguf'), model)
    await writeFile(join(folder, 'Modelfile'), `FROM ${join(folder, 'model.gguf')}\n`)
    await run('create', name, '-f', join(folder, 'Modelfile'))
  }
  for (const [name, model] of Object.entries(MODELS)) await create(name, model)
  const providers = Object.entries(services).map(([id, service]) => [
    id,
    {
      baseUrl: `${origin}/v1`,
      localService: { engine: 'ollama', model: id, daemon: {}, ...service },
    },
  ])
  const config = await writeAndLoad(
    JSON.stringify({
      models: { mode: 'replace', providers: Object.fromEntries(providers) },
      leasehold: { backoffMs: 10, heartbeatMs: 100, ...leasehold },
    }),
  )
  const supervisor = createSupervisor({ config, stateDir: join(directory, 'state') })
  const post = (path: string, body: object) =>
    fetch(origin + path, { method: 'POST', body: JSON.stringify(body) })
  const list = async () => ((await (await fetch(`${origin}/api/ps`)).json()) as Listed).models
  return {
    supervisor,
    hearing: listen(supervisor),
    origin,
    run,
    post,
    restart: async () => {
      await end()
      end = await start()
    },
    ask: async (id: string, more: object = {}) => {
      const answer = await supervisor.fetch('http://leasehold/v1/chat/completions', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          model: `${id}/${id}`,
          messages: [{ role: 'user', content: 'hi' }],
          max_tokens: 3,
          ...more,
        }),
      })
      return { status: answer.status, text: await answer.text() }
    },
    list,
    loaded: async () => (await list()).map(({ name }) => name).toSorted(),
    [Symbol.asyncDispose]: async () => {
      await supervisor.close({ force: true })
      await end()
      await rm(directory, { recursive: true })
    },
  }
}

function findOllama(): string | undefined {
  const { LEASEHOLD_OLLAMA: named } = process.env
  // A name that leads nowhere is a mistake, and must not look like a host without Ollama.
  if (named) accessSync(named, constants.X_OK)
  return named || undefined
}
