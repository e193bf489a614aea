import { hasTag } from '../../../../machines/provider/tags.ts'
import type { App } from '../app.ts'
import { ask, LockedError, readEvents } from '../stream.ts'
import { findPath, type Task } from './snippets.ts'

export type Phase = 'wait' | 'load' | 'first' | 'stream'

export const phases: readonly (readonly [Phase, string])[] = [
  ['wait', 'Waited'],
  ['load', 'Loaded'],
  ['first', 'First byte'],
  ['stream', 'Streamed'],
]

/** One request that this page sent, as far as it has come. It is kept nowhere else. */
export interface Trial {
  readonly isOver: boolean
  readonly text: string
  /** What a model thinks aloud before it answers. */
  readonly thought: string
  readonly tokens: number
  /** Time in each phase so far, in milliseconds. */
  readonly spentMs: Readonly<Record<Phase, number>>
  readonly phase: Phase
  readonly problem: string | null
  readonly requestId: string | null
  /** Of an embedding: its vectors. Of a reranking: its documents, the best first. */
  readonly vectors: readonly (readonly number[])[]
  readonly ranks: readonly { readonly index: number; readonly score: number }[]
  /** Of an image: its pictures. Of speech: its sound. As data URLs. */
  readonly media: readonly string[]
}

const nothing: Trial = {
  isOver: false,
  text: '',
  thought: '',
  tokens: 0,
  spentMs: { wait: 0, load: 0, first: 0, stream: 0 },
  phase: 'wait',
  problem: null,
  requestId: null,
  vectors: [],
  ranks: [],
  media: [],
}

export interface TrialOptions {
  readonly app: App
  readonly task: Task
  /** Key of the service that serves the model. */
  readonly service: string | null
  /** JSON, or a form with a file. */
  readonly body: object
  onChange(trial: Trial): void
}

/** How often the times are told, in milliseconds. */
const TICK_MS = 100

/** Sends one request as any client would, and tells how it goes. Returns what stops it. */
export function startTrial({ app, task, service, body, onChange }: TrialOptions): () => void {
  const leaving = new AbortController()
  let trial = nothing
  let countedAtMs = performance.now()
  const change = (next: Partial<Trial>) => {
    trial = { ...trial, ...next }
    onChange(trial)
  }
  /** Time since the last count belongs to the phase that the request was in. */
  const count = () => {
    const nowMs = performance.now()
    const phase = trial.phase === 'stream' ? 'stream' : findPhase(app, service)
    const spentMs = { ...trial.spentMs, [phase]: trial.spentMs[phase] + nowMs - countedAtMs }
    countedAtMs = nowMs
    change({ spentMs, phase })
  }
  const timer = setInterval(count, TICK_MS)
  const hearPart = (data: string) => {
    if (data === '[DONE]') return
    const { text, thought, tokens, problem } = readPart(data)
    if (trial.phase !== 'stream' && (text !== '' || thought !== '')) {
      count()
      trial = { ...trial, phase: 'stream' }
    }
    trial = {
      ...trial,
      text: trial.text + text,
      thought: trial.thought + thought,
      tokens: tokens ?? trial.tokens + (text === '' && thought === '' ? 0 : 1),
      problem: problem ?? trial.problem,
    }
  }
  const run = async () => {
    const response = await ask(findPath(task), {
      method: 'POST',
      headers: {
        ...(body instanceof FormData ? {} : { 'content-type': 'application/json' }),
        'user-agent': 'leasehold-page',
      },
      body: body instanceof FormData ? body : JSON.stringify(body),
      signal: leaving.signal,
    })
    change({ requestId: response.headers.get('x-leasehold-request-id') })
    if (task === 'chat' && /event-stream/.test(response.headers.get('content-type') ?? ''))
      return readEvents(response, ({ data }) => data !== null && hearPart(data))
    const answered =
      task === 'speech'
        ? { media: [await toDataUrl(await response.blob())] }
        : readAnswer(await response.json())
    count()
    change(answered)
  }
  run()
    .catch((error) => {
      if (leaving.signal.aborted) return change({ problem: 'Stopped.' })
      const isLocked = error instanceof LockedError
      change({
        problem: isLocked
          ? 'The key of this tab may look at leasehold, and not ask its models: leave this page and open it with one of leasehold.apiKeys.'
          : String(error?.message ?? error),
      })
    })
    .finally(() => {
      clearInterval(timer)
      if (trial.problem === null || trial.phase === 'stream') count()
      change({ isOver: true })
    })
  return () => leaving.abort()
}

/** What a request waits for now, told from its service. */
function findPhase(app: App, key: string | null): Phase {
  const state = key === null ? undefined : app.state.history.latest.services[key]?.state
  if (state === undefined || hasTag(state, 'up')) return 'first'
  return hasTag(state, 'loading') ? 'load' : 'wait'
}

/** One part of a streamed answer. What is no text is left out: any server may answer. */
function readPart(data: string) {
  const part = parse(data)
  const delta = part?.choices?.[0]?.delta
  const tokens: unknown = part?.usage?.completion_tokens
  const message: unknown = part?.error?.message
  return {
    text: toText(delta?.content),
    thought: toText(delta?.reasoning_content ?? delta?.reasoning),
    tokens: typeof tokens === 'number' ? tokens : null,
    problem: typeof message === 'string' ? message : null,
  }
}

interface Part {
  readonly choices?: readonly {
    readonly delta?: Record<string, unknown>
    readonly message?: { content?: unknown }
  }[]
  readonly usage?: { readonly completion_tokens?: unknown }
  readonly error?: { readonly message?: unknown }
}

function parse(data: string): Part | null {
  try {
    return JSON.parse(data)
  } catch {
    return null
  }
}

function toText(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function readAnswer(answer: unknown): Partial<Trial> {
  const { choices, usage, data, results, text } = (answer ?? {}) as Part & {
    data?: unknown
    results?: unknown
    text?: unknown
  }
  const tokens = usage?.completion_tokens
  return {
    text: toText(choices?.[0]?.message?.content ?? text),
    media: Array.isArray(data)
      ? data.flatMap(({ b64_json: image }) =>
          typeof image === 'string' ? [`data:image/png;base64,${image}`] : [],
        )
      : [],
    tokens: typeof tokens === 'number' ? tokens : 0,
    vectors: Array.isArray(data)
      ? data.flatMap(({ embedding }) => (isVector(embedding) ? [embedding] : []))
      : [],
    ranks: Array.isArray(results)
      ? results
          .map(({ index, relevance_score: score }) => ({ index: Number(index), score: Number(score) }))
          .toSorted((a, b) => b.score - a.score)
      : [],
  }
}

/** A file as a data URL: the policy of the page allows no other. */
export function toDataUrl(file: Blob): Promise<string> {
  return new Promise((resolve) => {
    const reader = new FileReader()
    reader.onload = () => resolve(String(reader.result))
    reader.readAsDataURL(file)
  })
}

function isVector(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((number) => typeof number === 'number')
}

/** How alike two vectors are, from -1 to 1. */
export function compareVectors(a: readonly number[], b: readonly number[]): number {
  let [product, left, right] = [0, 0, 0]
  for (const [index, value] of a.entries()) {
    const other = b[index] ?? 0
    product += value * other
    left += value * value
    right += other * other
  }
  return product / (Math.sqrt(left * right) || 1)
}
