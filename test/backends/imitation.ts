import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import JSON5 from 'json5'
import type { CompatFlags } from '../../src/compat/flags.ts'
import { parseConfig } from '../../src/config/load.ts'
import { createSupervisor, type Supervisor, type SupervisorEvent } from '../../src/index.ts'
import { createModelServer } from '../../src/testing/model-server/model-server.ts'
import { parseOptions } from '../../src/testing/model-server/option-fields.ts'
import { findFreePort } from '../../src/testing/real-host.ts'

const program = fileURLToPath(new URL('../../dist/src/testing/demo-server.js', import.meta.url))

type EventOf<Type extends SupervisorEvent['type']> = Extract<SupervisorEvent, { type: Type }>

/** One of the files beside this one: its text, its only provider, and the port that it names. */
export async function readBackend(name: string) {
  const text = await readFile(new URL(`${name}.json5`, import.meta.url), 'utf8')
  const { providers } = parseConfig(text)
  const [provider] = providers
  if (provider === undefined) throw new RangeError(`${name}.json5 has no provider.`)
  return { text, provider, port: new URL(provider.baseUrl).port }
}

export interface ImitationOptions {
  /** Name of the file. */
  readonly name: string
  /** Options of the demo server that plays the backend. */
  readonly flags: Readonly<Record<string, unknown>>
  /** A flag that is taken from the entry. */
  readonly lacks?: keyof CompatFlags
}

/** A supervisor with the entry of a backend, its command and its port replaced by those of the demo server. */
export interface Imitation extends AsyncDisposable {
  readonly supervisor: Supervisor
  /** The id, the flags and the arguments that the file has. */
  readonly id: string
  readonly compat: CompatFlags
  readonly args: readonly string[]
  /** Sends an agent's request to the model of the entry, with `more` in it. */
  ask(more?: object): Promise<{ readonly status: number; readonly text: string }>
  /** Every event so far of a type. */
  all<Type extends SupervisorEvent['type']>(type: Type): readonly EventOf<Type>[]
}

/** Starts nothing yet, except a server that is adopted: one whose entry does not say how to start it. */
export async function imitate({ name, flags, lacks }: ImitationOptions): Promise<Imitation> {
  const { text, provider, port } = await readBackend(name)
  const freePort = await findFreePort()
  const document = JSON5.parse(text.replaceAll(`:${port}`, `:${freePort}`))
  const { localService, models } = document.models.providers[name]
  if (lacks !== undefined) delete models[0].compat[lacks]
  if (localService !== undefined) {
    localService.command = process.execPath
    localService.args = [program, '--port', String(freePort), ...toArgs(flags)]
    delete localService.cwd
    // A server that ignores the signal is waited for as long as the entry says, which is not tested here.
    if (flags.ignoreSigterm === true) localService.stopGraceMs = 50
  }
  const adopted =
    localService === undefined ? createModelServer(parseOptions({ ...flags, port: freePort })) : undefined
  await adopted?.listen()

  const config = parseConfig(JSON5.stringify(document), { env: { TABBY_API_KEY: 'key-of-the-server' } })
  const supervisor = createSupervisor({ config })
  const events: SupervisorEvent[] = []
  supervisor.events$.subscribe((event) => events.push(event))
  const { id = '', compat = {} } = provider.models[0] ?? {}
  return {
    supervisor,
    id,
    compat,
    args: provider.localService?.args ?? [],
    ask: async (more) => {
      const response = await supervisor.fetch('http://leasehold/v1/chat/completions', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ model: `${name}/${id}`, ...agentRequest, ...more }),
      })
      return { status: response.status, text: await response.text() }
    },
    all: (type) => events.filter((event): event is EventOf<typeof type> => event.type === type),
    [Symbol.asyncDispose]: async () => {
      await supervisor.close({ force: true })
      await adopted?.close()
    },
  }
}

/** What an agent sends in the middle of its work: everything at once that some server refuses. */
const agentRequest = {
  stream: true,
  stream_options: { include_usage: true },
  store: true,
  reasoning_effort: 'xhigh',
  max_completion_tokens: 256,
  parallel_tool_calls: true,
  tool_choice: 'auto',
  tools: [
    {
      type: 'function',
      function: {
        name: 'read_file',
        description: 'Reads a file.',
        strict: true,
        parameters: {
          type: 'object',
          properties: { path: { type: 'string', pattern: '^/' } },
          required: ['path'],
          additionalProperties: false,
        },
      },
    },
  ],
  messages: [
    { role: 'developer', content: [{ type: 'text', text: 'You are an agent.' }] },
    {
      role: 'user',
      content: [
        { type: 'text', text: 'Look at this.' },
        { type: 'text', text: 'Then say what you see.' },
      ],
    },
    {
      role: 'assistant',
      content: null,
      tool_calls: [
        { id: 'call_1', type: 'function', function: { name: 'read_file', arguments: '{"path":"/a"}' } },
      ],
    },
    { role: 'tool', tool_call_id: 'call_1', content: [{ type: 'text', text: 'What is in the file.' }] },
    { role: 'assistant', content: 'It is a file.' },
    { role: 'user', content: [{ type: 'text', text: 'What is 17 * 3?' }] },
  ],
}

/** Options of the demo server as its arguments: `loadMs: 5` is `--load-ms 5`. */
function toArgs(options: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(options).flatMap(([name, value]) => {
    const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
    if (value === true) return [flag]
    return [flag, typeof value === 'object' ? JSON.stringify(value) : String(value)]
  })
}
