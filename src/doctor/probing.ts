import type { CompatFlags } from '../compat/flags.ts'
import { rewriteBody } from '../compat/rewrite.ts'
import type { JsonObject } from '../config/sections.ts'
import type { Answer } from './probe-answer.ts'
import { type Effect, type Probe, probes, type Remedy, type Settings } from './probes.ts'
import { findThinking } from './thinking.ts'

/**
 * What became of a probe. `works`: as it is. `cured`: with the settings it names. `refused`, `missing`: nothing that the
 * doctor knows helps; the server refuses it, or takes it without effect. `unclear`: the answer does not tell.
 * `skipped`: not sent.
 */
export type Outcome = 'works' | 'cured' | 'refused' | 'missing' | 'unclear' | 'skipped'

export interface ProbeResult {
  readonly probe: string
  /** What was asked for. */
  readonly asks: string
  readonly outcome: Outcome
  /** What the server said to the request without the settings, or why the outcome is what it is. */
  readonly detail?: string
  /** The settings that cure it. */
  readonly compat?: CompatFlags
  readonly dropParams?: readonly string[]
  /** Whether a person should look at it. */
  readonly isWarning: boolean
}

/** What is known of a model after its probes. */
export interface Probing {
  readonly results: readonly ProbeResult[]
  /** The smallest settings with which everything passes that can. */
  readonly settings: Settings
  /** The answer to the plain question. Absent: it was never sent. */
  readonly plain?: Answer
  /** Why the probes ended early. Absent: all were sent. */
  readonly ended?: string
}

export interface ProbingOptions {
  /** The name that the server knows the model by. */
  readonly model: string
  /** Flags that hold whatever is found. */
  readonly compat: CompatFlags
  /** Whether the file says that the model thinks. */
  readonly isReasoning: boolean
  /** Sends a body to the server. Settles with status 0 where there is no answer. */
  readonly ask: (body: Buffer) => Promise<Answer>
  /** Why nothing more is asked: the server has ended. */
  readonly ended: () => string | undefined
  /** What a refusal means. `isCured`: settings help, so that it is worth telling which. */
  readonly explain: (answer: Answer, isCured: boolean) => string
  /** Whether a refusal is about something else than the form of the request: its size, or the state of the server. */
  readonly isUnrelated: (answer: Answer) => boolean
  readonly onProbe?: (name: string, index: number, total: number) => void
}

/** Sends a body with settings applied, as leasehold would forward it. */
export type Send = (body: JsonObject, settings: Settings) => Promise<Answer>

/**
 * Finds out what a server takes: sends every probe as leasehold forwards it with the settings found so far, and where it
 * does not work once more with each remedy. Then each setting is left out once, and dropped where its probe works
 * without it.
 */
export async function probeModel(options: ProbingOptions): Promise<Probing> {
  const { compat, isReasoning, ended, explain, onProbe } = options
  let silences = 0
  const send = createSend(options)
  const results: ProbeResult[] = []
  const found: { readonly probe: Probe; readonly remedy: Remedy }[] = []
  let settings: Settings = { compat, dropParams: [] }
  let plain: Answer | undefined

  const report = (why?: string): Probing => ({
    results,
    settings,
    ...(plain === undefined ? {} : { plain }),
    ...(why === undefined ? {} : { ended: why }),
  })
  for (const [index, probe] of probes.entries()) {
    const gone = ended()
    if (gone !== undefined) return report(gone)
    onProbe?.(probe.name, index, probes.length + 1)
    const skipped = probe.skip?.(settings)
    if (skipped !== undefined) {
      results.push({ ...toHead(probe), outcome: 'skipped', detail: skipped, isWarning: false })
      continue
    }
    const examined = await examine(probe, settings, plain, send, options)
    const { answer, remedy } = examined
    // What has ended the server is told as that, and not as a refusal.
    const crashed = ended()
    if (crashed !== undefined) {
      results.push({ ...toHead(probe), outcome: 'refused', detail: crashed, isWarning: true })
      return report(crashed)
    }
    if (remedy !== undefined) {
      settings = join(settings, remedy)
      found.push({ probe, remedy })
    }
    results.push(toResult(probe, examined, explain))
    silences = answer.status === 0 ? silences + 1 : 0
    if (silences === MAX_SILENCES) return report(`the server does not answer any more (${answer.failure})`)
    if (probe.name !== 'plain') continue
    plain = answer.failure !== undefined && remedy !== undefined ? await send(probe.body, settings) : answer
    if (plain.failure !== undefined) return report('the server does not answer a plain question')
  }
  onProbe?.('thinking', probes.length, probes.length + 1)
  const thinking = await findThinking({ settings, send, isReasoning, hasThought: hasThought(plain) })
  results.push(thinking.result)
  settings = join(settings, { compat: thinking.compat })
  for (const { probe, remedy } of found) {
    if (ended() !== undefined) break
    const smaller = leaveOut(settings, remedy)
    const { effect } = await examine({ ...probe, remedies: [] }, smaller, plain, send, options)
    if (effect.kind === 'works') settings = smaller
  }
  return report(ended())
}

/** After so many probes without an answer in a row no more are sent. */
const MAX_SILENCES = 2

/** Every body of the probes, as leasehold sends it with these settings. */
export function createSend({ model, ask }: Pick<ProbingOptions, 'model' | 'ask'>): Send {
  return (body, { compat, dropParams }) => {
    const { pieces } = rewriteBody(Buffer.from(JSON.stringify({ model, ...body })), {
      route: 'chat',
      model,
      compat,
      dropParams,
    })
    return ask(Buffer.concat(pieces))
  }
}

/** Settings with a remedy on top. */
export function join({ compat, dropParams }: Settings, remedy: Remedy): Settings {
  return {
    compat: { ...compat, ...remedy.compat },
    dropParams: [...new Set([...dropParams, ...(remedy.dropParams ?? [])])],
  }
}

interface Examined {
  /** The answer without a remedy. */
  readonly answer: Answer
  readonly effect: Effect
  /** The first that helps. */
  readonly remedy: Remedy | undefined
}

/** Sends a probe, and where it does not work with each remedy, until one helps. */
async function examine(
  probe: Probe,
  settings: Settings,
  plain: Answer | undefined,
  send: Send,
  { ended, isUnrelated }: Pick<ProbingOptions, 'ended' | 'isUnrelated'>,
): Promise<Examined> {
  const judge = (answer: Answer): Effect => {
    if (answer.failure === undefined) return probe.effect(answer, plain ?? answer)
    return { kind: isUnrelated(answer) ? 'unclear' : 'missing', text: answer.failure }
  }
  const answer = await send(probe.body, settings)
  const effect = judge(answer)
  const isRefused = answer.failure !== undefined
  const helps = async (remedy: Remedy) => {
    const second = await send(probe.body, join(settings, remedy))
    if (second.failure !== undefined) return false
    const { kind } = judge(second)
    return kind === 'works' || (isRefused && (remedy.isLoss === true || kind === 'unclear'))
  }
  if (effect.kind !== 'missing') return { answer, effect, remedy: undefined }
  for (const remedy of probe.remedies) {
    if (ended() !== undefined) break
    if (await helps(remedy)) return { answer, effect, remedy: await shrink(remedy, helps) }
  }
  return { answer, effect, remedy: undefined }
}

/** Takes one entry after the other out of a remedy's list, where the rest still helps. */
async function shrink(remedy: Remedy, helps: (remedy: Remedy) => Promise<boolean>): Promise<Remedy> {
  let smallest = remedy
  for (const entry of remedy.dropParams ?? []) {
    if ((smallest.dropParams ?? []).length === 1) break
    const smaller = { ...smallest, dropParams: smallest.dropParams?.filter((one) => one !== entry) }
    if (await helps(smaller)) smallest = smaller
  }
  for (const entry of remedy.compat?.unsupportedToolSchemaKeywords ?? []) {
    const keywords = smallest.compat?.unsupportedToolSchemaKeywords ?? []
    if (keywords.length === 1) break
    const smaller = {
      ...smallest,
      compat: {
        ...smallest.compat,
        unsupportedToolSchemaKeywords: keywords.filter((one) => one !== entry),
      },
    }
    if (await helps(smaller)) smallest = smaller
  }
  return smallest
}

function leaveOut({ compat, dropParams }: Settings, remedy: Remedy): Settings {
  const flags = new Set(Object.keys(remedy.compat ?? {}))
  return {
    compat: Object.fromEntries(Object.entries(compat).filter(([flag]) => !flags.has(flag))),
    dropParams: dropParams.filter((name) => !remedy.dropParams?.includes(name)),
  }
}

function toResult(
  probe: Probe,
  { answer, effect, remedy }: Examined,
  explain: ProbingOptions['explain'],
): ProbeResult {
  const isRefused = answer.failure !== undefined
  const detail = isRefused ? explain(answer, remedy !== undefined) : effect.text
  const isWanted = isRefused ? probe.remedies.length > 0 : probe.isEffectWanted === true
  return {
    ...toHead(probe),
    outcome:
      remedy !== undefined ? 'cured' : isRefused && effect.kind === 'missing' ? 'refused' : effect.kind,
    ...(detail === undefined ? {} : { detail }),
    ...(remedy?.compat === undefined ? {} : { compat: remedy.compat }),
    ...(remedy?.dropParams === undefined ? {} : { dropParams: remedy.dropParams }),
    isWarning: remedy === undefined && effect.kind === 'missing' && isWanted,
  }
}

function toHead({ name, asks }: Probe): { readonly probe: string; readonly asks: string } {
  return { probe: name, asks }
}

function hasThought(plain: Answer | undefined): boolean {
  return plain !== undefined && (plain.reasoning !== '' || /<think>/.test(plain.text))
}
