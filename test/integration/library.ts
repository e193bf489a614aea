import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import OpenAI from 'openai'
import { filter, firstValueFrom, type Observable, ReplaySubject } from 'rxjs'
import {
  type Config,
  createSupervisor,
  loadConfig,
  ServiceError,
  type Supervisor,
  type SupervisorEvent,
  type SupervisorOptions,
} from '../../src/index.ts'
import { findFreePort } from '../../src/testing/real-host.ts'

/** The demo server as a program. */
export const demoServer = fileURLToPath(new URL('../../dist/src/testing/demo-server.js', import.meta.url))

type EventOf<Type extends SupervisorEvent['type']> = Extract<SupervisorEvent, { type: Type }>

export interface LibraryOptions {
  /** Flags of the demo server. */
  readonly flags?: readonly string[]
  /** Fields of `localService` besides its command and arguments. */
  readonly service?: Readonly<Record<string, unknown>>
  /** Fields of the providers besides. */
  readonly provider?: Readonly<Record<string, unknown>>
  /** The `leasehold` section. */
  readonly leasehold?: Readonly<Record<string, unknown>>
  /** Ids of the providers; all of them name the same service. @default ['demo'] */
  readonly providers?: readonly string[]
  /** Further providers, as they are in a file. */
  readonly others?: Readonly<Record<string, object>>
  readonly supervisor?: Omit<SupervisorOptions, 'config'>
}

/** What a supervisor has said since it was made. */
export interface Hearing {
  readonly events: readonly SupervisorEvent[]
  /** Every event so far of a type. */
  all<Type extends SupervisorEvent['type']>(type: Type): readonly EventOf<Type>[]
  /** The first event of a type that fits, past or to come. */
  until<Type extends SupervisorEvent['type']>(
    type: Type,
    fits?: (event: EventOf<Type>) => boolean,
  ): Promise<EventOf<Type>>
  /** The first one that fits from now on. */
  next<Type extends SupervisorEvent['type']>(
    type: Type,
    fits?: (event: EventOf<Type>) => boolean,
  ): Promise<EventOf<Type>>
}

/** A supervisor as an embedder has it, with a demo server to run, and everything it said. */
export interface Library extends Hearing, AsyncDisposable {
  readonly supervisor: Supervisor
  readonly openai: OpenAI
  readonly port: number
  /** Settles when a service was in a state, or is; `down` stands for every state in it. */
  untilState(state: string): Promise<unknown>
  /** What the running demo server has seen: requests by path, and its pid. */
  seen(): Promise<{ readonly pid: number; readonly counts: Readonly<Record<string, number>> }>
}

/** Creates a supervisor from a configuration file, for a demo server on a free port. */
export async function createLibrary(options: LibraryOptions = {}): Promise<Library> {
  const port = await findFreePort()
  const config = await writeAndLoad(toText(port, options))
  const supervisor = createSupervisor({ config, ...options.supervisor })
  const hearing = listen(supervisor)

  return {
    supervisor,
    openai: new OpenAI({
      baseURL: 'http://leasehold/v1',
      apiKey: 'unused',
      fetch: supervisor.fetch,
      maxRetries: 0,
    }),
    port,
    ...hearing,
    untilState: (state) =>
      hearing.until('service.state', ({ to }) => to === state || to.startsWith(`${state}.`)),
    seen: async () => (await fetch(`http://127.0.0.1:${port}/__control`)).json(),
    [Symbol.asyncDispose]: () => supervisor.close({ force: true }),
  }
}

/** A library whose program is any program, on a port of its choice. */
export async function createLibraryOf(
  command: string,
  toArgs: (port: number) => readonly string[],
  options: LibraryOptions = {},
): Promise<Library> {
  const port = await findFreePort()
  const baseUrl = `http://127.0.0.1:${port}/v1`
  const library = await createLibrary({
    ...options,
    provider: { baseUrl },
    service: { command, args: toArgs(port), healthUrl: `${baseUrl}/models`, ...options.service },
  })
  return { ...library, port }
}

/** Settles when the wait after a failure is over, so that the next request causes a start. */
export async function afterBackoff({ supervisor }: Pick<Library, 'supervisor'>): Promise<void> {
  while (supervisor.service('demo').state === 'down.backoff')
    await new Promise((resolve) => setTimeout(resolve, 1))
}

/** Keeps everything that a supervisor says from now on. */
export function listen({ events$ }: Supervisor): Hearing {
  const events: SupervisorEvent[] = []
  const told = new ReplaySubject<SupervisorEvent>()
  events$.subscribe(told)
  told.subscribe((event) => events.push(event))
  const find = <Type extends SupervisorEvent['type']>(
    from: Observable<SupervisorEvent>,
    type: Type,
    fits: (event: EventOf<Type>) => boolean = () => true,
  ) =>
    firstValueFrom(
      from.pipe(
        filter((event): event is EventOf<Type> => event.type === type && fits(event as EventOf<Type>)),
      ),
    )
  return {
    events,
    all: (type) => events.filter((event): event is EventOf<typeof type> => event.type === type),
    until: (type, fits) => find(told, type, fits),
    next: (type, fits) => find(events$, type, fits),
  }
}

/** The text of a configuration file. Back-off is short, so that a failure does not hold up the next start. */
export function toText(
  port: number,
  {
    flags = [],
    service = {},
    provider = {},
    leasehold = {},
    providers = ['demo'],
    others,
  }: LibraryOptions = {},
): string {
  const entry = {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    models: [{ id: 'demo' }],
    localService: {
      command: process.execPath,
      args: [demoServer, '--port', String(port), '--control', ...flags],
      healthUrl: `http://127.0.0.1:${port}/health`,
      ...service,
    },
    ...provider,
  }
  return JSON.stringify({
    models: {
      mode: 'replace',
      providers: { ...Object.fromEntries(providers.map((id) => [id, entry])), ...others },
    },
    leasehold: { backoffMs: 10, ...leasehold },
  })
}

/** Loads a text as an embedder loads a file; the file is gone afterwards. */
export async function writeAndLoad(text: string): Promise<Config> {
  const directory = await mkdtemp(join(tmpdir(), 'leasehold-library-'))
  try {
    const file = join(directory, 'leasehold.json5')
    await writeFile(file, text)
    return await loadConfig(file)
  } finally {
    await rm(directory, { recursive: true })
  }
}

/** The messages of a chat with one question. */
export function ask(question: string): OpenAI.ChatCompletionMessageParam[] {
  return [{ role: 'user', content: question }]
}

/** Why a service cannot be had. Throws when it can, and whatever is not a service's error. */
export async function catchServiceError(
  { supervisor }: Pick<Library, 'supervisor'>,
  ref = 'demo/demo',
): Promise<ServiceError> {
  const error: unknown = await supervisor.acquire(ref).then(
    () => new Error('It was granted.'),
    (reason) => reason,
  )
  if (!(error instanceof ServiceError)) throw error
  return error
}

/** A question whose answer takes its time: it has a few hundred tokens. */
export const longQuestion = 'count to 200'

/** Whether a process runs, asked of the kernel. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
