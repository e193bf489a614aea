import { LEAST_LENGTH } from '../text/scrubber.ts'
import type { Config, LocalServiceConfig, ProviderConfig } from './config.ts'
import { isPlaceholder } from './file-mode.ts'
import type { Environment } from './secrets.ts'

/** Headers whose values are no secret and occur in harmless texts. */
const PUBLIC_HEADER =
  /^(accept(-\w+)?|connection|content-type|user-agent|http-referer|x-title|anthropic-(version|beta)|openai-(beta|organization|project))$/i
/** Values of variables that only say where something is, or how much: paths, numbers, addresses. */
const PLAIN_VALUE = /^(~?\.{0,2}\/\S*|[\d.,:x-]+|https?:\/\/[^\s@?]*)$/i
const SECRET_NAME = /(^|_)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)/i
const SECRET_HEADER =
  /(^|[-_])(auth(entication|orization)?|dpop|cookie2?|(api)?-?key|token|jwt|assertion|signature|proof|secret|passw(or)?d|credentials?)([-_]|$)/i

/**
 * Every value of a configuration that must not be shown: keys, header values, what is set in the environment of
 * processes or taken from ours by name, arguments that came from it, and queries of health URLs; of a value that
 * holds several words, each word too. What is also the name of something (`apiKey: "lm-studio"` of the provider
 * `lm-studio`) is no secret, and without it nothing could be named.
 */
export function listSecretValues(config: Config, env: Environment): string[] {
  const { apiKeys, controlKeys, cluster } = config.leasehold
  const values = [
    ...apiKeys,
    ...controlKeys,
    cluster?.secret ?? '',
    ...config.providers.flatMap((provider) => [
      provider.apiKey ?? '',
      ...listHeaderValues(provider.headers),
      ...provider.models.flatMap(({ headers }) => listHeaderValues(headers)),
      ...(provider.localService === undefined ? [] : listServiceValues(provider.localService, env)),
    ]),
  ]
  const names = listNames(config)
  return [...new Set(values.flatMap(toWords))].filter(
    (value) => !UNSET.test(value) && !names.some((name) => name.includes(value.toLowerCase())),
  )
}

/**
 * The secrets that one provider's server was given and may quote in an answer: its key, headers, arguments and variables
 * that are secret by their name. The rest of {@link listSecretValues} is left out, since a model's text may hold it:
 * placeholders, paths, and short values that may be a word or a number.
 */
export function listAnswerSecrets(config: Config, provider: ProviderConfig, env: Environment): string[] {
  const { localService: service } = provider
  const headers = [provider.headers, ...provider.models.map((model) => model.headers)].flatMap(Object.entries)
  const variables = [
    ...Object.entries(service?.env ?? {}),
    ...(service?.inheritEnv ?? []).map((name) => [name, env[name] ?? ''] as const),
  ]
  const values = [
    provider.apiKey ?? '',
    ...headers.flatMap(([name, value]) => (isSecretHeader(name) ? [value] : [])),
    ...variables.flatMap(([name, value]) =>
      SECRET_NAME.test(name) && !PLAIN_VALUE.test(value) ? [value] : [],
    ),
    ...listSecretArgs(service?.args ?? []),
  ]
  const names = listNames(config)
  return [...new Set(values.flatMap(toWords))].filter(
    (value) =>
      value.length >= LEAST_LENGTH &&
      !isPlaceholder(value) &&
      !COMMON_VALUE.test(value) &&
      !names.some((name) => name.includes(value.toLowerCase())),
  )
}

/** Whether a header, or a parameter of a query, holds a credential, by its name. */
export function isSecretHeader(name: string): boolean {
  return SECRET_HEADER.test(name)
}

/** A variable that is not set stays as it is written, because its name is shown. */
const UNSET = /^\$\{\w+\}$/
/** What may be a word of a language, or a number. */
const COMMON_VALUE = /^(?:[a-z]{1,15}|\d{1,15})$/i

function listHeaderValues(headers: ProviderConfig['headers']): string[] {
  return Object.entries(headers).flatMap(([name, value]) => (PUBLIC_HEADER.test(name) ? [] : [value]))
}

function listServiceValues(service: LocalServiceConfig, host: Environment): string[] {
  const named = service.inheritEnv.flatMap((name) => {
    const value = host[name]
    return value === undefined ? [] : [[name, value] as const]
  })
  return [
    ...[...Object.entries(service.env), ...named].flatMap(([name, value]) =>
      isPlainVariable(name, value) ? [] : [value],
    ),
    ...service.secretArgs.map((index) => service.args[index] ?? ''),
    ...listSecretArgs(service.args),
    ...new URL(service.healthUrl).searchParams.values(),
    ...[...listSleepHeaders(service), ...listDaemonHeaders(service)].flatMap(listHeaderValues),
  ]
}

function listSleepHeaders({ sleep }: LocalServiceConfig): readonly Readonly<Record<string, string>>[] {
  return sleep === undefined
    ? []
    : [...sleep.request, ...sleep.wake, sleep.check].map(({ headers }) => headers)
}

function listDaemonHeaders({ daemon }: LocalServiceConfig): readonly Readonly<Record<string, string>>[] {
  return daemon === undefined
    ? []
    : [...daemon.load, ...daemon.unload, daemon.loaded].map(({ headers }) => headers)
}

/** Whether a variable of a process is none that could be a secret: by its name, and by what it holds. */
export function isPlainVariable(name: string, value: string): boolean {
  return !SECRET_NAME.test(name) && PLAIN_VALUE.test(value)
}

/** Flags whose value is a secret. `--eos-token` and `--max-tokens` are none, `--api-key-file` names a file. */
const SECRET_FLAG = String.raw`--?(?:[\w-]*[-_])?(?:api[-_]?key|secret|password|passwd|credentials?)|--?(?:(?:hf|hub|huggingface|auth|access|api|bearer|admin)[-_])?token`
const FLAG_ALONE = new RegExp(`^(?:${SECRET_FLAG})$`, 'i')
/** In one argument, which may be a whole command line of a shell. */
const FLAG_WITH_VALUE = new RegExp(
  `(?:^|\\s)(?:${SECRET_FLAG})(?:=|\\s+)["']?([^\\s"']+)|\\bbearer\\s+([^\\s"']+)`,
  'gi',
)

/** Whether the argument at this place is the value of a secret flag before it. */
export function isSecretArg(args: readonly string[], index: number): boolean {
  return FLAG_ALONE.test(args[index - 1] ?? '')
}

/** Secrets that stand in arguments as they are: `--api-key KEY`, `--api-key=KEY`, `sh -c "server --token KEY"`. */
function listSecretArgs(args: readonly string[]): string[] {
  return args.flatMap((arg, index) => [
    ...(isSecretArg(args, index) ? [arg] : []),
    ...[...arg.matchAll(FLAG_WITH_VALUE)].map(([, value, bearer]) => value ?? bearer ?? ''),
  ])
}

/** The value, and its parts: `Bearer KEY`, `--api-key=KEY`. */
function toWords(value: string): string[] {
  return [value, ...value.split(/[\s=,;]+/).filter((word) => !word.startsWith('-'))]
}

function listNames({ providers, aliases }: Config): string[] {
  return [
    ...providers.flatMap(({ id, models }) => [id, ...models.flatMap((model) => [model.id, model.name])]),
    ...aliases.map(({ alias }) => alias),
  ].map((name) => name.toLowerCase())
}
