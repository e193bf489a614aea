import { basename } from 'node:path'
import { toUrlFault } from './fields.ts'
import { type Finding, toWarning } from './finding.ts'
import { isSameName } from './model-ref.ts'
import { findNearest, isNearMiss } from './nearest.ts'
import { hasPlaceholder } from './port-assignment.ts'
import { isSecretRef, type ResolvedSecret, type SecretRef } from './secret-refs.ts'
import { type Environment, substituteVariables } from './secrets.ts'
import { isJsonObject, type JsonObject } from './sections.ts'

/** OpenClaw's sections beside `models` and `agents`. One of them makes a file OpenClaw's. */
const SECTIONS: ReadonlySet<string> = new Set(
  `accessGroups acp approvals attachments audio auth bindings broadcast browser channels cloudWorkers
  commands cron desktop diagnostics discovery env gateway hooks logging mcp media memory messages meta nodeHost plugins
  secrets security session skills surfaces talk telemetry tools transcripts tts ui update wizard`.split(
    /\s+/,
  ),
)

/** Ids of providers whose address OpenClaw knows. A reference to one that is not configured is OpenClaw's. */
const KNOWN_PROVIDERS: ReadonlySet<string> = new Set(
  `amazon-bedrock anthropic azure-openai-responses byteplus cerebras chutes claude-cli cloudflare-ai-gateway codex
  copilot-proxy dashscope deepinfra deepseek fal fireworks github-copilot google google-gemini-cli google-vertex groq
  huggingface kilocode kimi kimi-coding litellm llmman lmstudio meta microsoft-foundry minimax mistral modelstudio moonshot
  novita nvidia ollama openai opencode openrouter qianfan qwen sglang stepfun synthetic together venice
  vercel-ai-gateway vllm volcengine xai xiaomi zai`.split(/\s+/),
)

/** The dialects that OpenClaw speaks and leasehold does not. */
const OTHER_APIS: ReadonlySet<unknown> = new Set([
  'openai-chatgpt-responses',
  'openai-codex-responses',
  'azure-openai-responses',
  'google-generative-ai',
  'google-vertex',
  'github-copilot',
  'bedrock-converse-stream',
  'pi-messages',
])

/** Ollama's own dialect. It speaks OpenAI's as well, at another path. */
const OLLAMA = 'ollama'

const PROVIDER_KEYS = ['auth', 'region', 'params', 'agentRuntime', 'request', 'injectNumCtxForOpenAICompat']
const MODEL_KEYS = [
  'contextTokens',
  'thinkingLevelMap',
  'mediaInput',
  'agentRuntime',
  'metadataSource',
  'api',
  'baseUrl',
]
const ENTRY_KEYS = ['agentRuntime', 'pickerRuntimes', 'codeMode', 'streaming']
const TOOL_PROFILES: ReadonlySet<unknown> = new Set(['llamacpp', 'gemini', 'xai'])

/** In the place of the URL of a provider that has none: a name that never resolves. */
export const NO_URL = 'http://no-base-url.invalid'

/**
 * Whether a file is OpenClaw's: by its name, by OpenClaw's sections, or, where it has no section of ours, by keys and
 * references that only OpenClaw takes.
 */
export function isOpenClawFile(value: JsonObject, file: string): boolean {
  if (/^openclaw(\.[\w-]+)*\.json5?$/i.test(basename(file))) return true
  if (Object.keys(value).some((key) => SECTIONS.has(key))) return true
  const { models, agents } = value
  const defaults = isJsonObject(agents) ? agents.defaults : undefined
  if (isJsonObject(agents) && hasForeignKey(agents, ['defaults'])) return true
  if (isJsonObject(defaults) && hasForeignKey(defaults, ['model', 'models'])) return true
  if (Object.hasOwn(value, 'leasehold')) return false
  return hasKeysOfOpenClaw(models) || hasReferencesOfOpenClaw(defaults, models)
}

/** What is needed to read a file of OpenClaw's. */
export interface OpenClawContext {
  readonly env: Environment
  readonly resolveSecret: (ref: SecretRef) => ResolvedSecret
}

/**
 * The environment with what OpenClaw's `env` section adds: variables that are set already win.
 */
export function addInlineEnv(env: Environment, section: unknown): Environment {
  if (!isJsonObject(section)) return env
  const { vars, shellEnv: _, ...rest } = section
  const inline = Object.entries({ ...rest, ...(isJsonObject(vars) ? vars : {}) }).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  )
  const set = Object.entries(env).filter(([, value]) => value)
  return Object.fromEntries([...inline, ...set])
}

/**
 * Turns the sections of an OpenClaw file into ours, in place: what has an equivalent is translated, what has no effect
 * here is removed with a warning, and what a provider cannot do without is a fault of that provider.
 */
export function adoptOpenClaw(own: JsonObject, context: OpenClawContext): Finding[] {
  const findings: Finding[] = []
  const { models, agents } = own
  if (isJsonObject(models)) {
    drop(models, ['catalogRefresh'], ['models'], findings)
    if (isJsonObject(models.providers)) {
      for (const [id, provider] of Object.entries(models.providers))
        if (isJsonObject(provider)) adoptProvider(provider, ['models', 'providers', id], context, findings)
    }
  }
  const defaults = isJsonObject(agents) ? agents.defaults : undefined
  if (isJsonObject(defaults)) adoptDefaults(defaults, findings)
  return findings
}

function adoptProvider(
  provider: JsonObject,
  at: readonly PropertyKey[],
  context: OpenClawContext,
  findings: Finding[],
): void {
  const fail = (key: string, message: string) => findings.push(toFault([...at, ...key.split('.')], message))
  if (provider.auth === 'aws-sdk' || provider.auth === 'oauth')
    fail('auth', `"${provider.auth}" is not supported; only keys are`)
  delete provider.auth
  drop(provider, ['region', 'params', 'agentRuntime', 'injectNumCtxForOpenAICompat'], at, findings)
  adoptRequest(provider, at, findings)
  adoptSecrets(provider, at, context, findings)
  adoptLocalService(provider, at, context, findings)
  substitute(provider, 'baseUrl', at, context, findings)
  adoptOllama(provider, at, findings)
  if (provider.baseUrl === undefined || provider.baseUrl === '') {
    findings.push(toFault(at, 'has no baseUrl; OpenClaw may know the address, leasehold does not'))
    provider.baseUrl = NO_URL
  } else if (typeof provider.baseUrl === 'string') {
    const fault = toUrlFault(provider.baseUrl, false)
    if (fault !== undefined) {
      fail('baseUrl', fault)
      provider.baseUrl = NO_URL
    }
  }
  floor(provider, 'maxTokens')
  if (Array.isArray(provider.models)) adoptModels(provider, provider.models, at, findings)
}

/** Ollama answers OpenAI's dialect below `/v1`. OpenClaw speaks Ollama's own, and states the address without a path. */
function adoptOllama(provider: JsonObject, at: readonly PropertyKey[], findings: Finding[]): void {
  if (provider.api !== OLLAMA) return
  const { baseUrl = 'http://127.0.0.1:11434', models } = provider
  if (typeof baseUrl !== 'string') return
  provider.api = 'openai-completions'
  provider.baseUrl = `${baseUrl.replace(/\/+(v1\/*)?$/, '')}/v1`
  if (Array.isArray(models))
    for (const model of models) if (isJsonObject(model)) adoptOllamaModel(model, baseUrl)
  const message = `"${OLLAMA}" is read as "openai-completions" at ${provider.baseUrl}, which Ollama speaks too`
  findings.push(toWarning([...at, 'api'], message))
}

function adoptOllamaModel(model: JsonObject, baseUrl: string): void {
  if (model.api === OLLAMA) delete model.api
  if (model.baseUrl === baseUrl) delete model.baseUrl
}

/** `request` states headers and authentication in another way, and things that are not served: proxies and TLS. */
function adoptRequest(provider: JsonObject, at: readonly PropertyKey[], findings: Finding[]): void {
  const { request } = provider
  if (!isJsonObject(request)) return
  delete provider.request
  const { headers, auth, proxy, tls, allowPrivateNetwork: _, ...rest } = request
  const add = (more: JsonObject) => {
    provider.headers = { ...(isJsonObject(provider.headers) ? provider.headers : {}), ...more }
  }
  if (isJsonObject(headers)) add(headers)
  if (isJsonObject(auth)) {
    const { mode, token, headerName, value, prefix = '' } = auth
    if (mode === 'authorization-bearer') {
      provider.apiKey = token
      provider.authHeader = true
    } else if (mode === 'header' && typeof headerName === 'string') {
      // A prefix before a reference is put in when the reference is resolved.
      add({ [headerName]: isSecretRef(value) ? { ...value, prefix } : `${prefix}${value}` })
    }
  }
  if (proxy !== undefined) findings.push(toFault([...at, 'request', 'proxy'], 'proxies are not supported'))
  if (isJsonObject(tls) && Object.keys(tls).length > 0)
    findings.push(toFault([...at, 'request', 'tls'], 'options of TLS are not supported'))
  drop(rest, Object.keys(rest), [...at, 'request'], findings)
}

/** References become the text that they stand for; `"$NAME"` is short for `"${NAME}"`. */
function adoptSecrets(
  provider: JsonObject,
  at: readonly PropertyKey[],
  context: OpenClawContext,
  findings: Finding[],
): void {
  const resolve = (holder: JsonObject, key: string, path: readonly PropertyKey[]) => {
    const value = holder[key]
    if (typeof value === 'string') holder[key] = value.replace(/^\$([A-Z][A-Z0-9_]*)$/, '$${$1}')
    if (!isSecretRef(value)) return
    const secret = context.resolveSecret(value)
    if ('fault' in secret) {
      findings.push(toFault(path, secret.fault))
      delete holder[key]
    } else {
      const prefix = Reflect.get(value, 'prefix')
      holder[key] = `${typeof prefix === 'string' ? prefix : ''}${secret.text}`
    }
  }
  resolve(provider, 'apiKey', [...at, 'apiKey'])
  const { headers } = provider
  if (isJsonObject(headers))
    for (const name of Object.keys(headers)) resolve(headers, name, [...at, 'headers', name])
}

function adoptLocalService(
  provider: JsonObject,
  at: readonly PropertyKey[],
  context: OpenClawContext,
  findings: Finding[],
): void {
  const { localService } = provider
  if (!isJsonObject(localService)) return
  for (const key of ['command', 'cwd', 'healthUrl'])
    substitute(localService, key, [...at, 'localService'], context, findings)
}

function adoptModels(
  provider: JsonObject,
  models: readonly unknown[],
  at: readonly PropertyKey[],
  findings: Finding[],
): void {
  const kept = models.filter((model, index) => {
    if (!isJsonObject(model)) return true
    const path = [...at, 'models', index]
    const reason = findModelFault(model, provider)
    if (reason !== undefined) {
      findings.push(toWarning(path, `${reason}; the model ${JSON.stringify(model.id)} is left out`))
      return false
    }
    delete model.api
    delete model.baseUrl
    drop(model, ['thinkingLevelMap', 'mediaInput', 'agentRuntime', 'metadataSource'], path, findings)
    if (isJsonObject(model.cost)) drop(model.cost, ['tieredPricing'], [...path, 'cost'], findings)
    if (isJsonObject(model.compat) && !TOOL_PROFILES.has(model.compat.toolSchemaProfile))
      drop(model.compat, ['toolSchemaProfile'], [...path, 'compat'], findings)
    // OpenClaw's own bound of the context that is used: what clients are to go by.
    if (typeof model.contextTokens === 'number') model.contextWindow = model.contextTokens
    delete model.contextTokens
    floor(model, 'contextWindow')
    floor(model, 'maxTokens')
    return true
  })
  if (kept.length === 0 && models.length > 0)
    findings.push(toFault([...at, 'models'], 'none of its models can be served'))
  // Positions are those of the file as long as nothing is left out.
  if (kept.length < models.length) provider.models = kept
}

function findModelFault({ api, baseUrl }: JsonObject, provider: JsonObject): string | undefined {
  if (baseUrl !== undefined && baseUrl !== provider.baseUrl)
    return 'a baseUrl of its own is not supported; make it a provider'
  if (api !== undefined && api !== (provider.api ?? 'openai-completions'))
    return 'an api other than that of the provider is not supported; make it a provider'
  return undefined
}

function adoptDefaults(defaults: JsonObject, findings: Finding[]): void {
  const at = ['agents', 'defaults']
  const { model, models } = defaults
  if (isJsonObject(model) && model.primary === undefined) {
    const [primary, ...fallbacks] = Array.isArray(model.fallbacks) ? model.fallbacks : []
    if (primary === undefined) delete defaults.model
    else defaults.model = { primary, fallbacks }
  }
  if (!isJsonObject(models)) return
  for (const [ref, entry] of Object.entries(models)) {
    const path = [...at, 'models', ref]
    if (isJsonObject(entry)) drop(entry, ENTRY_KEYS, path, findings)
    if (!ref.endsWith('/*')) continue
    findings.push(toWarning(path, 'applies to every model in OpenClaw; here it has no effect'))
    delete models[ref]
  }
}

/** Removes keys that OpenClaw takes and that change nothing here. */
function drop(
  holder: JsonObject,
  keys: readonly string[],
  at: readonly PropertyKey[],
  findings: Finding[],
): void {
  for (const key of keys) {
    if (!Object.hasOwn(holder, key)) continue
    findings.push(toWarning([...at, key], 'is an option of OpenClaw and has no effect here'))
    delete holder[key]
  }
}

/** OpenClaw substitutes `${VAR}` in every text. */
function substitute(
  holder: JsonObject,
  key: string,
  at: readonly PropertyKey[],
  { env }: OpenClawContext,
  findings: Finding[],
): void {
  const value = holder[key]
  if (typeof value !== 'string') return
  const { text, missing } = substituteVariables(value, env)
  for (const name of missing) findings.push(toFault([...at, key], `\${${name}} is not set`))
  holder[key] = text
}

function floor(holder: JsonObject, key: string): void {
  const value = holder[key]
  if (typeof value === 'number' && value >= 1) holder[key] = Math.floor(value)
}

/** Something a provider cannot be used without. */
function toFault(path: readonly PropertyKey[], message: string): Finding {
  return { severity: 'error', path, message }
}

/** A key that is none of ours, nor a slip for one. */
function hasForeignKey(section: JsonObject, known: readonly string[]): boolean {
  return Object.keys(section).some((key) => {
    if (known.includes(key) || key === '$include') return false
    const nearest = findNearest(key, known)
    return nearest === undefined || !isNearMiss(key, nearest.edits)
  })
}

function hasKeysOfOpenClaw(models: unknown): boolean {
  if (!isJsonObject(models)) return false
  if (Object.hasOwn(models, 'catalogRefresh')) return true
  return listObjects(models.providers).some(
    (provider) =>
      PROVIDER_KEYS.some((key) => Object.hasOwn(provider, key)) ||
      isSecretRef(provider.apiKey) ||
      provider.api === OLLAMA ||
      OTHER_APIS.has(provider.api) ||
      listObjects(provider.headers, isSecretRef).length > 0 ||
      listObjects(provider.models).some(
        (model) =>
          MODEL_KEYS.some((key) => Object.hasOwn(model, key)) ||
          (isJsonObject(model.cost) && Object.hasOwn(model.cost, 'tieredPricing')),
      ),
  )
}

function hasReferencesOfOpenClaw(defaults: unknown, models: unknown): boolean {
  const providers = isJsonObject(models) && isJsonObject(models.providers) ? models.providers : {}
  const isBare = (id: string) =>
    KNOWN_PROVIDERS.has(id.toLowerCase()) && !Object.keys(providers).some((other) => isSameName(other, id))
  const isOverlay = ([id, provider]: [string, unknown]) =>
    KNOWN_PROVIDERS.has(id.toLowerCase()) &&
    isJsonObject(provider) &&
    !Object.hasOwn(provider, 'baseUrl') &&
    !isOfOurs(provider.localService) &&
    !hasPlaceholder(provider.localService)
  if (Object.entries(providers).some(isOverlay)) return true
  if (!isJsonObject(defaults)) return false
  const { model, models: entries } = defaults
  if (listObjects(entries).some((entry) => ENTRY_KEYS.some((key) => Object.hasOwn(entry, key)))) return true
  const { primary = model, fallbacks } = isJsonObject(model) ? model : {}
  const refs = [primary, ...(Array.isArray(fallbacks) ? fallbacks : []), ...Object.keys(Object(entries))]
  return refs.some((ref) => typeof ref === 'string' && isBare(ref.split('/')[0] ?? ''))
}

/** OpenClaw knows no engines, containers, units and daemons. */
function isOfOurs(service: unknown): boolean {
  return (
    isJsonObject(service) &&
    ['engine', 'container', 'unit', 'daemon'].some((key) => Object.hasOwn(service, key))
  )
}

function listObjects(
  value: unknown,
  isWanted: (item: JsonObject) => boolean = () => true,
): readonly JsonObject[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.values(value).filter((item) => isJsonObject(item) && isWanted(item))
}
