import { createInterface } from 'node:readline'
import { readChatAnswer } from './chat-answer.ts'
import { loadConfiguration, tellDemo } from './configuration.ts'
import { type Door, type DoorOptions, openDoor } from './door.ts'
import { exitCodes, formatError, UsageError } from './exit-codes.ts'
import { explain, findModel } from './infer.ts'
import { createProgress, type Progress } from './progress.ts'
import { escapeText, type Terminal } from './terminal.ts'

export interface ChatOptions extends DoorOptions {
  readonly config?: string
  readonly system?: string
  readonly thinking?: string
  readonly maxTokens?: number
  readonly temperature?: number
}

/** One part of a conversation. */
interface Said {
  readonly role: 'user' | 'assistant'
  readonly text: string
}

/** What ends an answer before it is complete. */
const INTERRUPTED = new Error('interrupted')

/**
 * `leasehold chat [REF]`: a conversation. Each line of standard input is a question. Ctrl-C ends an answer, or at the
 * prompt the conversation; so does the end of the input. A line that is one `/word` is a command and is not sent.
 */
export async function chat(
  ref: string | undefined,
  options: ChatOptions,
  terminal: Terminal,
  input: NodeJS.ReadStream = process.stdin,
): Promise<number> {
  const config = await loadConfiguration(options.config, terminal.env)
  const door = await openDoor(config, options, terminal)
  if (door.transport === 'local') tellDemo(options.config, terminal)
  const progress = createProgress(door.events$, terminal)
  const isLive = input.isTTY === true && terminal.isOutInteractive
  const lines = createInterface({
    input,
    ...(isLive ? { output: process.stdout, prompt: terminal.paint('bold', '> ') } : {}),
  })
  let answering: AbortController | undefined
  lines.on('SIGINT', () => {
    if (answering !== undefined) answering.abort(INTERRUPTED)
    else lines.close()
  })
  let said: readonly Said[] = []
  let failures = 0
  try {
    if (isLive) {
      terminal.note(
        'Ctrl-C ends an answer, Ctrl-D the conversation; /new begins another one, /help says more.',
      )
      lines.prompt()
    }
    for await (const line of lines) {
      const command = findCommand(line)
      const prompt = toPrompt(line)
      if (command === '/exit') break
      if (command === '/new') said = []
      else if (command === '/help') terminal.note(CHAT_HELP)
      else if (command !== undefined) {
        terminal.note(
          `${escapeText(command)} is not a command and was not sent; the commands are /new, /help and /exit. To send it: /${escapeText(command)}`,
        )
        failures += 1
      } else if (prompt !== '') {
        answering = new AbortController()
        const signal = AbortSignal.any([door.signal, answering.signal])
        const text = await ask({ ref, prompt, said, options, door, terminal, progress, signal, isLive })
        answering = undefined
        if (text === undefined) failures += 1
        else said = [...said, { role: 'user', text: prompt }, { role: 'assistant', text }]
      }
      if (isLive) lines.prompt()
    }
    return failures > 0 && !isLive ? exitCodes.failed : exitCodes.ok
  } finally {
    lines.close()
    progress.close()
    await door.close()
  }
}

const CHAT_HELP = [
  '/new   forgets what was said',
  '/help  prints this',
  '/exit  ends the conversation, as Ctrl-D does',
  'Every other line is sent. To send a word with a slash alone, write //word or put a space before it.',
].join('\n')

/** The command that a line is: a word after one slash, alone, from the first column on. */
function findCommand(line: string): string | undefined {
  return /^\/[a-z][\w-]*(?=\s*$)/i.exec(line)?.[0]
}

/** What a line sends: `//word` is `/word`. */
function toPrompt(line: string): string {
  const text = line.trim()
  return findCommand(text.slice(1)) === undefined || !text.startsWith('//') ? text : text.slice(1)
}

interface Question {
  readonly ref: string | undefined
  readonly prompt: string
  readonly said: readonly Said[]
  readonly options: ChatOptions
  readonly door: Door
  readonly terminal: Terminal
  readonly progress: Progress
  readonly signal: AbortSignal
  readonly isLive: boolean
}

/** Prints an answer as it comes, and gives its text; `undefined`: there was none, and why is printed. */
async function ask(question: Question): Promise<string | undefined> {
  const { ref, prompt, said, options, door, terminal, progress, signal, isLive } = question
  const startedAtMs = performance.now()
  let firstAtMs: number | undefined
  let text = ''
  try {
    const model = ref || 'default'
    const { dialect, modelMaxTokens } = await findModel(door, model, signal)
    const { system, maxTokens, temperature } = options
    const thinking = options.thinking === 'off' ? 'none' : options.thinking
    const turn = { model, prompt, history: said, system, images: [], thinking, temperature }
    const body = JSON.stringify(dialect.toBody({ ...turn, maxTokens, modelMaxTokens }))
    const response = await door.send({ path: dialect.path, headers: dialect.headers, body, signal })
    const { usage } = await readChatAnswer(
      response,
      (piece) => {
        firstAtMs ??= performance.now()
        text += piece
        progress.aside(() => terminal.out(escapeText(piece)))
      },
      dialect,
    )
    terminal.line()
    if (isLive) terminal.line(terminal.paint('dim', describePace(usage, { startedAtMs, firstAtMs })))
    return text
  } catch (error) {
    if (text !== '') terminal.line()
    if (signal.reason === INTERRUPTED) {
      terminal.note('interrupted')
      return text === '' ? undefined : text
    }
    if (error instanceof UsageError || door.signal.aborted) throw error
    terminal.note(formatError(explain(error, undefined), { withStack: terminal.env.LEASEHOLD_DEBUG === '1' }))
    return undefined
  }
}

/** `51 tokens, 24.5 tokens/s, first after 0.8 s`. */
function describePace(
  usage: object | null,
  {
    startedAtMs,
    firstAtMs = startedAtMs,
  }: { readonly startedAtMs: number; readonly firstAtMs?: number | undefined },
): string {
  const { completion_tokens: completion, output_tokens: output }: Record<string, unknown> = Object(usage)
  const tokens = typeof completion === 'number' ? completion : output
  const first = `first token after ${((firstAtMs - startedAtMs) / 1_000).toFixed(1)} s`
  const seconds = (performance.now() - firstAtMs) / 1_000
  if (typeof tokens !== 'number' || seconds <= 0) return first
  return `${tokens} tokens, ${(tokens / seconds).toFixed(1)} tokens/s, ${first}`
}
