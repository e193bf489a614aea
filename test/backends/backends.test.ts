import JSON5 from 'json5'
import { describe, expect, test } from 'vitest'
import type { CompatFlags } from '../../src/compat/flags.ts'
import { parseConfig } from '../../src/config/load.ts'
import { imitate, readBackend } from './imitation.ts'

/** A real server as the demo server plays it, and what becomes of an agent's request without the right settings. */
interface Backend {
  /** Name of the file. */
  readonly name: string
  /** How it loads, says that it is ready, what it refuses, and how it ends, as flags of the demo server. */
  readonly flags: Readonly<Record<string, unknown>>
  readonly refusals: readonly Refusal[]
  /** How its process ends when it is stopped. @default 0 */
  readonly ends?: number | 'SIGKILL'
}

interface Refusal {
  /** The flag of the entry that the refusal is about: without it the request is refused. */
  readonly lacks?: keyof CompatFlags
  /** What the server would do without one of its arguments, as further flags of the demo server. */
  readonly flags?: Readonly<Record<string, unknown>>
  /** What else the client sends, where only the client can cure it. */
  readonly sends?: object
  /** Name of the advice. `null`: none. */
  readonly advice: string | null
}

const backends: readonly Backend[] = [
  {
    name: 'inferrs',
    flags: {
      loadMs: 100,
      strictContent: true,
      rejectDeveloper: true,
      // Ignored by the real one; refused here, so that it is seen when it is sent.
      rejectFields: { stream_options: refuse(422, 'unknown field `stream_options`') },
    },
    refusals: [
      { lacks: 'requiresStringContent', advice: 'requires-string-content' },
      { lacks: 'supportsUsageInStreaming', advice: 'no-stream-options' },
    ],
  },
  {
    name: 'ds4',
    flags: {
      loadMs: 100,
      bindAfterLoad: true,
      healthPath: '/none',
      exitOnSigtermMs: 200,
      rejectFields: {
        seed: refuse(400, 'invalid JSON request'),
        // Known to the real one; refused here, so that it is seen when it is sent.
        max_completion_tokens: refuse(400, 'unknown field `max_completion_tokens`'),
      },
    },
    refusals: [
      { lacks: 'maxTokensField', advice: 'no-max-completion-tokens' },
      { sends: { seed: null }, advice: 'explicit-null' },
    ],
  },
  {
    name: 'llama-cpp',
    flags: { loadMs: 100, ignoreSigterm: true },
    refusals: [{ flags: { rejectTools: true }, advice: 'tools-need-jinja' }],
    ends: 'SIGKILL',
  },
  {
    name: 'vllm',
    flags: {
      loadMs: 100,
      bindAfterLoad: true,
      forkGrandchild: 'group',
      exitOnSigtermMs: 200,
      rejectFields: { reasoning_effort: refuseEffort(['none', 'low', 'medium', 'high']) },
    },
    refusals: [
      { lacks: 'supportedReasoningEfforts', advice: 'supported-reasoning-efforts' },
      {
        flags: {
          rejectFields: {
            tools: refuse(
              400,
              '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
            ),
          },
        },
        advice: 'tools-need-parser',
      },
    ],
  },
  {
    name: 'sglang',
    flags: {
      loadMs: 100,
      forkGrandchild: 'setsid',
      exitOnSigtermMs: 200,
      rejectFields: { reasoning_effort: refuseEffort(['low', 'medium', 'high']) },
    },
    refusals: [{ lacks: 'supportedReasoningEfforts', advice: 'supported-reasoning-efforts' }],
  },
  {
    name: 'mlx',
    flags: { loadMs: 300, healthWhileLoading: '200' },
    refusals: [
      {
        flags: once(404, { error: "Only 'text' content type is supported." }),
        advice: 'text-parts-only',
      },
    ],
  },
  {
    name: 'ollama',
    flags: {
      healthPath: '/api/version',
      exitOnSigtermMs: 100,
      rejectFields: {
        // Ignored by the real one; refused here, so that it is seen when it is sent.
        max_completion_tokens: refuse(400, 'unknown field `max_completion_tokens`'),
        reasoning_effort: refuse(
          400,
          'invalid reasoning value: "xhigh" (must be "none", "low", "medium", "high", or "max")',
          ['none', 'low', 'medium', 'high', 'max'],
        ),
      },
    },
    refusals: [
      { lacks: 'maxTokensField', advice: 'no-max-completion-tokens' },
      { lacks: 'supportedReasoningEfforts', advice: 'supported-reasoning-efforts' },
    ],
  },
  {
    name: 'lm-studio',
    flags: {
      rejectFields: {
        max_completion_tokens: refuse(400, 'unknown field `max_completion_tokens`'),
        tool_choice: refuse(
          400,
          "Invalid tool_choice type: 'object'. Supported string values: none, auto, required",
          ['none', 'auto', 'required'],
        ),
      },
    },
    refusals: [
      { lacks: 'maxTokensField', advice: 'no-max-completion-tokens' },
      {
        sends: { tool_choice: { type: 'function', function: { name: 'read_file' } } },
        advice: 'tool-choice-as-string',
      },
    ],
  },
  {
    name: 'tgi',
    flags: { loadMs: 100, bindAfterLoad: true, forkGrandchild: 'setsid', exitOnSigtermMs: 200 },
    refusals: [
      { flags: once(429, { error: 'Model is overloaded', error_type: 'overloaded' }), advice: 'server-busy' },
    ],
  },
  {
    name: 'tabbyapi',
    flags: {
      loadMs: 100,
      bindAfterLoad: true,
      healthPath: '/v1/model',
      apiKey: 'key-of-the-server',
      exitOnSigtermMs: 100,
    },
    refusals: [
      { flags: once(422, { detail: 'Chat completion 1 request cancelled by user.' }), advice: null },
    ],
  },
]

describe.each(backends)('$name', ({ name, flags, refusals, ends = 0 }) => {
  test('the entry is complete: it loads without a problem', async () => {
    const { text } = await readBackend(name)
    const config = parseConfig(text, { env: { TABBY_API_KEY: 'key-of-the-server' } })
    expect(config.problems).toEqual([])
    expect(config.providers).toMatchObject([{ id: name }])
  })

  test('the entry names a loopback host, and the default port of the server', async () => {
    const { provider, port } = await readBackend(name)
    const { localService } = provider
    expect(provider.baseUrl).toBe(`http://127.0.0.1:${port}/v1`)
    if (localService === undefined) return
    const said = [...localService.args, ...Object.values(localService.env)].join(' ')
    expect(said).toContain('127.0.0.1')
    expect(said).toContain(port)
    expect(new URL(localService.healthUrl).origin).toBe(new URL(provider.baseUrl).origin)
  })

  test('an agent gets its answer, and nothing is left of a server that was started', async () => {
    await using imitation = await imitate({ name, flags })
    const { status, text } = await imitation.ask()
    expect(toAnswer(text)).toBe('17 * 3 = 51.')
    expect(status).toBe(200)
    await imitation.supervisor.close()
    const isOwned = name !== 'lm-studio'
    const exits = imitation.all('process.exited').map(({ exitCode, signal }) => signal ?? exitCode)
    expect(exits).toEqual(isOwned ? [ends] : [])
    const survivors = imitation.all('process.settled').map(({ receipt }) => receipt.survivors)
    expect(survivors).toEqual(isOwned ? [[]] : [])
  })

  test.each(refusals)(
    'a refusal comes with its cure: $advice',
    async ({ lacks, flags: more, sends, advice }) => {
      await using imitation = await imitate({ name, flags: { ...flags, ...more }, lacks })
      const { status, text } = await imitation.ask(sends)
      const ours = toOurs(text)
      expect(status).toBeGreaterThanOrEqual(400)
      expect(ours.advice).toBe(advice ?? undefined)
      // What a request said beyond the model's flags is told as well.
      const told = imitation.all('request.advised').map((event) => event.advice)
      expect(told.filter((id) => !id.startsWith('drops-'))).toEqual(advice === null ? [] : [advice])
      const { id, compat, args } = imitation
      if (lacks !== undefined)
        expect(JSON5.parse(ours.block ?? '')).toEqual({ id, compat: { [lacks]: compat[lacks] } })
      else if (ours.block !== undefined) expect(args).toEqual(expect.arrayContaining(toFlagNames(ours.block)))
    },
  )
})

function refuse(status: number, message: string, accepts: readonly string[] = []) {
  return { status, message, accepts }
}

/** As pydantic lists what a literal may be. */
function refuseEffort(accepts: readonly string[]) {
  const labels = accepts.map((label) => `'${label}'`)
  const list = `${labels.slice(0, -1).join(', ')} or ${labels.at(-1)}`
  return refuse(400, `[{'loc': ('body', 'reasoning_effort'), 'msg': "Input should be ${list}"}]`, accepts)
}

function once(status: number, body: unknown) {
  return { statusOnce: { status, body } }
}

/** What the client reads, from the events of a stream. */
function toAnswer(stream: string): string {
  const events = stream.match(/(?<=^data: )\{.*/gm) ?? []
  return events.map((event) => JSON.parse(event).choices[0]?.delta.content ?? '').join('')
}

/** What we added to an error. */
function toOurs(error: string): { readonly advice?: string; readonly block?: string } {
  return JSON.parse(error).error?.leasehold ?? {}
}

/** The names of the arguments that a block has. */
function toFlagNames(block: string): string[] {
  const args: string[] = JSON5.parse(`{${block}}`).localService.args
  return args.filter((arg) => arg.startsWith('--'))
}
