import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type BrowserContext, chromium, type Page } from 'playwright-core'
import { expect } from 'vitest'
import { parseConfig } from '../../../src/config/load.ts'
import { createGateway } from '../../../src/gateway/server.ts'
import type { Supervisor } from '../../../src/supervisor/interface.ts'
import { createSupervisor } from '../../../src/supervisor/supervisor.ts'
import { findFreePort } from '../../../src/testing/real-host.ts'
import { demoServer } from '../../integration/library.ts'

/** Debian's, or the one that is named. */
export const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium'
/** Why the tests in a browser are left out; `false`: they are not. */
export const hasNoBrowser = !existsSync(CHROMIUM)
if (hasNoBrowser)
  console.warn(`There is no browser at ${CHROMIUM} (see $CHROMIUM): the tests of the page are skipped.`)

/** A folder for pictures of what the tests see, for people who work on the page; absent: none are taken. */
export const pictures = process.env.PAGE_PICTURES

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]
const program = fileURLToPath(new URL('./steered-server.mjs', import.meta.url))

/** A provider whose server is started by a request, and answers at once where `flags` say nothing else. */
export async function createFastProvider(service: object = {}, flags: readonly string[] = []) {
  const port = await findFreePort()
  return {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    localService: {
      command: process.execPath,
      args: [demoServer, '--port', String(port), ...flags],
      healthUrl: `http://127.0.0.1:${port}/health`,
      ...service,
    },
    models: [{ id: 'm' }],
  }
}

/** Settles when what has changed is drawn: the page draws in the next frame. */
export function drawn(page: Page): Promise<unknown> {
  return page.evaluate(
    () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))),
  )
}

/** Where a page shows a service. */
export function toService(url: string, name: string): string {
  return `${url}/#/service/${encodeURIComponent(name)}`
}

/** Settles when the page of a service, or of a machine, shows this state. */
export function inState(page: Page, state: string): Promise<void> {
  return page.locator(`:is(.service, section)[data-state="${state}"]`).waitFor()
}

/** A service whose server a test steers: it loads and answers when told. */
export interface Steered {
  steer(what: string): Promise<void>
}

/** A gateway with services, and a browser that looks at its page. */
export interface Stage extends AsyncDisposable {
  readonly url: string
  /** The one that is there, or was there last. */
  readonly supervisor: Supervisor
  readonly page: Page
  readonly context: BrowserContext
  /** What the page complained about: there must be nothing. */
  readonly complaints: readonly string[]
  readonly steered: Readonly<Record<string, Steered>>
  /** Ends the gateway and everything that it runs. */
  leave(): Promise<void>
  /** Opens another one at the same address. */
  comeBack(): Promise<void>
  /** Asks a service's model, without waiting for the answer. */
  ask(name: string): Promise<Response>
}

export interface StageOptions {
  /** Names of services whose servers are steered, with fields of their `localService`. */
  readonly steered?: Readonly<
    Record<string, { readonly lines?: readonly string[]; readonly service?: object }>
  >
  /** Further providers, whole. */
  readonly providers?: Readonly<Record<string, object>>
  readonly leasehold?: object
  readonly viewport?: { readonly width: number; readonly height: number }
  readonly colorScheme?: 'light' | 'dark'
}

/** Opens a gateway, and a browser with an empty page: nothing has looked at the gateway yet. */
export async function openStage({
  steered = {},
  providers = {},
  leasehold,
  viewport = { width: 1280, height: 1240 },
  colorScheme = 'light',
}: StageOptions): Promise<Stage> {
  const ports = new Map<string, number>()
  for (const name of Object.keys(steered)) ports.set(name, await findFreePort())
  const own = Object.entries(steered).map(([name, { lines = [], service = {} }]) => {
    const port = ports.get(name)
    const localService = {
      command: process.execPath,
      args: [program, String(port), ...lines],
      healthUrl: `http://127.0.0.1:${port}/health`,
      ...service,
    }
    return [name, { baseUrl: `http://127.0.0.1:${port}/v1`, localService, models: [{ id: 'm' }] }]
  })
  const models = { providers: { ...Object.fromEntries(own), ...providers } }
  const profile = await mkdtemp(join(tmpdir(), 'page-browser-'))
  const open = async (port: number) => {
    const config = parseConfig(JSON.stringify({ models, leasehold: { ...leasehold, port } }))
    // Its budgets are its own: tests in other files have some of the same name.
    const supervisor = createSupervisor({ config, stateDir: join(profile, 'leasehold') })
    const gateway = createGateway({ supervisor })
    return { supervisor, gateway, ...(await gateway.listen()) }
  }
  let house = await open(0)
  const { url } = house
  const leave = async () => {
    await house.supervisor.close({ force: true })
    await house.gateway.close()
  }
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    args: FLAGS,
    viewport,
    colorScheme,
    // Nothing moves that does not have to: drawing it takes the processors from what is looked at.
    reducedMotion: 'reduce',
    locale: 'en-GB',
  })
  const page = context.pages()[0] ?? (await context.newPage())
  page.setDefaultTimeout(Number(process.env.PAGE_TIMEOUT_MS ?? 60_000))
  const complaints: string[] = []
  page.on('pageerror', ({ message }) => complaints.push(message))
  page.on('console', (message) => {
    const isExpected = message.text().startsWith('Failed to load resource')
    if (message.type() === 'error' && !isExpected) complaints.push(message.text())
  })
  return {
    url,
    get supervisor() {
      return house.supervisor
    },
    page,
    context,
    complaints,
    steered: Object.fromEntries(
      [...ports].map(([name, port]) => [
        name,
        {
          steer: async (what) => {
            // It may not listen yet; one that is told to exit does not answer.
            const tell = () => fetch(`http://127.0.0.1:${port}/steer?${what}`).catch(() => undefined)
            if (what.startsWith('exit')) await tell()
            else await expect.poll(tell, { timeout: 60_000 }).toMatchObject({ ok: true })
          },
        },
      ]),
    ),
    leave,
    comeBack: async () => {
      house = await open(house.port)
    },
    ask: (name) =>
      fetch(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ model: `${name}/m`, messages: [{ role: 'user', content: '1+1' }] }),
      }),
    [Symbol.asyncDispose]: async () => {
      await context.close()
      await leave()
      await rm(profile, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}
