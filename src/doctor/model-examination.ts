import { systemClock } from '../clock.ts'
import { advise } from '../compat/error-advice.ts'
import type { Config, ModelConfig, ProviderConfig } from '../config/config.ts'
import { formatJson5 } from '../config/document-edit.ts'
import { isJsonObject } from '../config/sections.ts'
import { LeaseholdError } from '../errors.ts'
import type { Lease } from '../lease/lease.ts'
import { toContextSize } from '../service/context-sizes.ts'
import { toKeyHeaders } from '../service/services.ts'
import type { Supervisor } from '../supervisor/interface.ts'
import { getJson } from '../transport/get.ts'
import type { DoctorFinding, ModelReport } from './doctor-report.ts'
import type { Answer } from './probe-answer.ts'
import { sendBody, untilKnown } from './probe-sender.ts'
import { pickUnprobed, type Settings, unprobed } from './probes.ts'
import { probeModel } from './probing.ts'

export interface ExaminationOptions {
  readonly supervisor: Supervisor
  readonly config: Config
  /** Ends the examination; what was started is stopped by the caller. */
  readonly signal: AbortSignal
  /** How a service is in use by others. @param portHolder who holds its port, in words */
  readonly busy: (key: string, portHolder: string | null) => string | undefined
  /** Whether GPU memory is asked for. */
  readonly hasGpus: boolean
  /** The flags that the file itself writes for a model. Absent: those of the configuration. */
  readonly writtenFlags?: ((provider: ProviderConfig, model: ModelConfig) => readonly string[]) | undefined
  /** Called after each model, while its service is still held. */
  readonly onExamined?: (() => Promise<void>) | undefined
  readonly onProbe?: ((ref: string, name: string, index: number, total: number) => void) | undefined
}

const ASK_TIMEOUT_MS = 5_000
const MAX_LIST_BYTES = 1_048_576

interface Examined {
  readonly reports: ModelReport[]
  readonly findings: readonly DoctorFinding[]
}

/** Advice that says nothing about the form of a request. */
const UNRELATED: ReadonlySet<string> = new Set([
  'context-exceeded',
  'still-loading',
  'no-model-loaded',
  'server-busy',
])

/** Asks the server of a provider for its models, and probes each model that the file names. */
export async function examineProvider(
  provider: ProviderConfig,
  options: ExaminationOptions,
): Promise<Examined> {
  const { supervisor, signal } = options
  const { list, props } = await readLists(provider, signal)
  const listed = listIds(list)
  // A provider without models takes any name: one that the server lists is safe to ask for.
  const models: readonly (ModelConfig | string)[] =
    provider.models.length > 0 ? provider.models : (listed ?? []).slice(0, 1)
  if (models.length === 0)
    return {
      reports: [],
      findings: [
        {
          level: 'note',
          code: 'no-model',
          about: provider.id,
          text: 'neither the file nor the server names a model to ask for',
        },
      ],
    }
  const reports: ModelReport[] = []
  const findings: DoctorFinding[] = []
  const probed = new Map<string, ModelReport>()
  for (const given of models) {
    if (signal.aborted) break
    const model = typeof given === 'string' ? undefined : given
    const id = typeof given === 'string' ? given : given.id
    const ref = `${provider.id}/${id}`
    const upstreamId = model?.upstreamId ?? id
    const contextTokens = toContextSize(list, props, upstreamId) ?? null
    const lease = await supervisor.acquire(ref, { signal }).catch((error: unknown) => {
      findings.push({
        level: 'error',
        code: 'not-started',
        about: ref,
        text: error instanceof Error ? error.message : String(error),
      })
    })
    if (lease === undefined) break
    try {
      // Entries that differ in their params alone have one model, which is asked once.
      const known = probed.get(upstreamId)
      const found =
        known === undefined
          ? await examineModel({ provider, model, ref, upstreamId, lease, options })
          : { ...toLacking(provider, model, toSettings(known), options), ...pickProbes(known) }
      const report: ModelReport = { ref, upstreamId, listed, contextTokens, ...found }
      probed.set(upstreamId, report)
      reports.push(report)
      findings.push(...judgeModel(report, model))
      await options.onExamined?.()
    } finally {
      lease.release()
    }
  }
  return { reports, findings }
}

type Found = Omit<ModelReport, 'ref' | 'upstreamId' | 'listed' | 'contextTokens'>

function toSettings({ compat, dropParams }: ModelReport): Settings {
  return { compat, dropParams }
}

function pickProbes({ takesImages, probes, unprobed: why }: ModelReport) {
  return { takesImages, probes, unprobed: why }
}

async function examineModel({
  provider,
  model,
  ref,
  upstreamId,
  lease,
  options,
}: {
  readonly provider: ProviderConfig
  readonly model: ModelConfig | undefined
  readonly ref: string
  readonly upstreamId: string
  readonly lease: Lease
  readonly options: ExaminationOptions
}): Promise<Found> {
  const { signal, onProbe } = options
  const notProbed = (why: string): Found => ({
    takesImages: null,
    probes: [],
    unprobed: why,
    compat: {},
    dropParams: [],
    lacking: { compat: {}, dropParams: [] },
    unneeded: [],
    block: null,
  })
  if (provider.localService?.engine === 'whisper.cpp')
    return notProbed('it transcribes speech and takes no chats, which the flags are about')
  if (provider.api !== 'openai-completions')
    return notProbed(`the probes are chat completions, and its api is ${provider.api}`)
  const asked = { ref, path: '/v1/chat/completions', baseUrl: provider.baseUrl }
  let gone: string | undefined
  const findAdvice = ({ status, body }: Answer) =>
    status === 0 ? undefined : advise(status, Buffer.from(body), asked)?.advice
  const ended = () =>
    signal.aborted ? 'it was interrupted' : lease.signal.aborted ? describeEnd(lease.signal.reason) : gone
  const ask = async (body: Buffer): Promise<Answer> => {
    const answer = await sendBody(body, { provider, model, lease, signal, path: 'chat/completions' })
    if (answer.status !== 0) return answer
    await untilKnown(lease.signal)
    if (/ECONNREFUSED/.test(answer.failure ?? '')) gone = 'its server does not listen any more'
    return answer
  }
  const {
    settings,
    results,
    plain,
    ended: endedBy,
  } = await probeModel({
    model: upstreamId,
    compat: pickUnprobed(model?.compat ?? {}),
    isReasoning: model?.reasoning === true,
    ask,
    ended,
    explain: (answer, isCured) => {
      const { status, failure = '' } = answer
      const advice = findAdvice(answer)
      const said = status === 0 ? failure : `${status} ${failure}`
      // Flags that do not help have been tried.
      const isTried = !isCured && /\bcompat\b/.test(advice?.block ?? '')
      return advice === undefined || isTried ? said : `${said}\n${advice.text}`
    },
    isUnrelated: (answer) => answer.status === 0 || UNRELATED.has(findAdvice(answer)?.id ?? ''),
    onProbe: (name, index, total) => onProbe?.(ref, name, index, total),
  })
  if (plain?.failure !== undefined && ended() === undefined) {
    const kind = await findOtherKind(upstreamId, (path, body) =>
      sendBody(body, { provider, model, lease, signal, path }),
    )
    if (kind !== undefined) return notProbed(`it ${kind} and takes no chats, which the flags are about`)
  }
  const image = results.find(({ probe }) => probe === 'image')?.outcome
  return {
    takesImages: image === undefined ? null : image === 'works',
    probes: results,
    unprobed: endedBy ?? null,
    ...toLacking(provider, model, settings, options),
  }
}

/** What a server does that answers no chat. */
async function findOtherKind(
  model: string,
  ask: (path: string, body: Buffer) => Promise<Answer>,
): Promise<string | undefined> {
  for (const [path, body, kind] of OTHER_KINDS) {
    const { status } = await ask(path, Buffer.from(JSON.stringify({ model, ...body })))
    if (status === 200) return kind
  }
  return undefined
}

const OTHER_KINDS = [
  ['embeddings', { input: 'hello' }, 'makes embeddings'],
  ['rerank', { query: 'hello', documents: ['hello', 'good morning'] }, 'ranks texts'],
] as const

/** The settings, and what of them the configuration does not say. */
function toLacking(
  provider: ProviderConfig,
  model: ModelConfig | undefined,
  { compat, dropParams }: Settings,
  { writtenFlags }: ExaminationOptions,
): Pick<ModelReport, 'compat' | 'dropParams' | 'lacking' | 'unneeded' | 'block'> {
  const present: Readonly<Record<string, unknown>> = model?.compat ?? {}
  const flags = model === undefined ? [] : (writtenFlags?.(provider, model) ?? Object.keys(present))
  const isEmpty = Object.keys(compat).length === 0
  return {
    compat,
    dropParams,
    lacking: {
      compat: Object.fromEntries(
        Object.entries(compat).filter(([flag, value]) => !isSame(value, present[flag])),
      ),
      dropParams: dropParams.filter((name) => model?.dropParams.includes(name) !== true),
    },
    unneeded: flags.filter((flag) => !Object.hasOwn(compat, flag) && !Object.hasOwn(unprobed, flag)),
    block:
      isEmpty && dropParams.length === 0
        ? null
        : formatJson5({
            ...(isEmpty ? {} : { compat }),
            ...(dropParams.length === 0 ? {} : { dropParams }),
          }).slice(2, -2),
  }
}

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

function judgeModel(report: ModelReport, model: ModelConfig | undefined): DoctorFinding[] {
  const { ref, upstreamId, listed, contextTokens, takesImages, probes, unprobed: why, lacking } = report
  const findings: DoctorFinding[] = []
  const add = (level: DoctorFinding['level'], code: DoctorFinding['code'], text: string) =>
    findings.push({ level, code, about: ref, text })
  if (why !== null)
    add(probes.length === 0 ? 'note' : 'error', 'not-probed', `not all of it was probed: ${why}`)
  // Servers with one model answer to any name.
  const isAnswered = probes.some(({ probe, outcome }) => probe === 'plain' && outcome === 'works')
  if (listed !== null && listed.length > 0 && !listed.some((id) => isServed(id, upstreamId))) {
    const names = `${listed.slice(0, 5).join(', ')}${listed.length > 5 ? ', …' : ''}`
    if (isAnswered)
      add(
        'note',
        'unlisted-model',
        `its server calls the model ${names}, and answers to "${upstreamId}", too`,
      )
    else
      add(
        'warning',
        'unlisted-model',
        `its server does not list "${upstreamId}", but ${names}: set the id or upstreamId of the model`,
      )
  }
  for (const { isWarning, asks, outcome, detail } of probes)
    if (isWarning && outcome !== 'cured')
      add(
        'warning',
        'probe',
        `${asks} ${outcome === 'refused' ? 'is refused' : 'has no effect'}: ${detail ?? ''}`,
      )
  const missing = [...Object.keys(lacking.compat).map((flag) => `compat.${flag}`), ...lacking.dropParams]
  if (missing.length > 0)
    add('warning', 'lacking-settings', `the file lacks what this server needs: ${missing.join(', ')}`)
  if (model?.contextWindow !== undefined && contextTokens !== null && model.contextWindow > contextTokens)
    add(
      'warning',
      'context-size',
      `contextWindow is ${model.contextWindow}, and the server holds ${contextTokens} tokens for one request`,
    )
  const saysImages = model?.input.includes('image') === true
  if (saysImages && takesImages === false)
    add('warning', 'images', 'the file says that it takes images, and the server refuses them')
  if (report.unneeded.length > 0)
    add(
      'note',
      'unneeded-flags',
      `the probes pass without ${report.unneeded.map((flag) => `compat.${flag}`).join(', ')}`,
    )
  return findings
}

/** Ollama adds a tag, and llama-server lists the path of a file. */
function isServed(id: string, upstreamId: string): boolean {
  const wanted = upstreamId.toLowerCase()
  return [wanted, `${wanted}:latest`].includes(id.toLowerCase())
}

function describeEnd(reason: unknown): string {
  return `its server ended: ${reason instanceof LeaseholdError ? reason.message : String(reason)}`
}

/** The server's own list of models, and llama-server's settings. */
async function readLists(
  provider: ProviderConfig,
  signal: AbortSignal,
): Promise<{ readonly list: unknown; readonly props: unknown }> {
  const look = (url: string) =>
    getJson({
      url,
      headers: toKeyHeaders(provider),
      timeoutMs: ASK_TIMEOUT_MS,
      maxBodyBytes: MAX_LIST_BYTES,
      clock: systemClock,
      signal,
    })
  const list = await look(`${provider.baseUrl}/models`)
  const isLlama = JSON.stringify(list ?? '').includes('"llamacpp"')
  return { list, props: isLlama ? await look(`${new URL(provider.baseUrl).origin}/props`) : undefined }
}

/** The names in a list of models, aliases included. `null`: this is no such list. */
function listIds(list: unknown): readonly string[] | null {
  const data = isJsonObject(list) && Array.isArray(list.data) ? list.data.filter(isJsonObject) : undefined
  if (data === undefined) return null
  const names = data.flatMap(({ id, aliases }) => [id, ...(Array.isArray(aliases) ? aliases : [])])
  return [...new Set(names.filter((name) => typeof name === 'string'))]
}
