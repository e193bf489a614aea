import { isIP } from 'node:net'
import { z } from 'zod'
import { clusterSchema } from './cluster-schema.ts'
import { compatSchema } from './compat-schema.ts'
import { daemonSchema } from './daemon-schema.ts'
import { engines } from './engines.ts'
import {
  amounts,
  budgetName,
  durationMs,
  durationSeconds,
  headerName,
  httpUrl,
  jsonObject,
  MAX_AMOUNT,
  plainText,
  variableName,
  wholeNumber,
} from './fields.ts'
import { findNearest, isNearMiss } from './nearest.ts'
import { sleepSchema } from './sleep-schema.ts'

const MAX_COUNT = 1_000_000
const MAX_BODY_BYTES = 2_147_483_647
/** Every one of them is a service of its own; a request may try them all. */
const MAX_REPLICAS = 32
const MAX_TOKENS = 1_000_000_000

/** Without them there is no request, or another kind of answer than the client expects. */
const NEEDED_FIELDS: ReadonlySet<unknown> = new Set(['model', 'messages', 'prompt', 'input', 'stream'])

const headersSchema = z.record(headerName(), z.string())

/** The options of a container. */
const containerSchema = z
  .strictObject({
    engine: z.enum(['docker', 'podman']).default('docker').describe('Its program, searched in PATH.'),
    image: notOption('must name an image').describe('The image, as `run` takes it.'),
    args: z.array(plainText()).default([]).describe('Arguments for the program of the image.'),
    name: plainText()
      .optional()
      .describe(
        `Name of the container. Default: \`leasehold-\`, the id of the provider and \`\${GENERATION}\`, so that each run has a name of its own.`,
      ),
    port: wholeNumber('', 1, 65_535)
      .default(8080)
      .describe(
        'Port that the server listens on inside. It is published at the port of `baseUrl`, on loopback.',
      ),
    network: plainText()
      .optional()
      .describe(
        `Network of the container. With \`host\` nothing is published: the server has to listen on \`\${PORT}\`.`,
      ),
    gpus: plainText().optional().describe('GPUs for the container: `all`, or what the engine takes.'),
    volumes: z.array(plainText()).default([]).describe('Mounts, as `-v` takes them: `/models:/models:ro`.'),
    env: z
      .record(variableName(), plainText())
      .default({})
      .describe(
        'Variables inside the container. The client gets them in its environment, so that no argument shows them.',
      ),
    options: z.array(plainText()).default([]).describe('Further options of `run`, before the image.'),
  })
  .describe(
    'Runs the server in a container. It gives `command`, `args`, `external`, `stopCommand`, `statusCommand` and a `readyTimeoutMs` of 900000, because the image may have to be fetched. What is stated beside it wins.',
  )

const localServiceSchema = z
  .strictObject({
    engine: z
      .enum(Object.keys(engines), { error: ({ input }) => describeEngineFault(input) })
      .optional()
      .describe(
        `What kind of server this is: ${Object.keys(engines)
          .map((name) => `\`${name}\``)
          .join(
            ', ',
          )}. It gives \`command\` (searched in PATH and the usual places), \`args\`, \`healthUrl\`, limits, the compat flags of the models, and a model named like the provider where none is listed. What is stated beside it wins, and \`args\` are added. \`leasehold config print\` shows what it stands for.`,
      ),
    model: plainText()
      .optional()
      .describe(
        'With `engine`: the model that it loads. A path, from the folder of this file where it is relative, or a name that the engine knows.',
      ),
    context: wholeNumber('tokens', 1, MAX_TOKENS)
      .optional()
      .describe(
        'With `engine`: size of the context that it loads the model with, in tokens. Default: the largest `context` of the models, else that of the engine.',
      ),
    command: plainText()
      .optional()
      .describe(
        'Absolute path of the program. No shell, no search in PATH. Required without `engine` and `daemon`.',
      ),
    args: z
      .array(plainText())
      .default([])
      .describe(
        `Arguments, passed unchanged after \`\${VAR}\` is substituted. \`\${PORT}\`, here and in \`env\`, \`healthUrl\` and \`baseUrl\`: the port of \`baseUrl\`, or if that has none, one from \`leasehold.firstPort\` on.`,
      ),
    container: containerSchema.optional(),
    unit: z
      .union(
        [
          notOption('must name a unit'),
          z.strictObject({
            name: notOption('must name a unit').describe('The unit: `box.service`.'),
            system: z
              .boolean()
              .default(false)
              .describe("`true`: a unit of the system, not of this user's session."),
          }),
        ],
        { error: 'must be the name of a unit, or { name, system }' },
      )
      .optional()
      .describe(
        "A systemd unit that runs the server, of this user's session unless it is `{ name, system: true }`. It gives `command`, `stopCommand` and `statusCommand`. The unit should have `Restart=no`: otherwise systemd starts the server again after a crash, and after a stop that failed.",
      ),
    daemon: daemonSchema
      .optional()
      .describe(
        'The service is a model of a server that runs already, a daemon: its start loads the model, and its stop unloads it. With the `engine` of a daemon `{}` is enough: see [Models of a daemon](#models-of-a-daemon).',
      ),
    external: z
      .boolean()
      .default(false)
      .describe(
        '`true`: the server does not run below `command`, which may end while the server goes on: a container, a systemd unit. Needs `stopCommand`. Its port may belong to another process or user, and its memory is not measured: set `needs`.',
      ),
    stopCommand: stopCommandSchema().describe(
      `The command that ends the server, as \`[program, ...arguments]\`, or a list of commands that are run one after the other. Absolute path, no shell. It is run before SIGTERM, has \`stopGraceMs\` and 5 s, and is run again until the server is gone. \`\${PORT}\` is substituted, and \`\${GENERATION}\`, also in \`args\`: an id of this run, for the name of a container.`,
    ),
    statusCommand: argv()
      .optional()
      .describe(
        'The command that tells whether the server is there, as `[program, ...arguments]`. Exit 0 with output: it is there; exit 0 without output: it is gone; anything else, or more than 5 s: that cannot be told, and nothing is ended for it. Without it, the server counts as gone when nothing listens on its port.',
      ),
    cwd: plainText()
      .optional()
      .describe('Absolute path of the working directory. Default: that of the supervisor.'),
    env: z
      .record(variableName(), plainText())
      .default({})
      .describe(`Variables added to the environment of the process. \`\${VAR}\` is substituted.`),
    inheritEnv: z
      .array(variableName())
      .default([])
      .describe(
        'Names of further variables that the process may take from the environment of the supervisor.',
      ),
    healthUrl: httpUrl({ hasQuery: true })
      .optional()
      .describe('URL of the health check. Default: `baseUrl` followed by `/models`.'),
    readyTimeoutMs: durationMs(1)
      .prefault(120_000)
      .describe('Longest time from the start of the process until it is ready, in milliseconds.'),
    idleStopMs: durationMs(0)
      .prefault(0)
      .describe(
        'Time without a lease after which the service stops, in milliseconds. `0`: it runs until the supervisor ends.',
      ),
    sleep: sleepSchema
      .optional()
      .describe(
        'How the server gives its memory back without ending, and takes it again: see [Sleep](#sleep). Absent: it is stopped.',
      ),
    stopGraceMs: durationMs(0)
      .prefault(15_000)
      .describe(
        'Time between SIGTERM and SIGKILL, in milliseconds. It applies to the whole process tree: if a launcher exits first, the server that it started keeps the remaining time. After a crash of the first process the others are killed at once. `0` kills at once.',
      ),
    drainTimeoutMs: durationMs(0)
      .prefault(30_000)
      .describe('Longest time that a stop waits for open leases, in milliseconds. `0` does not wait.'),
    abandonStartMs: durationMs(0)
      .optional()
      .describe(
        'Time without a waiting request after which a start is abandoned, in milliseconds. Absent: never.',
      ),
    maxConcurrent: wholeNumber('', 1, MAX_COUNT)
      .default(1024)
      .describe('Leases held at the same time; further requests queue.'),
    maxQueue: wholeNumber('', 1, MAX_COUNT)
      .default(1000)
      .describe('Requests waiting for a lease; further ones are refused.'),
    maxQueueMs: durationMs(1)
      .optional()
      .describe(
        'Longest time a request waits for a lease, in milliseconds. Default: `readyTimeoutMs` + 300000.',
      ),
    needs: amounts()
      .optional()
      .describe(
        'Amount of each budget of `leasehold.budgets` that the service uses, from its spawn until all of its processes have ended. Absent: for `ramMiB` and `vramMiB` leasehold uses the peak of earlier runs; before the first successful run, or where use cannot be measured, it reserves the whole budget.',
      ),
    pinned: z
      .boolean()
      .default(false)
      .describe(
        '`true`: never evicted to make room for another. A request that only such services keep out is refused at once.',
      ),
    evictCost: wholeNumber('', 0, MAX_AMOUNT)
      .optional()
      .describe(
        'Cost of starting the service again: the idle service with the lowest cost is evicted first. Each eviction lowers the cost of services that were not used since. Costs within a quarter of each other count as equal: then the least recently used service is evicted. Default: its usual start time in milliseconds.',
      ),
    minResidencyMs: durationMs(0)
      .prefault(5000)
      .describe(
        'Time from its first use in which services that alternate with it cannot evict it, in milliseconds. A service that no other one alternates with is evicted as soon as it is idle.',
      ),
    maxStarveMs: durationMs(0)
      .prefault(30_000)
      .describe(
        'Longest time that its requests wait for room while other services are in use, in milliseconds. Afterwards those services take no new requests until this service has started.',
      ),
  })
  .describe('How to run the server behind the provider.')

/** The same options, each optional and without its default: what is absent is left to the provider. */
const serviceDefaultsSchema = z
  .strictObject(
    Object.fromEntries(
      Object.entries(localServiceSchema.shape).map(([name, option]) => [name, toOptional(option)]),
    ),
  )
  .optional()
  .describe(
    'Options that every `localService` takes over unless it states them itself; `env` is merged by name. A service with another `engine` or `command` takes over neither `args` nor `healthUrl`, `model`, `context`, `daemon` and `sleep`.',
  )

export const modelSchema = z
  .strictObject({
    id: z
      .string()
      .min(1, 'must not be empty')
      .describe('The name of the model. The server gets it as it is spelled, unless there is `upstreamId`.'),
    upstreamId: z
      .string()
      .min(1, 'must not be empty')
      .optional()
      .describe(
        'The name that the server knows the model by. Several entries may share one: names for one loaded model, each with its own `params`. Default: the id.',
      ),
    alias: z
      .union([aliasName(), z.array(aliasName())], { error: 'must be a name, or a list of names' })
      .optional()
      .describe('Another name for the model, or a list of names, compared without regard to case.'),
    unlisted: z
      .boolean()
      .default(false)
      .describe('`true`: it is not in the list of models, and answers when a request names it.'),
    name: z.string().optional().describe('Name for people. Default: the id.'),
    reasoning: z.boolean().default(false).describe('Whether the model can think before it answers.'),
    input: z
      .array(z.enum(['text', 'image', 'audio', 'video']))
      .default(['text'])
      .describe('Kinds of input that the model accepts.'),
    cost: z
      .strictObject({
        input: price('input tokens'),
        output: price('output tokens'),
        cacheRead: price('tokens read from the prompt cache'),
        cacheWrite: price('tokens written to the prompt cache'),
      })
      .prefault({})
      .describe('Prices per million tokens.'),
    contextWindow: wholeNumber('tokens', 1, MAX_TOKENS)
      .optional()
      .describe('Size of the context, in tokens. Default: what the running server states.'),
    context: wholeNumber('tokens', 1, MAX_TOKENS).optional().describe('Short for `contextWindow`.'),
    maxTokens: wholeNumber('tokens', 1, MAX_TOKENS)
      .optional()
      .describe(
        "Longest answer, in tokens. Default: the provider's maxTokens; never above the context window.",
      ),
    compat: compatSchema.default({}),
    headers: headersSchema.default({}).describe(`Headers added for this model. \`\${VAR}\` is substituted.`),
    params: jsonObject()
      .default({})
      .describe('Fields for the body of requests that do not have them; those in `extra_body` always win.'),
    dropParams: z
      .array(
        z
          .string()
          .min(1, 'must not be empty')
          .refine((name) => !NEEDED_FIELDS.has(name), {
            error: ({ input }) => `a request cannot be without "${input}"`,
          }),
      )
      .default([])
      .describe(
        'Fields that are removed from the body of requests before `params` are set: a field in both always has the value of `params`.',
      ),
  })
  .refine(({ context, contextWindow }) => context === undefined || contextWindow === undefined, {
    path: ['context'],
    error: 'is short for contextWindow; set one of them',
  })

const replicaSchema = z.strictObject({
  baseUrl: httpUrl({ hasQuery: false })
    .optional()
    .describe(`http(s) URL of this server. Default, where \`\${PORT}\` is used: as for the provider.`),
  apiKey: z.string().optional().describe("This server's key. Default: that of the provider."),
  headers: headersSchema.optional().describe('Headers of this server. Default: those of the provider.'),
  localService: z
    .strictObject({
      command: plainText().optional().describe("Absolute path of the program. Default: the provider's."),
      args: z.array(plainText()).optional().describe("All arguments. Default: the provider's."),
      cwd: plainText()
        .optional()
        .describe("Absolute path of the working directory. Default: the provider's."),
      env: z
        .record(variableName(), plainText())
        .optional()
        .describe("All variables added to the environment. Default: the provider's."),
      healthUrl: httpUrl({ hasQuery: true })
        .optional()
        .describe("Default: the provider's, at the host and port of this server."),
      stopCommand: stopCommandSchema().describe("Default: the provider's, with the port of this server."),
      statusCommand: argv().optional().describe("Default: the provider's, with the port of this server."),
      needs: amounts()
        .optional()
        .describe("Amount of each budget that this server uses. Default: the provider's."),
    })
    .optional()
    .describe(
      "How this server is run, where it differs from the provider's `localService`. Absent: leasehold does not run this server.",
    ),
})

const providerSchema = z.strictObject({
  baseUrl: httpUrl({ hasQuery: false })
    .optional()
    .describe(
      `http(s) URL of the server, for instance \`http://127.0.0.1:8080/v1\`. For \`anthropic-messages\` with or without the \`/v1\`. Default, where \`localService\` uses \`\${PORT}\`: \`http://127.0.0.1:\${PORT}/v1\`.`,
    ),
  apiKey: z
    .string()
    .optional()
    .describe(`The server's key. \`\${VAR}\` is substituted; \`$\${VAR}\` stands for itself.`),
  api: z
    .enum(['openai-completions', 'openai-responses', 'anthropic-messages'], {
      error: ({ input }) =>
        `${JSON.stringify(input) ?? 'undefined'} is not supported; use "openai-completions", "openai-responses" or "anthropic-messages"${input === 'ollama' ? ' (Ollama speaks the first one below /v1)' : ''}`,
    })
    .default('openai-completions')
    .describe('The dialect the server speaks.'),
  headers: headersSchema.default({}).describe(`Headers added to every request. \`\${VAR}\` is substituted.`),
  authHeader: z.boolean().default(false).describe('`true` forces the key into the `Authorization` header.'),
  timeoutSeconds: durationSeconds(1)
    .optional()
    .describe(
      'Longest time from dispatch to the end of the answer, in seconds. It never shortens a cold start. Absent: no limit.',
    ),
  maxTokens: wholeNumber('tokens', 1, MAX_TOKENS)
    .optional()
    .describe('Default of `maxTokens` for the models, in tokens.'),
  stallTimeoutMs: durationMs(0)
    .prefault(600_000)
    .describe(
      'Longest pause within an answer, in milliseconds; after it the answer is aborted. Counted from the first byte of the body, and only while the client reads. `0`: no limit.',
    ),
  localService: localServiceSchema.optional(),
  replicas: z
    .array(replicaSchema)
    .max(MAX_REPLICAS)
    .default([])
    .describe(
      'Further servers of the same models, on other ports or hosts. A request goes to the least busy server that is up. If a server fails before the first byte of its answer, the next one is tried.',
    ),
  models: z
    .array(modelSchema)
    .default([])
    .describe('The models. Empty: any model id is accepted and passed on.'),
})

const modelsSchema = z
  .strictObject({
    mode: z
      .enum(['merge', 'replace'])
      .default('merge')
      .describe('`merge` keeps the built-in providers, `replace` uses only those of the file.'),
    providers: z
      .record(
        z.string().regex(/^[^\s/]+$/, 'is not a provider id: no slash, no white space, not empty'),
        providerSchema,
      )
      .default({})
      .describe('Providers by id. Ids are compared without regard to case.'),
  })
  .describe('Providers and their models.')

const defaultModelSchema = z
  .union(
    [
      z.string(),
      z.strictObject({
        primary: z.string().describe('Reference of the model used when a request names none.'),
        fallbacks: z
          .array(z.string())
          .default([])
          .describe('References tried in order when the primary cannot answer.'),
      }),
    ],
    { error: 'must be a model reference, or { primary, fallbacks }' },
  )
  .describe('The model used when a request names none: a reference, or a primary with fallbacks.')

const modelEntriesSchema = z
  .record(
    z.string(),
    z.strictObject({
      alias: z
        .union([aliasName(), z.array(aliasName())], { error: 'must be a name, or a list of names' })
        .optional()
        .describe('Another name for the model, or a list of names, compared without regard to case.'),
      params: jsonObject()
        .default({})
        .describe('Defaults for the body of requests; `extra_body` is merged last.'),
    }),
  )
  .describe('Aliases and parameters by model reference.')

const leaseholdSchema = z
  .strictObject({
    host: z
      .string()
      .refine(isAddress, 'must be an IP address of this host, or localhost')
      .default('127.0.0.1')
      .describe('Address the gateway listens on. Beyond loopback only with `apiKeys`.'),
    port: wholeNumber('', 0, 65_535)
      .default(4141)
      .describe('Port the gateway listens on. `0`: any free port.'),
    firstPort: wholeNumber('', 1, 65_535)
      .default(15_800)
      .describe(
        `The first \`\${PORT}\`. Ports are assigned in the order of the providers and their replicas; a port that the file states is skipped. A new provider at the end changes no other port. Adding or removing a provider before others changes their ports, and a reload restarts them. A server that was not started for this provider is not used at such a port: the error names its process.`,
      ),
    defaults: serviceDefaultsSchema,
    listAliases: z
      .boolean()
      .default(false)
      .describe(
        '`true`: `GET /v1/models` lists each alias, too, for clients that offer only what is listed.',
      ),
    apiKeys: z
      .array(z.string().min(1, 'must not be empty'))
      .default([])
      .describe(
        `Keys that clients of the gateway must show. \`\${VAR}\` is substituted. Empty: no key is required.`,
      ),
    controlKeys: z
      .array(z.string().min(1, 'must not be empty'))
      .default([])
      .describe(
        'Keys for everything, including the control endpoints (`/api` and everything else outside `/v1`), which `apiKeys` then do not open. Empty: `apiKeys` open those, too.',
      ),
    allowedHosts: z
      .array(z.string().regex(/^([\w.-]+|\[[\da-fA-F:.]+\])(:\d{1,5})?$/, 'must be a name, or name:port'))
      .default([])
      .describe(
        'Additional `Host` headers that the gateway accepts, as clients send them: `name` (default port) or `name:port`.',
      ),
    allowedOrigins: z
      .array(
        z
          .string()
          .refine(
            isOrigin,
            'must be an origin: scheme://host or scheme://host:port; of an app also scheme://*, for instance vscode-webview://*',
          ),
      )
      .default([])
      .describe(
        'Origins of web pages and apps that may use the gateway: `https://chat.example`, `app://obsidian.md`, `vscode-webview://*`. Others are refused.',
      ),
    allowLinkLocal: z
      .boolean()
      .default(false)
      .describe(
        'Whether a provider may be at a link-local address (`169.254.0.0/16`, `fe80::/10`), where cloud hosts serve their credentials.',
      ),
    maxBodyBytes: wholeNumber('bytes', 1, MAX_BODY_BYTES)
      .default(64 * 1024 * 1024)
      .describe('Largest request body, in bytes.'),
    maxQueuedBytes: wholeNumber('bytes', 1, MAX_BODY_BYTES)
      .default(64 * 1024 * 1024)
      .describe(
        'Limit for the bodies of all requests that have no answer yet, in bytes; requests above it are refused. A single request is always accepted.',
      ),
    maxConnections: wholeNumber('', 1, MAX_COUNT)
      .default(2048)
      .describe('Limit of open connections; requests on further connections are refused.'),
    maxClientConnections: wholeNumber('', 1, MAX_COUNT)
      .default(256)
      .describe('Limit of open connections for each client address beyond loopback.'),
    writeStallMs: durationMs(1)
      .prefault(120_000)
      .describe('Time without reading its answer after which a client is disconnected, in milliseconds.'),
    maxConcurrentStarts: wholeNumber('', 1, MAX_COUNT)
      .default(2)
      .describe('Services that may start at the same time.'),
    budgets: z
      .record(budgetName(), wholeNumber('', 1, MAX_AMOUNT))
      .default({})
      .describe(
        'Resources that the services share, by name: `{ vramMiB: 24000, ramMiB: 64000 }`. The needs of all running services never exceed them.',
      ),
    groups: z
      .record(budgetName(), z.array(z.string()))
      .default({})
      .describe('Provider ids by group. Only one service of a group is up at a time.'),
    preload: z
      .array(z.string())
      .default([])
      .describe(
        'Ids of providers whose services are started at startup, in this order, as far as there is free room.',
      ),
    returnToDefaultMs: durationMs(0)
      .prefault(0)
      .describe(
        'Time without a request after which the service of the default model is started or woken again if another service started meanwhile, in milliseconds. A server that sleeps by itself is left asleep. `0`: never.',
      ),
    nvidiaSmi: plainText()
      .default('/usr/bin/nvidia-smi')
      .describe('Absolute path of `nvidia-smi`: it tells the GPUs, and the GPU memory of each process.'),
    backoffMs: durationMs(1)
      .prefault(1000)
      .describe(
        'Wait after the first failed start, in milliseconds. It doubles with each further one. Until the next start, requests get the same failure at once, so that a client that retries causes no start.',
      ),
    backoffMaxMs: durationMs(1)
      .prefault(60_000)
      .describe('Longest wait between two starts, in milliseconds.'),
    breakerFailures: wholeNumber('', 1, MAX_COUNT)
      .default(5)
      .describe(
        'Failures in a row after which requests are refused at once: failed starts, crashes, and stops of a server that hung without a lease.',
      ),
    breakerCooldownMs: durationMs(1)
      .prefault(30_000)
      .describe(
        'Time in which requests are refused, in milliseconds; afterwards one trial start is allowed.',
      ),
    stabilityMs: durationMs(0)
      .prefault(60_000)
      .describe('Time that a service must stay ready before its failure count is reset, in milliseconds.'),
    heartbeatMs: durationMs(1)
      .prefault(10_000)
      .describe('Time between two health probes of a ready service, in milliseconds.'),
    leaseWarnMs: durationMs(0)
      .prefault(3_600_000)
      .describe('Time after which a held lease is reported as `lease.overdue`, in milliseconds. `0`: never.'),
    maxLeaseMs: durationMs(0)
      .prefault(0)
      .describe(
        'Longest time that a lease may be held, in milliseconds; afterwards it is ended. `0`: no limit.',
      ),
    coldStartCommentsMs: durationMs(0)
      .prefault(5000)
      .describe(
        'Time before the first comment is sent to a stream that waits for its answer, in milliseconds; then a comment every 5 s tells the state, also when the answer pauses later. `0`: no comments.',
      ),
    captureBodies: z
      .boolean()
      .default(false)
      .describe(
        'Whether the live page shows what the last 50 requests sent and got: up to 64 KiB of each body and 16 KiB of its headers, in memory only, with secrets masked. Prompts and answers are in them.',
      ),
    cluster: clusterSchema.optional(),
  })
  .prefault({})
  .describe('Settings of leasehold itself.')

/** The sections of a configuration file that leasehold reads. Other sections belong to other programs and are ignored. */
export const configSchema = z.looseObject({
  models: modelsSchema.prefault({}),
  agents: z
    .looseObject({
      defaults: z
        .looseObject({ model: defaultModelSchema.optional(), models: modelEntriesSchema.default({}) })
        .prefault({})
        .describe('Of this section only `model` and `models` are read.'),
    })
    .prefault({})
    .describe('Of this section only `defaults` is read.'),
  leasehold: leaseholdSchema,
})

/** A whole file after validation, with every default in place, before references and `${VAR}` are resolved. */
export type ConfigValues = z.output<typeof configSchema>

/** What a configuration file holds, as an object. */
export type ConfigInput = z.input<typeof configSchema>

/** One provider as a file writes it. */
export type ProviderInput = z.input<typeof providerSchema>

/** One provider after validation. */
export type ProviderValues = z.output<typeof providerSchema>

/** One model after validation. */
export type ModelValues = z.output<typeof modelSchema>

/** One `localService` after validation. */
export type LocalServiceValues = z.output<typeof localServiceSchema>

/** The `leasehold` section after validation. */
export type LeaseholdValues = z.output<typeof leaseholdSchema>

/** The JSON Schema (draft 2020-12) of a configuration file, with every description and default. */
export function toJsonSchema(): z.core.JSONSchema.JSONSchema {
  return z.toJSONSchema(configSchema, { io: 'input', target: 'draft-2020-12' })
}

function toOptional(option: z.core.$ZodType): z.ZodType {
  const inner = option instanceof z.ZodDefault || option instanceof z.ZodPrefault ? option.unwrap() : option
  const { description = '' } = z.globalRegistry.get(option) ?? {}
  return z.optional(inner).describe(description)
}

function describeEngineFault(input: unknown): string {
  const name = typeof input === 'string' ? input : ''
  if (/^lm[-_ ]?studio$/i.test(name))
    return 'LM Studio runs its server itself: leave localService out, and set baseUrl to http://127.0.0.1:1234/v1'
  const nearest = findNearest(name.replaceAll(/[-_]/g, '.'), Object.keys(engines))
  const isNear = nearest !== undefined && isNearMiss(name, nearest.edits)
  return `${JSON.stringify(input) ?? 'undefined'} is not a known engine; ${isNear ? `the nearest is "${nearest.candidate}"` : `the engines are ${Object.keys(engines).join(', ')}`}`
}

/** A text that a program cannot take for one of its options. */
function notOption(message: string) {
  return plainText()
    .min(1, message)
    .regex(/^(?!-)/, 'must not begin with "-": that would be an option')
}

/** A program and its arguments. */
function argv() {
  return z.array(plainText()).min(1, 'must name a program')
}

function stopCommandSchema() {
  return z
    .union([argv(), z.array(argv()).min(1)], {
      error: 'must be a program with its arguments, or a list of such commands',
    })
    .transform((given) => (isCommandList(given) ? given : [given]))
    .optional()
}

function isCommandList(given: readonly (string | readonly string[])[]): given is readonly string[][] {
  return Array.isArray(given[0])
}

function aliasName() {
  return z.string().min(1, 'must not be empty')
}

function price(noun: string) {
  return z.number().nonnegative('must not be negative').default(0).describe(`Price of a million ${noun}.`)
}

function isAddress(host: string): boolean {
  return host === 'localhost' || isIP(host) !== 0
}

/**
 * Exactly what a browser would send: no path, no user, and a default port left out. Apps send schemes of their own, and
 * some of them a random host (VS Code) or one per installation (Firefox): `scheme://*` lists all hosts of such a scheme.
 */
function isOrigin(text: string): boolean {
  if (!/^[a-z][a-z\d+.-]*:\/\/(\*|[\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?$/i.test(text)) return false
  if (/^https?:/i.test(text))
    return !text.includes('*') && URL.canParse(text) && new URL(text).origin === text.toLowerCase()
  return !SHARED_SCHEMES.test(text)
}

/** Schemes that are no app's own: any page can send them, or none does. */
const SHARED_SCHEMES = /^(about|blob|data|file|ftp|javascript|wss?):/i
