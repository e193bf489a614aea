import { createHash } from 'node:crypto'
import type { LocalServiceConfig, ModelConfig, ProviderConfig } from './config.ts'
import { MAX_DURATION_MS } from './fields.ts'
import { type Finding, toWarning } from './finding.ts'
import type { LocalServiceValues, ModelValues, ProviderValues } from './schema.ts'
import { type Environment, substituteVariables } from './secrets.ts'

const DEFAULT_MAX_TOKENS = 8192
const QUEUE_BEYOND_READY_MS = 300_000

/**
 * Completes one provider: `${VAR}` is substituted, URLs are normalised, dependent defaults are filled in. A missing
 * variable, or a value that no header can carry, is a warning and makes this provider unavailable.
 */
export function toProvider(
  id: string,
  values: ProviderValues,
  env: Environment,
): { provider: ProviderConfig; findings: readonly Finding[] } {
  const at = ['models', 'providers', id]
  const faults: { path: readonly PropertyKey[]; message: string }[] = []
  const substitute = (text: string, path: readonly PropertyKey[]) => {
    const { text: result, isSubstituted, missing } = substituteVariables(text, env)
    for (const name of missing) faults.push({ path, message: `\${${name}} is not set` })
    return { result, isSubstituted }
  }
  const toHeader = (text: string, path: readonly PropertyKey[]) => {
    const { result } = substitute(text, path)
    if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(result)) {
      faults.push({ path, message: `${String(path.at(-1))} holds a character that no HTTP header can carry` })
    }
    return result
  }

  const { apiKey, timeoutSeconds, localService, models, ...rest } = values
  const baseUrl = toBaseUrl(values.baseUrl)
  const complete: ProviderConfig = {
    ...rest,
    id,
    baseUrl,
    ...(apiKey ? { apiKey: toHeader(apiKey, [...at, 'apiKey']) } : {}),
    headers: mapValues(values.headers, (text, name) => toHeader(text, [...at, 'headers', name])),
    ...(timeoutSeconds === undefined ? {} : { timeoutMs: timeoutSeconds * 1000 }),
    ...(localService === undefined
      ? {}
      : { localService: toLocalService(localService, baseUrl, [...at, 'localService'], substitute) }),
    models: models.map((model, index) => {
      const headers = mapValues(model.headers, (text, name) =>
        toHeader(text, [...at, 'models', index, 'headers', name]),
      )
      return toModel({ ...model, headers }, values.maxTokens)
    }),
  }
  const findings = faults.map(({ path, message }) =>
    toWarning(path, `${message}; provider "${id}" is unavailable`),
  )
  const reasons = [...new Set(faults.map(({ message }) => message))]
  return {
    provider: faults.length === 0 ? complete : { ...complete, unavailable: reasons.join('; ') },
    findings,
  }
}

function toLocalService(
  values: LocalServiceValues,
  baseUrl: string,
  at: readonly PropertyKey[],
  substitute: (text: string, path: readonly PropertyKey[]) => { result: string; isSubstituted: boolean },
): LocalServiceConfig {
  const args = values.args.map((text, index) => substitute(text, [...at, 'args', index]))
  const complete = {
    ...values,
    args: args.map(({ result }) => result),
    env: mapValues(values.env, (text, name) => substitute(text, [...at, 'env', name]).result),
    healthUrl: values.healthUrl === undefined ? `${baseUrl}/models` : new URL(values.healthUrl).href,
    maxQueueMs: values.maxQueueMs ?? Math.min(values.readyTimeoutMs + QUEUE_BEYOND_READY_MS, MAX_DURATION_MS),
    secretArgs: args.flatMap(({ isSubstituted }, index) => (isSubstituted ? [index] : [])),
  }
  return { ...complete, key: toServiceHash(complete) }
}

function toModel(model: ModelValues, providerMaxTokens = DEFAULT_MAX_TOKENS): ModelConfig {
  return {
    ...model,
    name: model.name ?? model.id,
    maxTokens: Math.min(model.maxTokens ?? providerMaxTokens, model.contextWindow),
  }
}

/** Hashed, because the key is shown and `env` may hold secrets. */
function toServiceHash({ command, args, cwd, env, healthUrl }: Omit<LocalServiceConfig, 'key'>): string {
  const variables = Object.entries(env).sort(([a], [b]) => (a < b ? -1 : 1))
  return createHash('sha256')
    .update(JSON.stringify([command, args, cwd ?? null, variables, healthUrl]))
    .digest('hex')
}

function toBaseUrl(text: string): string {
  const { origin, pathname } = new URL(text)
  return origin + pathname.replace(/\/+$/, '')
}

function mapValues(
  record: Readonly<Record<string, string>>,
  convert: (text: string, name: string) => string,
): Record<string, string> {
  return Object.fromEntries(Object.entries(record).map(([name, text]) => [name, convert(text, name)]))
}
