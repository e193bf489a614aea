import { text as readAll } from 'node:stream/consumers'
import { resolveModel } from '../config/model-ref.ts'
import { BadRequestError, ConfigError, LeaseholdError } from '../errors.ts'
import { type ChatAnswer, readChatAnswer, readImages } from './chat-answer.ts'
import { loadConfiguration, tellDemo } from './configuration.ts'
import { type Api, type Dialect, dialects } from './dialects.ts'
import { type Door, type DoorOptions, openDoor } from './door.ts'
import { AnswerError, exitCodes, formatError, listErrorFacts, UsageError } from './exit-codes.ts'
import { readAnswer } from './gateway-client.ts'
import { createProgress } from './progress.ts'
import { createRequestRecord, type FailedAttempt, parseAttempt } from './request-record.ts'
import { escapeText, type Terminal } from './terminal.ts'

export interface InferOptions extends DoorOptions {
  readonly config?: string
  /** `-`: standard input. */
  readonly prompt: string
  readonly model?: string
  readonly file: readonly string[]
  readonly thinking?: string
  readonly system?: string
  readonly maxTokens?: number
  readonly temperature?: number
  /** From the start of the command to the end of the answer, a cold start included, in seconds. */
  readonly timeout?: number
  readonly json?: boolean
}

/** The envelope of a successful answer, as `--json` prints it. */
interface Success {
  readonly ok: true
  readonly capability: 'model.run'
  readonly transport: 'gateway' | 'local'
  readonly provider: string
  readonly model: string
  readonly attempts: readonly FailedAttempt[]
  readonly outputs: readonly { readonly text: string; readonly mediaUrl: null }[]
  readonly usage: object | null
  readonly timing: { readonly coldStartMs: number; readonly firstByteMs: number; readonly totalMs: number }
  readonly finishReason: string | null
}

/** A failed run, with the candidates that were tried before it failed. */
class RunError extends Error {
  override readonly name = 'RunError'
  readonly attempts: readonly FailedAttempt[]

  constructor(attempts: readonly FailedAttempt[], cause: unknown) {
    super('The run failed.', { cause })
    this.attempts = attempts
  }
}

/** `leasehold infer model run`: asks a model once and prints the answer. */
export async function runModel(options: InferOptions, terminal: Terminal): Promise<number> {
  const isLive = terminal.isOutInteractive && options.json !== true
  try {
    const outcome = await ask(options, terminal, isLive)
    if (options.json) terminal.json(outcome)
    else if (isLive) terminal.line()
    else terminal.line(outcome.outputs[0]?.text)
    return exitCodes.ok
  } catch (caught) {
    const { error, attempts } =
      caught instanceof RunError
        ? { error: caught.cause, attempts: caught.attempts }
        : { error: caught, attempts: [] }
    if (options.json) terminal.json({ ok: false, error: listErrorFacts(error), attempts })
    else terminal.note(formatError(error, { withStack: terminal.env.LEASEHOLD_DEBUG === '1' }))
    return error instanceof UsageError || error instanceof ConfigError ? exitCodes.usage : exitCodes.failed
  }
}

async function ask(options: InferOptions, terminal: Terminal, isLive: boolean): Promise<Success> {
  const startedAtMs = performance.now()
  const prompt = options.prompt === '-' ? await readAll(process.stdin) : options.prompt
  if (prompt.trim() === '') throw new BadRequestError('The prompt is blank.', { param: 'prompt' })
  const config = await loadConfiguration(options.config, terminal.env)
  const images = await readImages(options.file)
  const door = await openDoor(config, options, terminal)
  if (door.transport === 'local') tellDemo(options.config, terminal)
  // A gateway may have another configuration: only a supervisor in this process knows its models here.
  const known =
    door.transport === 'local' ? attemptToResolve(() => resolveModel(config, options.model).ref) : undefined
  const record = createRequestRecord(door.events$)
  const progress = createProgress(door.events$, terminal)
  let requestId: string | undefined
  let firstByteMs = 0
  try {
    const deadlines = options.timeout === undefined ? [] : [AbortSignal.timeout(options.timeout * 1_000)]
    const signal = AbortSignal.any([door.signal, ...deadlines])
    const named = options.model || 'default'
    const { dialect, modelMaxTokens } = await findModel(door, named, signal)
    const { system, maxTokens, temperature } = options
    const thinking = options.thinking === 'off' ? 'none' : options.thinking
    const limits = { maxTokens, modelMaxTokens }
    const body = JSON.stringify(
      dialect.toBody({ model: named, prompt, system, images, thinking, temperature, ...limits }),
    )
    const response = await door.send({ path: dialect.path, headers: dialect.headers, body, signal })
    requestId = response.headers.get('x-leasehold-request-id') ?? undefined
    const onText = (text: string) => {
      firstByteMs ||= performance.now() - startedAtMs
      if (isLive) progress.aside(() => terminal.out(escapeText(text)))
    }
    const answer: ChatAnswer = await readChatAnswer(response, onText, dialect)
    const { ref = options.model ?? '', attempts, coldStartMs } = await record.read(requestId)
    const { provider, model } = parseAttempt(ref, '')
    return {
      ok: true,
      capability: 'model.run',
      transport: door.transport,
      provider,
      model,
      attempts,
      outputs: [{ text: answer.text, mediaUrl: null }],
      usage: answer.usage,
      timing: {
        coldStartMs,
        firstByteMs: Math.round(firstByteMs),
        totalMs: Math.round(performance.now() - startedAtMs),
      },
      finishReason: answer.finishReason,
    }
  } catch (error) {
    const { ref = known, attempts } = await record.read(requestId)
    const cause = explain(error, options.timeout)
    const isListed = attempts.length > 0 || ref === undefined
    throw new RunError(isListed ? attempts : [parseAttempt(ref, listErrorFacts(cause).code)], cause)
  } finally {
    record.close()
    progress.close()
    await door.close()
  }
}

/**
 * The dialect of a model's server, as configured. An unknown api is asked as a chat: the answer then shows the error.
 */
export async function findModel(
  door: Door,
  ref: string,
  signal: AbortSignal,
): Promise<{ readonly dialect: Dialect; readonly modelMaxTokens?: number }> {
  const response = await door.send({ path: `/v1/models/${encodeURIComponent(ref)}`, signal })
  const text = await response.text()
  const listing: { readonly api?: Api; readonly max_tokens?: number } =
    response.status === 200 ? readAnswer('/v1/models', () => Object(JSON.parse(text))) : {}
  const dialect = dialects[listing.api ?? 'openai-completions'] ?? dialects['openai-completions']
  return {
    dialect,
    ...(listing.max_tokens === undefined ? {} : { modelMaxTokens: listing.max_tokens }),
  }
}

function attemptToResolve(resolve: () => string): string | undefined {
  try {
    return resolve()
  } catch {
    return undefined
  }
}

/** Replaces a transport's message by a plain one. */
export function explain(error: unknown, timeoutSeconds: number | undefined): unknown {
  if (error instanceof LeaseholdError || error instanceof AnswerError || error instanceof UsageError)
    return error
  if (!(error instanceof Error)) return error
  if (error.name === 'TimeoutError')
    return new AnswerError(`There was no complete answer within ${timeoutSeconds} s (--timeout).`, {
      status: 504,
      code: 'LEASEHOLD_ABORTED',
      type: 'timeout_error',
    })
  return new AnswerError(`The connection broke before the answer was complete: ${error.message}`, {
    status: 502,
    code: 'LEASEHOLD_STREAM_TRUNCATED',
  })
}
