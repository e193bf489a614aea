// @module-tag waits

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'vitest'
import { createSupervisor, loadConfig } from '../../src/index.ts'
import { hasProcfs } from '../../src/process/tree.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { listOf } from '../process/world.ts'
import { catchServiceError, listen } from './library.ts'

const host = fileURLToPath(new URL('../fixtures/host.mjs', import.meta.url))
const program = fileURLToPath(new URL('../fixtures/model-daemon.mjs', import.meta.url))

type Kind = 'ollama' | 'lmstudio' | 'router'

const ENGINES = { ollama: 'ollama', lmstudio: 'lmstudio', router: 'llama.cpp' } as const

interface DaemonOptions {
  readonly kind?: Kind
  readonly flags?: readonly string[]
  /** Fields of each `localService`, by the id of its provider, which is its model. */
  readonly services?: Readonly<Record<string, object>>
  readonly provider?: object
  readonly leasehold?: object
  /** Whether the daemon runs from the beginning. */
  readonly isUp?: boolean
}

/** A daemon with some models, and a supervisor whose services are models of it. */
async function openDaemon({
  kind = 'ollama',
  flags = [],
  services = { a: {} },
  provider = {},
  leasehold = {},
  isUp = true,
}: DaemonOptions = {}) {
  const port = await findFreePort()
  const origin = `http://127.0.0.1:${port}`
  const stateDir = await mkdtemp(join(tmpdir(), 'leasehold-daemon-'))
  const names = { ollama: ':latest', lmstudio: '', router: '' }
  const models = ['a', 'b', 'demo'].map((id) => id + names[kind])
  let daemon: ChildProcess | undefined
  const start = async () => {
    const args = ['--port', String(port), '--kind', kind, '--models', models.join(), ...flags]
    const child = spawn(process.execPath, [program, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
    daemon = child
    await once(child.stdout, 'data')
  }
  const end = async () => {
    if (daemon === undefined || daemon.exitCode !== null || daemon.signalCode !== null) return
    daemon.kill('SIGKILL')
    await once(daemon, 'exit')
  }
  if (isUp) await start()
  const file = join(stateDir, 'leasehold.json5')
  const configure = async (ids: readonly string[]) => {
    const providers = ids.map((id) => [
      id,
      {
        baseUrl: `${origin}/v1`,
        ...provider,
        localService: { engine: ENGINES[kind], model: id + names[kind], daemon: {}, ...services[id] },
      },
    ])
    const text = JSON.stringify({
      models: { mode: 'replace', providers: Object.fromEntries(providers) },
      leasehold: { backoffMs: 10, heartbeatMs: 100, ...leasehold },
    })
    await writeFile(file, text)
    return loadConfig(file)
  }
  const config = await configure(Object.keys(services))
  const open = () => {
    const supervisor = createSupervisor({ config, stateDir })
    return { supervisor, hearing: listen(supervisor) }
  }
  const first = open()
  return {
    ...first,
    open,
    file,
    configure,
    stateDir,
    origin,
    start,
    end,
    ask: async (id: string) => {
      const answer = await first.supervisor.fetch('http://leasehold/v1/chat/completions', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ model: `${id}/${id}`, messages: [{ role: 'user', content: 'hi' }] }),
      })
      return { status: answer.status, text: await answer.text() }
    },
    seen: async () =>
      (await (await fetch(`${origin}/__seen`)).json()) as {
        readonly seen: readonly string[]
        readonly most: number
        readonly loaded: Readonly<Record<string, string>>
      },
    control: (body: object) => fetch(`${origin}/__control`, { method: 'POST', body: JSON.stringify(body) }),
    [Symbol.asyncDispose]: async () => {
      await first.supervisor.close({ force: true })
      await end()
      await rm(stateDir, { recursive: true })
    },
  }
}

test.for(['ollama', 'lmstudio', 'router'] as const)(
  '%s: a model of a daemon is loaded by a request, and unloaded by a stop (fault E-21)',
  { timeout: 60_000 },
  async (kind, { expect }) => {
    await using daemon = await openDaemon({ kind, flags: ['--load-ms', '400', '--unload-ms', '300'] })
    expect(await daemon.ask('a')).toMatchObject({ status: 200, text: expect.stringContaining('I am a') })
    const { seen, loaded } = await daemon.seen()
    // It was not ready before it was loaded, whatever the daemon lists.
    expect(seen.filter((line) => line.startsWith('request to a model'))).toEqual([])
    expect(Object.values(loaded)).toEqual(['loaded'])
    expect(await daemon.supervisor.stop('a')).toMatchObject({
      state: 'down.cold',
      receipt: { survivors: [], outside: { exitCodes: [0], status: 'gone' } },
    })
    expect((await daemon.seen()).loaded).toEqual({})
    expect(daemon.hearing.all('stop.incomplete')).toEqual([])
  },
)

test('an idle model is unloaded, and the daemon stays', { timeout: 60_000 }, async ({ expect }) => {
  await using daemon = await openDaemon({ services: { a: { idleStopMs: 50 } } })
  await daemon.ask('a')
  await daemon.hearing.until('process.settled')
  expect((await daemon.seen()).loaded).toEqual({})
})

test('two models of one daemon have claims of their own, and both are up', { timeout: 60_000 }, async ({
  expect,
}) => {
  await using daemon = await openDaemon({ services: { a: {}, b: {} } })
  const answers = await Promise.all([daemon.ask('a'), daemon.ask('b')])
  expect(answers.map(({ status }) => status)).toEqual([200, 200])
  expect(Object.keys((await daemon.seen()).loaded).toSorted()).toEqual(['a:latest', 'b:latest'])
})

test('of two models that do not fit together one is unloaded before the other is loaded', {
  timeout: 60_000,
}, async ({ expect }) => {
  const service = { needs: { vramMiB: 20 }, minResidencyMs: 0 }
  await using daemon = await openDaemon({
    services: { a: service, b: service },
    leasehold: { budgets: { vramMiB: 24 } },
    flags: ['--unload-ms', '300'],
  })
  for (const id of ['a', 'b', 'a'])
    expect(await daemon.ask(id)).toMatchObject({ status: 200, text: expect.stringContaining(`I am ${id}`) })
  expect((await daemon.seen()).most).toBe(1)
  const evictions = daemon.hearing.all('scheduler.decided').filter(({ choice }) => choice.type === 'evict')
  expect(new Set(evictions.map(({ service }) => service))).toEqual(new Set(['a', 'b']))
})

test('a model without needs reserves the whole budget: its own process says nothing of its memory', {
  timeout: 60_000,
}, async ({ expect }) => {
  await using daemon = await openDaemon({
    services: { a: {}, b: {} },
    leasehold: { budgets: { ramMiB: 4_000 } },
  })
  for (const id of ['a', 'b', 'a']) await daemon.ask(id)
  expect((await daemon.seen()).most).toBe(1)
})

test('a daemon that was never started is an error that says how to start it, and nothing is stopped for it (fault E-22)', {
  timeout: 60_000,
}, async ({ expect }) => {
  await using daemon = await openDaemon({ isUp: false })
  const error = await catchServiceError(daemon, 'a/a')
  expect(error.code).toBe('LEASEHOLD_NOT_REACHABLE')
  expect(error.message).toContain(
    `its daemon does not listen at ${daemon.origin}: start it, for instance with "ollama serve"`,
  )
  expect(daemon.hearing.all('process.spawned')).toEqual([])
  await daemon.start()
  await daemon.hearing.until('service.state', ({ to }) => to === 'down.cold')
  expect(await daemon.ask('a')).toMatchObject({ status: 200 })
})

test('a daemon whose host cannot be reached is an error with the cause', { timeout: 60_000 }, async ({
  expect,
}) => {
  // No connection is made to a multicast address.
  const provider = { baseUrl: 'http://224.0.0.1:9/v1' }
  await using daemon = await openDaemon({ isUp: false, provider })
  const error = await catchServiceError(daemon, 'a/a')
  expect(error.code).toBe('LEASEHOLD_NOT_REACHABLE')
  expect(error.message).toMatch(/its daemon at http:\/\/224\.0\.0\.1:9 cannot be reached: E[A-Z]+/)
})

test.for(['A', 'library/A:latest'])(
  '%s is the model that Ollama lists as a:latest',
  { timeout: 60_000 },
  async (model, { expect }) => {
    await using daemon = await openDaemon({ services: { a: { model } } })
    expect(await daemon.ask('a')).toMatchObject({ status: 200 })
    expect(await daemon.supervisor.stop('a')).toMatchObject({ receipt: { outside: { status: 'gone' } } })
    expect((await daemon.seen()).loaded).toEqual({})
  },
)

test('a model of Ollama that only makes embeddings is loaded and unloaded as any other', {
  timeout: 60_000,
}, async ({ expect }) => {
  await using daemon = await openDaemon({ flags: ['--embedders', 'a:latest'] })
  await daemon.supervisor.start('a')
  expect((await daemon.seen()).loaded).toEqual({ 'a:latest': 'loaded' })
  expect(await daemon.supervisor.stop('a')).toMatchObject({ receipt: { outside: { status: 'gone' } } })
  expect((await daemon.seen()).loaded).toEqual({})
})

test('a model that Ollama lists under another name of the same weights is a failed start at once', {
  timeout: 60_000,
}, async ({ expect }) => {
  await using daemon = await openDaemon({
    services: { a: {}, b: {} },
    flags: ['--twins', 'a:latest,b:latest'],
  })
  await daemon.ask('a')
  const error = await catchServiceError(daemon, 'b/b')
  expect(error.message).toContain('its daemon does not list "b:latest" as loaded')
})

test('a model that the daemon does not know is a failed start with the words of the daemon', {
  timeout: 60_000,
}, async ({ expect }) => {
  await using daemon = await openDaemon({ services: { a: { model: 'nosuch:8b' } } })
  const error = await catchServiceError(daemon, 'a/a')
  expect(error.code).toBe('LEASEHOLD_EXITED_BEFORE_READY')
  expect(error.message).toContain(
    'POST /api/embed answered 404: model "nosuch:8b" not found, try pulling it first',
  )
})

test('a load that fails is a failed start, although its model is listed a moment longer', {
  timeout: 60_000,
}, async ({ expect }) => {
  await using daemon = await openDaemon({ flags: ['--unload-ms', '1500'] })
  await daemon.control({ full: true })
  const error = await catchServiceError(daemon, 'a/a')
  expect(error.code).toBe('LEASEHOLD_EXITED_BEFORE_READY')
  expect(error.message).toContain('answered 500: model requires more system memory than is available')
  expect(daemon.hearing.all('process.detached')).toEqual([])
})

test('a load that fails after the router has answered it is a failed start at once, and not one of the next load', {
  timeout: 60_000,
}, async ({ expect }) => {
  await using daemon = await openDaemon({ kind: 'router' })
  await daemon.control({ full: true })
  const error = await catchServiceError(daemon, 'a/a')
  expect(error.code).toBe('LEASEHOLD_BACKEND_FAILED')
  expect(error.message).toContain('its daemon says that its load has failed')
  await daemon.control({ full: false })
  expect(await daemon.ask('a')).toMatchObject({ status: 200, text: expect.stringContaining('I am a') })
})

test('a model that the daemon unloads by itself is loaded again by the next request, and that is no failure (fault E-23)', {
  timeout: 60_000,
}, async ({ expect }) => {
  await using daemon = await openDaemon()
  await daemon.ask('a')
  await daemon.hearing.until('process.detached')
  await daemon.control({ drop: 'a:latest' })
  await daemon.hearing.until('process.settled')
  expect(daemon.supervisor.service('a')).toMatchObject({
    state: 'down.cold',
    failures: 0,
    whyText: 'its daemon has unloaded the model by itself, or has ended',
  })
  expect(await daemon.ask('a')).toMatchObject({ status: 200 })
  expect((await daemon.seen()).seen.filter((line) => line.startsWith('request to a model'))).toEqual([])
})

test('leases end when the daemon dies, and the next request says that it does not listen (fault E-23)', {
  timeout: 60_000,
}, async ({ expect }) => {
  await using daemon = await openDaemon()
  const lease = await daemon.supervisor.acquire('a/a')
  await daemon.hearing.until('process.detached')
  await daemon.end()
  const { failure } = await daemon.hearing.until('leases.revoked')
  expect(failure.message).toContain('its daemon has unloaded the model, or has ended')
  expect(lease.signal.aborted).toBe(true)
  await daemon.hearing.until('service.state', ({ to }) => to === 'down.cold')
  const error = await catchServiceError(daemon, 'a/a')
  expect(error.message).toContain('its daemon does not listen')
  expect(daemon.hearing.all('stop.incomplete')).toEqual([])
})

test('a model that another program has loaded is used and never unloaded (fault E-25)', {
  timeout: 60_000,
}, async ({ expect }) => {
  await using daemon = await openDaemon()
  await fetch(`${daemon.origin}/api/generate`, {
    method: 'POST',
    body: JSON.stringify({ model: 'a:latest' }),
  })
  await daemon.ask('a')
  await daemon.supervisor.close()
  const { seen, loaded } = await daemon.seen()
  expect(loaded).toEqual({ 'a:latest': 'loaded' })
  expect(seen.filter((line) => line.includes('keep_alive'))).toEqual([])
})

test('a model that stays loaded after its unload keeps its room, and is unloaded by a later try (fault E-24)', {
  timeout: 90_000,
}, async ({ expect }) => {
  const service = { needs: { vramMiB: 20 }, minResidencyMs: 0 }
  await using daemon = await openDaemon({
    services: { a: service, b: service },
    leasehold: { budgets: { vramMiB: 24 } },
  })
  await daemon.ask('a')
  await daemon.control({ stuck: true })
  const answer = daemon.ask('b')
  const { failure } = await daemon.hearing.until('stop.incomplete')
  expect(failure.code).toBe('LEASEHOLD_STOP_TIMEOUT')
  expect((await daemon.seen()).loaded).toEqual({ 'a:latest': 'loaded' })
  await daemon.control({ stuck: false })
  expect(await answer).toMatchObject({ status: 200 })
  expect((await daemon.seen()).most).toBe(1)
})

test('a model whose service was removed keeps its room until it is unloaded', { timeout: 90_000 }, async ({
  expect,
}) => {
  const service = { needs: { vramMiB: 20 }, minResidencyMs: 0 }
  await using daemon = await openDaemon({
    services: { a: service, b: service },
    leasehold: { budgets: { vramMiB: 24 } },
  })
  await daemon.ask('a')
  await daemon.control({ stuck: true })
  await daemon.supervisor.replaceConfig(await daemon.configure(['b']))
  await daemon.hearing.until('service.retired')
  const answer = daemon.ask('b')
  await daemon.control({ stuck: false })
  expect(await answer).toMatchObject({ status: 200 })
  expect((await daemon.seen()).most).toBe(1)
})

test('a load that goes on without its client is waited for by a stop, and then unloaded', {
  timeout: 90_000,
}, async ({ expect }) => {
  await using daemon = await openDaemon({ kind: 'lmstudio' })
  await daemon.control({ held: true })
  const answer = daemon.ask('a').catch(() => undefined)
  await expect.poll(async () => (await daemon.seen()).loaded, { timeout: 30_000 }).toEqual({ a: 'loading' })
  const stop = daemon.supervisor.stop('a')
  const isUnloadAsked = async () => (await daemon.seen()).seen.some((line) => line.includes('/unload'))
  await expect.poll(isUnloadAsked, { timeout: 30_000 }).toBe(true)
  await daemon.control({ held: false })
  expect(await stop).toMatchObject({ receipt: { outside: { status: 'gone' } } })
  expect((await daemon.seen()).loaded).toEqual({})
  await answer
})

test('a load that outlasts its client keeps its room until its model has come and was unloaded', {
  timeout: 90_000,
}, async ({ expect }) => {
  const service = { needs: { vramMiB: 20 }, minResidencyMs: 0, stopGraceMs: 1 }
  await using daemon = await openDaemon({
    kind: 'lmstudio',
    services: { a: service, b: service },
    leasehold: { budgets: { vramMiB: 24 } },
  })
  await daemon.control({ held: true })
  const first = daemon.ask('a').catch(() => undefined)
  await expect.poll(async () => (await daemon.seen()).loaded, { timeout: 30_000 }).toEqual({ a: 'loading' })
  void daemon.supervisor.stop('a').catch(() => undefined)
  const { failure } = await daemon.hearing.until('stop.incomplete')
  expect(failure.message).toContain('may go on with it')
  const second = daemon.ask('b')
  await daemon.control({ held: false })
  expect(await second).toMatchObject({ status: 200 })
  expect((await daemon.seen()).most).toBe(1)
  await first
})

test('the key of the provider goes to the daemon, and stands in no argument', { timeout: 60_000 }, async ({
  expect,
}) => {
  const key = 'daemon-key-0123456789'
  await using daemon = await openDaemon({ flags: ['--key', key], provider: { apiKey: key } })
  expect(await daemon.ask('a')).toMatchObject({ status: 200 })
  expect(await daemon.supervisor.stop('a')).toMatchObject({ receipt: { outside: { status: 'gone' } } })
  expect(JSON.stringify(daemon.hearing.events)).not.toContain(key)
})

test('a daemon that wants another key is an error that says so', { timeout: 60_000 }, async ({ expect }) => {
  await using daemon = await openDaemon({ flags: ['--key', 'other-key-0123456789'] })
  const error = await catchServiceError(daemon, 'a/a')
  expect(error.message).toContain('its daemon answers 401 to /api/ps: set the key that it expects as apiKey')
})

test.runIf(hasProcfs)(
  'a model is unloaded by the watchdog when its supervisor is killed (fault E-26)',
  {
    timeout: 60_000,
  },
  async ({ expect }) => {
    await using daemon = await openDaemon({ services: { demo: {} } })
    const embedder = spawn(process.execPath, [host, daemon.file, daemon.stateDir], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(embedder.stdout, 'data')
    expect((await daemon.seen()).loaded).toEqual({ 'demo:latest': 'loaded' })
    embedder.kill('SIGKILL')
    await expect.poll(async () => (await daemon.seen()).loaded, { timeout: 30_000 }).toEqual({})
  },
)

test.runIf(hasProcfs).for([
  ['with the same configuration', {}],
  [
    'with another load',
    { daemon: { load: [{ path: '/api/generate', body: { model: 'demo:latest', keep_alive: -1 } }] } },
  ],
] as const)(
  'a model is unloaded by the next supervisor %s when the watchdog is killed, too (fault E-26)',
  {
    timeout: 60_000,
  },
  async ([, change], { expect }) => {
    const key = 'daemon-key-0123456789'
    const services: Record<string, object> = { demo: {} }
    await using daemon = await openDaemon({
      services,
      flags: ['--key', key],
      provider: { apiKey: key },
    })
    const embedder = spawn(process.execPath, [host, daemon.file, daemon.stateDir], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(embedder.stdout, 'data')
    const owners = join(daemon.stateDir, 'owners')
    const [name = ''] = readdirSync(owners).filter((one) => one.endsWith('.json'))
    const record = readFileSync(join(owners, name), 'utf8')
    expect(record).not.toContain(key)
    // Stopped first, so that it cannot replace its watchdog.
    embedder.kill('SIGSTOP')
    const { owner } = JSON.parse(JSON.parse(record).body)
    for (const pid of listOf('cmdline', owner)) if (pid !== embedder.pid) process.kill(pid, 'SIGKILL')
    embedder.kill('SIGKILL')
    await once(embedder, 'exit')
    const headers = { authorization: `Bearer ${key}` }
    const look = async () => (await fetch(`${daemon.origin}/api/ps`, { headers })).json()
    expect(await look()).toMatchObject({ models: [{ name: 'demo:latest' }] })
    services.demo = change
    await using supervisor = createSupervisor({
      config: await daemon.configure(['demo']),
      stateDir: daemon.stateDir,
    })
    const hearing = listen(supervisor)
    // The start waits for the reaping, and is then a load of its own.
    await supervisor.start('demo')
    const [reaped] = hearing.all('orphans.reaped')
    expect(reaped?.servers).toEqual([expect.stringContaining('leasehold:requests unload')])
    expect(supervisor.service('demo')).toMatchObject({ ownership: 'owned' })
    await supervisor.close()
    expect(await look()).toEqual({ models: [] })
  },
)
