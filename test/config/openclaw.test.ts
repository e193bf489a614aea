import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { loadConfig, parseConfig } from '../../src/config/load.ts'
import { resolveModel } from '../../src/config/model-ref.ts'
import { listSecretValues } from '../../src/config/secret-values.ts'
import { ConfigError } from '../../src/errors.ts'
import { catchProblems, toText } from './reports.ts'

const everyKey = fileURLToPath(new URL('fixtures/openclaw-every-key.json5', import.meta.url))
const env = {
  LLAMA_PORT: '8181',
  LLAMA_HOME: '/opt/llama',
  LLAMA_KEY: 'key-from-env',
  LISTED_KEY: 'second-secret',
}

/** Every key of OpenClaw's schema of `models` and of `agents.defaults.models`. */
const OPENCLAW_KEYS =
  `mode providers catalogRefresh enabled url baseUrl apiKey source provider id auth api maxTokens
  timeoutSeconds region injectNumCtxForOpenAICompat params agentRuntime localService headers authHeader request models
  command args cwd env healthUrl readyTimeoutMs idleStopMs mode token headerName value prefix proxy tls ca cert key
  passphrase serverName insecureSkipVerify allowPrivateNetwork name reasoning input cost output cacheRead cacheWrite
  tieredPricing range contextWindow contextTokens thinkingLevelMap off minimal low medium high xhigh max compat
  mediaInput image maxBytes maxPixels maxSidePx preferredSidePx tokenMode metadataSource supportsStore
  supportsPromptCacheKey supportsResponsesContinuation supportsDeveloperRole supportsReasoningEffort
  supportsTemperature supportsInstructions supportsUsageInStreaming supportsTools codeMode supportsStrictMode
  supportsJsonSchemaResponseFormat requiresStringContent strictMessageKeys visibleReasoningDetailTypes
  supportedReasoningEfforts reasoningEffortMap maxTokensField thinkingFormat requiresToolResultName
  requiresAssistantAfterToolResult requiresThinkingAsText requiresReasoningContentOnAssistantMessages
  toolSchemaProfile unsupportedToolSchemaKeywords toolCallArgumentsEncoding requiresOpenAiAnthropicToolPayload
  openRouterRouting vercelGatewayRouting zaiToolStream cacheControlFormat sendSessionAffinityHeaders
  sendSessionIdHeader supportsEagerToolInputStreaming supportsLongCacheRetention primary fallbacks alias pickerRuntimes
  streaming`.split(/\s+/)

describe('a file with every key of OpenClaw', () => {
  test('has every key', async () => {
    const text = await readFile(everyKey, 'utf8')
    const missing = OPENCLAW_KEYS.filter((key) => !new RegExp(`\\b${key}\\b['"]?:`).test(text))
    expect(missing).toEqual([])
  })

  test('loads, and what leasehold serves is used', async () => {
    const config = parseConfig(await readFile(everyKey, 'utf8'), { env })
    const find = (id: string) => config.providers.find((provider) => provider.id === id)
    expect(find('llama')).toMatchObject({
      baseUrl: 'http://127.0.0.1:8181/v1',
      apiKey: 'key-from-env',
      authHeader: true,
      timeoutMs: 300_000,
      headers: { 'X-Team': 'red', 'X-Token': 'second-secret', 'X-Extra': 'yes' },
      localService: {
        command: '/opt/llama/llama-server',
        args: ['--port', '8181'],
        healthUrl: 'http://127.0.0.1:8181/health',
      },
      models: [{ id: 'qwen', contextWindow: 65_536, maxTokens: 8192, params: { temperature: 0.5 } }],
    })
    expect(find('inline')?.apiKey).toBe('inline-secret')
    expect(find('bearer')).toMatchObject({ apiKey: 'plain-token-of-mine', authHeader: true })
    expect(find('header')?.headers).toEqual({ 'X-Api-Key': 'Key key-from-env' })
    expect(find('messages')?.api).toBe('anthropic-messages')
    expect(config.defaultModel).toEqual({ primary: 'llama/qwen', fallbacks: ['inline/any'] })
    expect(config.aliases).toEqual([{ alias: 'Qwen', ref: 'llama/qwen' }])
    expect(resolveModel(config, 'qwen').params).toEqual({ temperature: 0.5, top_p: 0.9 })
    for (const secret of ['key-from-env', 'inline-secret', 'second-secret', 'plain-token-of-mine'])
      expect(listSecretValues(config, {})).toContain(secret)
  })

  test('what is not served is a warning with its line, and a provider that depends on it is unavailable', async () => {
    const config = parseConfig(await readFile(everyKey, 'utf8'), { env })
    const unavailable = Object.fromEntries(
      config.providers.flatMap((one) => (one.unavailable === undefined ? [] : [[one.id, one.unavailable]])),
    )
    const apis = ['google', 'vertex', 'chatgpt', 'azure', 'pi', 'bedrock', 'copilot']
    for (const id of apis) expect(unavailable[id]).toMatch(/api: "[\w-]+" is not supported/)
    expect(unavailable).toMatchObject({
      openai: expect.stringContaining('has no baseUrl'),
      bedrock: expect.stringContaining('auth: "aws-sdk" is not supported'),
      copilot: expect.stringContaining('auth: "oauth" is not supported'),
      vault: expect.stringContaining('apiKey: secrets of the source "exec" are not read'),
      store: expect.stringContaining('apiKey: secrets of the source "store" are not read'),
      unlisted: expect.stringContaining('LLAMA_KEY is not in the allowlist'),
      proxied: 'request.proxy: proxies are not supported',
      tls: 'request.tls: options of TLS are not supported',
      relative: expect.stringContaining('localService.command: "llama-server" must be an absolute path'),
      'no-url': expect.stringContaining('baseUrl: is not a URL'),
      unserved: 'models: none of its models can be served',
    })
    expect(Object.keys(unavailable).length).toBe(apis.length + 9)
    // Ollama speaks our dialect as well, at another path.
    expect(config.providers.find(({ id }) => id === 'ollama')).toMatchObject({
      api: 'openai-completions',
      baseUrl: 'http://127.0.0.1:11434/v1',
      models: [{ id: 'qwen3:8b' }],
    })
    expect(config.problems.every(({ severity, line }) => severity === 'warning' && (line ?? 0) > 1)).toBe(
      true,
    )
    const paths = config.problems.map(({ path }) => path)
    expect(paths).toEqual(
      expect.arrayContaining([
        'models.catalogRefresh',
        'models.providers.llama.region',
        'models.providers.llama.params',
        'models.providers.llama.agentRuntime',
        'models.providers.llama.injectNumCtxForOpenAICompat',
        'models.providers.llama.models[0].thinkingLevelMap',
        'models.providers.llama.models[0].mediaInput',
        'models.providers.llama.models[0].cost.tieredPricing',
        'models.providers.llama.models[0].compat.toolSchemaProfile',
        'models.providers.llama.models[1]',
        'models.providers.llama.models[2]',
        'models.providers.future.quantumEntanglement',
        'models.providers.ollama.api',
        'agents.defaults.model.primary',
        'agents.defaults.model.fallbacks[0]',
        'agents.defaults.models["llama/qwen"].streaming',
        'agents.defaults.models["vllm/*"]',
      ]),
    )
  })
})

describe('whose file it is', () => {
  const odd = `p: { baseUrl: 'http://h', contextTokens: 5, whatIsThis: 1, models: [] }`

  test.each([
    ['a section of OpenClaw', toText(odd, 'channels: {}'), 'x.json5'],
    ['the name', toText(odd), 'openclaw.json'],
    ['the name of a copy', toText(odd), '/etc/openclaw.prod.json5'],
    ['agents of its own', toText(odd, 'agents: { list: [] }'), 'x.json5'],
    ['other defaults', toText(odd, `agents: { defaults: { workspace: '~' } }`), 'x.json5'],
    ['a key of a provider', toText(`${odd}, q: { baseUrl: 'http://i', auth: 'api-key' }`), 'x.json5'],
    [
      'a reference as a key',
      toText(`${odd}, q: { baseUrl: 'http://i', apiKey: { source: 'env', provider: 'default', id: 'X' } }`),
      'x.json5',
    ],
    [
      'a built-in default model',
      toText(odd, `agents: { defaults: { model: 'anthropic/claude' } }`),
      'x.json5',
    ],
    ['a built-in provider without baseUrl', toText(`${odd}, openai: { apiKey: 'x' }`), 'x.json5'],
    ['both kinds of sections', toText(odd, 'channels: {}, leasehold: { port: 1 }'), 'x.json5'],
  ])('is told by %s', (_, text, file) => {
    expect(parseConfig(text, { file }).providers[0]?.id).toBe('p')
  })

  test.each([
    ['nothing of OpenClaw', toText(odd), 'leasehold.json5'],
    [
      'a section of ours',
      toText(`p: { baseUrl: 'http://h', models: [{ id: 'm', contextTokens: 5 }] }`, 'leasehold: {}'),
      'x.json5',
    ],
    ['a misspelt section', toText(odd, 'leashold: {}, agents: { default: {} }'), 'x.json5'],
  ])('with %s stays strict', (_, text, file) => {
    expect(catchProblems(text, { file } as object).some(({ severity }) => severity === 'error')).toBe(true)
  })

  test('a misspelt key, and our own section, stay errors in a file of OpenClaw', () => {
    const channels = 'channels: {}'
    const slip = toText(
      `p: { baseUrl: 'http://127.0.0.1:1', localService: { command: '/x', idelStopMs: 1 } }`,
      channels,
    )
    expect(catchProblems(slip)).toMatchObject([{ path: 'models.providers.p.localService.idelStopMs' }])
    expect(catchProblems(`{ ${channels}, leasehold: { whatIsThis: 1 } }`)).toMatchObject([
      { severity: 'error', path: 'leasehold.whatIsThis' },
    ])
  })

  test('two services on one port leave the first one usable', () => {
    const service = (name: string) =>
      `${name}: { baseUrl: 'http://127.0.0.1:1/v1', localService: { command: '/${name}' } }`
    const { providers } = parseConfig(toText(`${service('a')}, ${service('b')}`, 'channels: {}'))
    expect(providers.map(({ unavailable }) => unavailable)).toEqual([
      undefined,
      expect.stringContaining('baseUrl: the services of "a" and "b" would both listen'),
    ])
  })
})

describe('files', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'leasehold-openclaw-'))
  })
  afterEach(() => rm(folder, { recursive: true }))
  const write = async (name: string, content: string, mode = 0o600) => {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await writeFile(join(folder, name), content, { mode })
    return join(folder, name)
  }
  const refuse = async (file: string) => {
    const error: unknown = await loadConfig(file).catch((reason: unknown) => reason)
    if (error instanceof ConfigError) return error.problems[0]
    throw new Error('a ConfigError was expected')
  }
  const provider = (port: number, rest = '') => `{ baseUrl: 'http://127.0.0.1:${port}/v1', ${rest} }`

  test('$include is resolved where it stands, merged in order, and overridden by the keys beside it', async () => {
    await write(
      'parts/a.json5',
      `{ p: ${provider(1, `models: [{ id: 'a' }]`)}, q: { $include: '../deep.json5' } }`,
    )
    await write('parts/b.json5', `{ p: ${provider(2, `models: [{ id: 'b' }], timeoutSeconds: 5`)} }`)
    await write('deep.json5', provider(3, `models: { $include: './list.json5' }`))
    await write('list.json5', `[{ id: 'c' }]`)
    const file = await write(
      'main.json5',
      `{
        models: { providers: { $include: ['./parts/a.json5', 'parts/b.json5'], p: { timeoutSeconds: 7 } } },
        channels: { $include: './not-there.json5' },
      }`,
    )
    const { providers } = await loadConfig(file)
    expect(providers).toMatchObject([
      { id: 'p', baseUrl: 'http://127.0.0.1:2/v1', timeoutMs: 7000, models: [{ id: 'a' }, { id: 'b' }] },
      { id: 'q', baseUrl: 'http://127.0.0.1:3/v1', models: [{ id: 'c' }] },
    ])
  })

  test('a whole file can be included beside sections of ours', async () => {
    await write(
      'openclaw.json',
      `{ "channels": {}, "models": { "providers": { "p": ${provider(1).replaceAll("'", '"').replace('baseUrl', '"baseUrl"').replace(', }', '}')} } } }`,
    )
    const file = await write('leasehold.json5', `{ $include: './openclaw.json', leasehold: { port: 5000 } }`)
    const config = await loadConfig(file)
    expect([config.providers[0]?.id, config.leasehold.port]).toEqual(['p', 5000])
  })

  test('a problem inside an included file names that file and its line', async () => {
    const part = await write('part.json5', `{\n  p: { baseUrl: 'http://h',\n    modles: [] } }`)
    const file = await write('main.json5', `{ models: { providers: { $include: './part.json5' } } }`)
    expect(await refuse(file)).toMatchObject({
      file: part,
      line: 3,
      column: 5,
      path: 'models.providers.p.modles',
    })
  })

  test.each([
    ['../outside.json5', 'is outside the folder'],
    ['/etc/passwd', 'is outside the folder'],
    ['./none.json5', 'there is no such file'],
    ['./link.json5', 'is a link to outside the folder'],
    ['./main.json5', 'includes itself'],
    ['./cycle-a.json5', 'includes itself'],
    ['./broken.json5', 'not valid JSON5'],
    ['./writable.json5', 'can be written by every user'],
    ['./deep-0.json5', 'more than 10 levels deep'],
    ['./wide-0.json5', 'more than 64 files are included'],
    ['', 'is not a path'],
  ])('$include of %j is refused', async (path, message) => {
    await symlink('/etc/hostname', join(folder, 'link.json5'))
    await write('cycle-a.json5', `{ $include: './cycle-b.json5' }`)
    await write('cycle-b.json5', `{ $include: './cycle-a.json5' }`)
    await write('broken.json5', '{ a: ')
    await chmod(await write('writable.json5', '{}'), 0o666)
    for (let index = 0; index < 12; index++) {
      await write(`deep-${index}.json5`, index < 11 ? `{ $include: './deep-${index + 1}.json5' }` : '{}')
      const next = `'./wide-${index + 1}.json5'`
      await write(`wide-${index}.json5`, index < 7 ? `{ $include: [${next}, ${next}] }` : '{}')
    }
    const file = await write('main.json5', `{ models: { providers: { $include: ${JSON.stringify(path)} } } }`)
    expect(await refuse(file)).toMatchObject({
      severity: 'error',
      path: 'models.providers.$include',
      message: expect.stringContaining(message),
      line: 1,
    })
  })

  test('$include in a text without a folder is an error', () => {
    expect(catchProblems(`{ models: { $include: './x.json5' } }`)).toMatchObject([
      { path: 'models.$include' },
    ])
  })

  test('secrets in files are read when only their owner can read them', async () => {
    const json = await write(
      'secrets.json',
      JSON.stringify({ a: { 'b/c': 'pointed-secret' }, dollar: `\${HOME}x` }),
    )
    const single = await write('single.txt', 'single-secret\n')
    const open = await write('open.json', '{"k": "seen-by-all"}', 0o644)
    await chmod(open, 0o644)
    await symlink(json, join(folder, 'link.json'))
    const ref = (name: string, id: string) => `{ source: 'file', provider: '${name}', id: '${id}' }`
    const keys: Record<string, string> = {
      pointed: ref('json', '/a/b~1c'),
      literal: ref('json', '/dollar'),
      single: ref('single', 'value'),
      absent: ref('json', '/a/none'),
      open: ref('open', '/k'),
      linked: ref('linked', '/dollar'),
      unknown: ref('nowhere', '/k'),
    }
    const providers = Object.entries(keys).map(
      ([id, key]) => `${id}: { baseUrl: 'http://127.0.0.1:1/v1', apiKey: ${key} }`,
    )
    const file = await write(
      'openclaw.json',
      `{ secrets: { providers: {
          json: { source: 'file', path: '${json}' }, open: { source: 'file', path: '~/open.json' },
          single: { source: 'file', path: '${single}', mode: 'singleValue' },
          linked: { source: 'file', path: '${join(folder, 'link.json')}' },
        } }, models: { providers: { ${providers.join(', ')} } } }`,
    )
    const told = new Set<string>()
    const config = await loadConfig(file, { env: { HOME: folder }, onFile: (one) => told.add(one) })
    expect(told).toEqual(new Set([json, single, open, join(folder, 'link.json')]))
    const outcome = config.providers.map(({ id, apiKey, unavailable }) => [id, unavailable ?? apiKey])
    expect(Object.fromEntries(outcome)).toEqual({
      pointed: 'pointed-secret',
      literal: `\${HOME}x`,
      single: 'single-secret',
      absent: 'apiKey: the file of secrets has no text at /a/none',
      open: `apiKey: ${open} can be read by other users (chmod 600)`,
      linked: expect.stringContaining('are not in a regular file'),
      unknown: 'apiKey: secrets.providers has no file "nowhere"',
    })
    expect(JSON.stringify(config.problems)).not.toMatch(/pointed-secret|single-secret|seen-by-all/)
  })
})
