import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdtempSync } from 'node:fs'
import { chmod, chown, lchown, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type ConfigOptions, loadConfig, parseConfig } from '../../src/config/load.ts'
import { resolveModel } from '../../src/config/model-ref.ts'
import { ConfigError } from '../../src/errors.ts'
import { catchConfigError, catchProblems, toText } from './reports.ts'

describe('files as OpenClaw writes them', () => {
  test('a provider without a localService loads without a warning', async () => {
    const config = await loadConfig(toFixture('served-elsewhere.json5'))
    expect(config.problems).toEqual([])
    expect(config.providers).toMatchObject([
      {
        id: 'inferrs',
        baseUrl: 'http://127.0.0.1:8080/v1',
        apiKey: 'inferrs-local',
        models: [{ maxTokens: 4096 }],
      },
    ])
    expect(config.providers[0]?.localService).toBeUndefined()
    expect(config.defaultModel).toEqual({ primary: 'inferrs/google/gemma-4-E2B-it', fallbacks: [] })
    expect(resolveModel(config, 'gemma 4 (INFERRS)').ref).toBe('inferrs/google/gemma-4-E2B-it')
  })

  test('a program that is not on this host makes its provider unavailable and is a warning', async () => {
    const config = await loadConfig(toFixture('on-demand.json5'))
    expect(config.providers.map(({ id, unavailable }) => [id, unavailable])).toEqual([
      ['local', 'the program /absolute/path/to/server does not exist or cannot be reached'],
      ['ds4', 'the program /Users/you/Projects/oss/ds4/ds4-server does not exist or cannot be reached'],
    ])
    expect(config.problems).toMatchObject([
      { severity: 'warning', path: 'models.providers.local.localService.command', line: 11, column: 11 },
      { severity: 'warning', path: 'models.providers.ds4.localService.command', line: 25, column: 11 },
    ])
    expect(config.providers[0]).toMatchObject({ timeoutMs: 300_000 })
    expect(config.providers[1]?.localService?.healthUrl).toBe('http://127.0.0.1:18000/v1/models')
  })

  test('sections that are not ours are listed and not read', async () => {
    const config = await loadConfig(toFixture('openclaw.json5'))
    expect(config.ignoredSections).toEqual([
      'meta',
      'channels',
      'gateway',
      'tools',
      'agents.list',
      'agents.defaults.workspace',
    ])
    expect(config.problems).toEqual([])
    expect(config.providers[0]?.baseUrl).toBe('http://127.0.0.1:9000/v1')
    expect(config.defaultModel?.primary).toBe('qwen/qwen3')
  })

  test('a section that looks like a slip for one of ours gives a warning', () => {
    const { problems } = parseConfig('{ leashold: {}, agents: { defaults: { modle: 1 } } }')
    expect(problems).toMatchObject([
      { severity: 'warning', path: 'leashold', message: 'is ignored; did you mean "leasehold"?' },
      { severity: 'warning', path: 'agents.defaults.modle', message: 'is ignored; did you mean "model"?' },
    ])
  })

  test('providers that stand outside of models give a warning', () => {
    const message = 'is ignored; did you mean "models.providers"?'
    expect(parseConfig('{ providers: { p: {} } }').problems).toMatchObject([
      { severity: 'warning', path: 'providers', message },
    ])
    expect(parseConfig('{ providers: {}, models: { providers: {} } }').problems).toEqual([])
  })
})

describe('files that cannot be used', () => {
  let directory: string
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'leasehold-config-'))
  })
  afterEach(() => rm(directory, { recursive: true }))

  const write = async (content: string | Uint8Array) => {
    const file = join(directory, 'config.json5')
    await writeFile(file, content)
    return file
  }

  test('a missing file is an error with its cause', async () => {
    const missing = await catchLoadError(join(directory, 'none.json5'))
    expect(missing.message).toContain('there is no such file')
    expect(missing.cause).toMatchObject({ code: 'ENOENT' })
  })

  test('what is not a regular file is refused without reading it', async () => {
    // Like /tmp: who may write to it is not what is wrong with it.
    await chmod(directory, 0o777)
    expect((await catchLoadError(directory)).message).toContain('this is a directory, not a file')
    expect((await catchLoadError('/dev/zero')).message).toContain('this is a pipe or a device, not a file')
    const pipe = join(directory, 'pipe')
    expect(spawnSync('mkfifo', ['-m', '600', pipe]).status).toBe(0)
    expect((await catchLoadError(pipe)).message).toContain('this is a pipe or a device, not a file')
  })

  test.each(['{}', '{ models: { providers: {} } }', '{ leasehold: { port: 4000 } }'])(
    '%s serves nothing, which is a warning',
    async (text) => {
      const warning = 'names no provider, so no model is served'
      expect((await loadConfig(await write(text))).problems).toMatchObject([
        { severity: 'warning', path: 'models.providers', message: warning },
      ])
    },
  )

  test('a file may have the largest size and not one byte more', async () => {
    const limit = 1024 * 1024
    await expect(loadConfig(await write('{}'.padEnd(limit)))).resolves.toBeDefined()
    const error = await catchLoadError(await write('{}'.padEnd(limit + 1)))
    expect(error.message).toContain('larger than the limit of 1048576 bytes')
  })

  test.each([
    [`{ leasehold: { apiKeys: ['my-gateway-key'] } }`, 'leasehold.apiKeys[0]'],
    [toText(`p: { baseUrl: 'http://h', apiKey: 'sk-1234567890' }`), 'models.providers.p.apiKey'],
    [`{ leasehold: { defaults: { env: { HF_TOKEN: 'hf_abc' } } } }`, 'leasehold.defaults.env.HF_TOKEN'],
    [
      toText(`p: { baseUrl: 'http://h', headers: { 'X-Api-Key': 'abc' } }`),
      'models.providers.p.headers["X-Api-Key"]',
    ],
    [toText(toService({ args: ['--api-key', 'sk-1'] })), 'models.providers.p.localService.args[1]'],
    [toText(toService({ args: ['--api-key=sk-1'] })), 'models.providers.p.localService.args[0]'],
    [toText(toService({ env: { HF_TOKEN: 'hf_abc' } })), 'models.providers.p.localService.env.HF_TOKEN'],
  ])('a key in plain text in a file that others can read is a warning: %s', async (text, path) => {
    const file = await write(text)
    const warningsOf = async (mode: number) => {
      await chmod(file, mode)
      const { problems } = await loadConfig(file)
      return problems.filter(({ message }) => message.includes('in plain text')).map((one) => one.path)
    }
    expect(await warningsOf(0o644)).toEqual([path])
    expect(await warningsOf(0o600)).toEqual([])
  })

  test.each([
    toText(`p: { baseUrl: 'http://h', apiKey: '\${HOME}' }`),
    toText(
      `p: { baseUrl: 'http://h', apiKey: 'lm-studio' }, q: { baseUrl: 'http://i', apiKey: 'inferrs-local' }`,
    ),
    toText(toService({ args: ['--api-key-file', '/run/key'], env: { HF_TOKEN_PATH: '/run/key' } })),
    toText(toService({ args: ['--long-prefill-token-threshold', '2048', '--key-length=64'] })),
  ])('a file without a key in plain text may be readable: %s', async (text) => {
    const file = await write(text)
    await chmod(file, 0o644)
    const { problems } = await loadConfig(file)
    expect(problems.filter(({ message }) => message.includes('in plain text'))).toEqual([])
  })

  test('a file, or a directory, that others can write to is refused (fault 97)', async () => {
    const file = await write('{}')
    await chmod(file, 0o666)
    expect((await catchLoadError(file)).message).toContain('this file can be written by every user')
    await chmod(file, 0o600)
    await chmod(directory, 0o777)
    expect((await catchLoadError(file)).message).toContain(`its directory ${directory} can be written`)
    const elsewhere = await mkdtemp(join(tmpdir(), 'leasehold-link-'))
    await symlink(file, join(elsewhere, 'link.json5'))
    expect((await catchLoadError(join(elsewhere, 'link.json5'))).message).toContain(
      `the directory ${directory}`,
    )
    await rm(elsewhere, { recursive: true })
    await chmod(directory, 0o1777)
    await expect(loadConfig(file)).resolves.toBeDefined()
  })

  test.skipIf(process.getuid?.() !== 0)(
    'a file of another user, a link of another user, and a group that may write are refused (fault 97)',
    async () => {
      const file = await write('{}')
      const link = join(directory, 'link.json5')
      await symlink(file, link)
      await lchown(link, 4711, 4711)
      expect((await catchLoadError(link)).message).toContain('the link belongs to another user (uid 4711')
      await lchown(link, 0, 0)
      await expect(loadConfig(link)).resolves.toBeDefined()
      await chown(file, 4711, 0)
      expect((await catchLoadError(file)).message).toContain('this file belongs to another user')
      expect((await catchLoadError(link)).message).toContain('this file belongs to another user')
      await chown(file, 0, 4711)
      await expect(loadConfig(file)).resolves.toBeDefined()
      await chmod(file, 0o660)
      expect((await catchLoadError(file)).message).toContain('its group (gid 4711; chmod g-w)')
      await chown(file, 0, 0)
      await chown(directory, 4711, 0)
      expect((await catchLoadError(file)).message).toContain('its directory')
    },
  )

  test('a key that reaches the prototype, or half a file, changes nothing and is told with its place (fault 93)', async () => {
    const before = Object.getOwnPropertyNames(Object.prototype)
    for (const text of [
      `{ leasehold: { ['__proto__']: 1 } }`,
      '{ leasehold: { "__proto__": { port: 1 } } }',
      '{ models: { providers: { "__proto__": { baseUrl: "http://127.0.0.1:1" } } } }',
      '{ models: { providers: { constructor: { prototype: { x: 1 } } } } }',
      '{ models: { providers: { p: { baseUrl: "http://127.0.0.1:1/v1", ',
      '{ models: { provid',
    ]) {
      const { problems } = await catchLoadError(await write(text))
      expect(problems.filter(({ severity }) => severity === 'error').length).toBeGreaterThan(0)
      for (const { line } of problems) expect(line).toBeGreaterThan(0)
    }
    expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(before)
  })

  test('text that is not UTF-8 is refused', async () => {
    expect((await catchLoadError(await write(Buffer.from('{}', 'utf16le').fill(0xff, 2)))).message).toContain(
      'not UTF-8',
    )
  })

  test('a byte order mark is skipped and does not move columns', async () => {
    const error = await catchLoadError(await write('\uFEFF{ models: 3 }'))
    expect(error.problems).toMatchObject([{ line: 1, column: 3 }])
    expect(catchProblems('\uFEFF{ models: 3 }')).toMatchObject([{ line: 1, column: 3 }])
  })

  test.each([
    ['', 'the file is empty', undefined, undefined],
    [' \n\t', 'the file is empty', undefined, undefined],
    ['// nothing', 'not valid JSON5: invalid end of input', 1, 11],
    ['[1]', 'must hold one object', undefined, undefined],
    ['null', 'must hold one object', undefined, undefined],
    ['{\n  models: {\n    prov', 'not valid JSON5: invalid end of input', 3, 9],
    ['{\n  a: "x\n"}', "not valid JSON5: invalid character '\\n'", 2, 8],
    ['{ a: 1 } x', "not valid JSON5: invalid character 'x'", 1, 10],
  ])('%j is one problem with its place', (text, message, line, column) => {
    const { problems } = catchConfigError(() => parseConfig(text))
    expect(problems).toHaveLength(1)
    expect(problems[0]?.message).toContain(message)
    expect([problems[0]?.line, problems[0]?.column]).toEqual([line, column])
  })

  test('a program must be there, be a file, be executable and be a program', async () => {
    const program = join(directory, 'server')
    const reason = async () => {
      const file = await write(
        toText(
          `p: { baseUrl: 'http://localhost', localService: { command: '${program}', cwd: '${directory}' } }`,
        ),
      )
      return (await loadConfig(file)).providers[0]?.unavailable
    }
    await symlink(join(directory, 'nowhere'), program)
    expect(await reason()).toContain('does not exist')
    await rm(program)
    await mkdir(program)
    expect(await reason()).toContain('is not a file')
    await rm(program, { recursive: true })
    await writeFile(program, 'print("hello")', { mode: 0o644 })
    expect(await reason()).toContain('is not executable')
    await chmod(program, 0o755)
    expect(await reason()).toContain('is not a program')
    await writeFile(program, '#!/bin/sh\n')
    expect(await reason()).toBeUndefined()
  })

  test('a working directory must be there', async () => {
    const file = await write(
      toText(
        `p: { baseUrl: 'http://localhost', localService: { command: '${process.execPath}', cwd: '${directory}/x' } }`,
      ),
    )
    const config = await loadConfig(file)
    expect(config.providers[0]?.unavailable).toContain('does not exist')
    expect(config.problems).toMatchObject([
      { path: 'models.providers.p.localService.cwd', severity: 'warning' },
    ])
  })
})

describe('problems in one report', () => {
  test('every problem of a file is reported, in the order of the file, each at its place', () => {
    const error = catchConfigError(() =>
      parseConfig(
        `{
  models: {
    mod: 'merge',
    providers: {
      a: { baseUrl: 'http://127.0.0.1:1/v1', api: 'ollama', localService: { command: 'server', idelStopMs: 5 }, models: [{ id: 'm' }, { id: 'm' }] },
      A: { baseUrl: 'http://localhost:1/v1', localService: { command: '/bin/x' } },
      c: { api: 'openai-completions' },
      'd/e': { baseUrl: 'ftp://x' },
      f: { baseUrl: 'http://user:hunter2@h/' },
    },
  },
  agents: { defaults: {
    model: { primary: 'zz/q', fallbacks: ['c/anything', 'bare', '/y', 'a/n'] },
    models: { 'a/m': { alias: 'X' }, 'c/1': { alias: 'x' } },
  } },
  leasehold: { host: '0.0.0.0', backoffMs: 100000 },
}`,
        { file: 'my.json5' },
      ),
    )
    expect(
      error.problems.map(({ severity, line, column, path }) => `${severity} ${line}:${column} ${path}`),
    ).toEqual([
      'error 3:5 models.mod',
      'error 5:46 models.providers.a.api',
      'error 5:77 models.providers.a.localService.command',
      'error 5:96 models.providers.a.localService.idelStopMs',
      'error 5:137 models.providers.a.models[1].id',
      'error 6:7 models.providers.A',
      'error 6:12 models.providers.A.baseUrl',
      'error 7:7 models.providers.c.baseUrl',
      'error 8:7 models.providers["d/e"]',
      'error 9:12 models.providers.f.baseUrl',
      'error 13:14 agents.defaults.model.primary',
      'error 13:57 agents.defaults.model.fallbacks[1]',
      'error 13:65 agents.defaults.model.fallbacks[2]',
      'warning 13:71 agents.defaults.model.fallbacks[3]',
      'error 14:47 agents.defaults.models["c/1"].alias',
      'error 16:16 leasehold.host',
      'error 16:33 leasehold.backoffMs',
    ])
    expect(error.message).toContain('my.json5: 16 problems')
    expect(error.message).toContain('unknown key "idelStopMs"; the nearest known key is "idleStopMs"')
    expect(error.message).toContain('unknown provider "zz"')
    expect(error.message).toContain('"ollama" is not supported')
    expect(error.message).not.toContain('hunter2')
  })

  test('a single configured model is the default, unless another provider takes any model', () => {
    const one = `p: { baseUrl: 'http://h', models: [{ id: 'org/m' }], replicas: [{ baseUrl: 'http://i' }] }`
    const defaultOf = (text: string) => parseConfig(text).defaultModel
    expect(defaultOf(toText(one))).toEqual({ primary: 'p/org/m', fallbacks: [] })
    expect(resolveModel(parseConfig(toText(one)), undefined)).toMatchObject({
      ref: 'p/org/m',
      source: 'default',
    })
    expect(defaultOf(toText(`${one}, q: { baseUrl: 'http://j' }`))).toBeUndefined()
    expect(defaultOf(toText(`${one}, q: { baseUrl: 'http://j', models: [{ id: 'n' }] }`))).toBeUndefined()
    // In a file of OpenClaw's, providers that are not served do not count.
    const other = `q: { baseUrl: 'http://j', api: 'google-vertex', models: [{ id: 'n' }] }`
    expect(defaultOf(toText(`${one}, ${other}`))?.primary).toBe('p/org/m')
  })

  test.each([
    ['ttl', `p: { baseUrl: 'http://h', ttl: 60 }`, 'idleStopMs'],
    ['ttl', `p: { baseUrl: 'http://h', localService: { command: '/x', ttl: 60 } }`, 'idleStopMs'],
    ['cmd', `p: { baseUrl: 'http://h', cmd: 'x -m y' }`, 'localService.command'],
    ['proxy', `p: { baseUrl: 'http://h', proxy: 'http://h' }`, 'baseUrl'],
    ['checkEndpoint', `p: { baseUrl: 'http://h', checkEndpoint: '/health' }`, 'healthUrl'],
    ['aliases', `p: { baseUrl: 'http://h', models: [{ id: 'm', aliases: ['x'] }] }`, 'models\\[\\].alias'],
    ['aliases', `p: { baseUrl: 'http://h', aliases: ['x'] }`, 'models\\[\\].alias'],
    ['args', `p: { baseUrl: 'http://h', args: [] }`, 'localService.args'],
    ['command', `p: { baseUrl: 'http://h', models: [{ id: 'm', command: '/x' }] }`, 'localService.command'],
  ])('the word for %s in %s is %s', (key, provider, word) => {
    const [problem] = catchProblems(toText(provider, 'leasehold: {}')).filter(
      ({ severity }) => severity === 'error',
    )
    expect(problem?.message).toMatch(new RegExp(`^unknown key "${key}"; .*${word}`))
  })

  test('a model in the form of llama-swap is told where servers are configured', () => {
    const [problem] = catchProblems(`{ models: { qwen: { cmd: 'llama-server', ttl: 5 } } }`)
    expect(problem).toMatchObject({
      path: 'models.qwen',
      message: expect.stringContaining('models.providers'),
    })
  })

  test.each(['spongiform', 'x', 'thinkingBudget'])('a far-off key like %s gets no nearest one', (key) => {
    const [problem] = catchProblems(toText(`p: { baseUrl: 'http://h', ${key}: 1 }`))
    expect(problem?.message).toBe(`unknown key "${key}"`)
  })

  test.each([
    ['~/models/x.gguf', '"~" is not expanded'],
    ['--model=~/x.gguf', '"~" is not expanded'],
    ['$HOME/x.gguf', `"$HOME" is not expanded; write \${HOME}`],
    ['--model=$HOME/x.gguf', `"$HOME" is not expanded`],
    ['-m /x', '"-m …" is one argument'],
    ['--api-key sk-very-secret', '"--api-key …" is one argument'],
    [`'/x.gguf'`, 'has quotes around it'],
    ['2>&1', 'no shell is used'],
    ['&&', 'no shell is used'],
  ])('the argument %j is a warning', (arg, message) => {
    const { problems } = parseConfig(toText(toService({ args: [arg] })))
    expect(problems).toMatchObject([
      {
        severity: 'warning',
        path: 'models.providers.p.localService.args[0]',
        message: expect.stringContaining(message),
      },
    ])
    expect(JSON.stringify(problems)).not.toContain('very-secret')
  })

  test.each([
    [{ args: ['-m', '/x y', '-Dfoo=a b', '{"a": "b"}', 'a ~ b', '5$', '--', '-', 'say "hi"', '$x'] }],
    [{ command: '/usr/bin/docker', args: ['run', '--gpus', '"device=0,1"', 'image'] }],
    [{ command: '/bin/sh', args: ['-c', 'cd ~ && exec $HOME/server -m /x > /tmp/log 2>&1'] }],
    [{ idleStopMs: 1000, readyTimeoutMs: 1000 }],
    [{ idleStopMs: 0 }],
    [{ idleStopMs: '300ms' }],
  ])('%j is no warning', (options) => {
    expect(parseConfig(toText(toService(options))).problems).toEqual([])
  })

  test.each([
    [{ idleStopMs: 300 }, 'idleStopMs', '300 is less than a second; seconds are "300s"'],
    [{ readyTimeoutMs: 120 }, 'readyTimeoutMs', 'is in milliseconds: 120 is less than a second'],
    [{ env: { MODELS: '~/models' } }, 'env.MODELS', '"~" is not expanded'],
    [{ env: { PATH: '$PATH:/x' } }, 'env.PATH', '"$PATH" is not expanded'],
  ])('%j is a warning', (options, path, message) => {
    expect(parseConfig(toText(toService(options))).problems).toMatchObject([
      {
        severity: 'warning',
        path: `models.providers.p.localService.${path}`,
        message: expect.stringContaining(message),
      },
    ])
  })

  test('a model may have several aliases; a taken one is named with its place', () => {
    const models = (alias: string) =>
      `agents: { defaults: { models: { 'p/a': { alias: ${alias} }, 'p/b': { alias: 'taken' } } } }`
    const provider = `p: { baseUrl: 'http://h', models: [{ id: 'a' }, { id: 'b' }] }`
    const config = parseConfig(toText(provider, models(`['gpt-4o', 'gpt-4o-mini', 'GPT-4o']`)))
    expect(config.aliases.map(({ alias, ref }) => [alias, ref])).toEqual([
      ['gpt-4o', 'p/a'],
      ['gpt-4o-mini', 'p/a'],
      ['taken', 'p/b'],
    ])
    expect(config.problems).toMatchObject([
      {
        severity: 'warning',
        path: 'agents.defaults.models["p/a"].alias[2]',
        message: 'the alias "GPT-4o" is listed twice',
      },
    ])
    expect(resolveModel(config, 'gpt-4o-MINI').ref).toBe('p/a')
    for (const [alias, message] of [
      [`['x', 'taken']`, 'the alias "taken" is already taken by p/a'],
      [`['']`, 'must not be empty'],
      ['5', 'must be a name, or a list of names'],
    ] as const)
      expect(catchProblems(toText(provider, models(alias)))).toMatchObject([{ severity: 'error', message }])
  })

  test.each([
    ['baseUrl', 'basUrl'],
    ['baseUrl', 'baseURL'],
    ['models', 'model'],
    ['headers', 'header'],
  ])('the nearest known key %s is named for %s', (known, written) => {
    const problems = catchProblems(toText(`p: { baseUrl: 'http://h', ${written}: 1 }`))
    expect(problems[0]?.message).toBe(`unknown key "${written}"; the nearest known key is "${known}"`)
  })

  test.each([
    ['', 'must not be empty'],
    ['   ', 'must not be empty'],
    [' /bin/x', 'white space'],
    ['~/bin/x', '"~" is not expanded'],
    ['$HOME/x', 'variables are not expanded'],
    ['bin/x', 'absolute path'],
    ['./x', 'absolute path'],
    ['llama-server', 'absolute path'],
    ['/bin/\\0x', 'NUL'],
  ])('the command %j is an error', (command, message) => {
    const problems = catchProblems(
      toText(`p: { baseUrl: 'http://localhost', localService: { command: '${command}' } }`),
    )
    expect(problems).toMatchObject([{ severity: 'error', path: 'models.providers.p.localService.command' }])
    expect(problems[0]?.message).toContain(message)
  })

  test.each([
    ['ftp://h/v1', 'http or https'],
    ['127.0.0.1:8080', 'is not a URL'],
    ['http://h/v1?x=1', 'query'],
    [' http://h', 'white space'],
    ['http://:pw@h', 'user name or password'],
  ])('the base URL %j is an error', (baseUrl, message) => {
    expect(catchProblems(toText(`p: { baseUrl: '${baseUrl}' }`))[0]?.message).toContain(message)
  })

  test('a health URL on another origin is a warning', () => {
    const { problems } = parseConfig(
      toText(
        `p: { baseUrl: 'http://127.0.0.1:1/v1', localService: { command: '/x', healthUrl: 'http://127.0.0.1:2/health' } }`,
      ),
    )
    expect(problems).toMatchObject([
      { severity: 'warning', path: 'models.providers.p.localService.healthUrl' },
    ])
  })

  test('two different services on one port are an error, one service of two providers is not', () => {
    const provider = (id: string, port: number, args: string) =>
      `${id}: { baseUrl: 'http://127.0.0.1:${port}/v1', localService: { command: '/x', args: [${args}], env: { B: '2', A: '1' } } },`
    const shared = parseConfig(
      toText(provider('a', 1, '') + provider('b', 1, '').replace("B: '2', A: '1'", "A: '1', B: '2'")),
    )
    expect(shared.problems).toEqual([])
    expect(shared.providers[0]?.localService?.key).toBe(shared.providers[1]?.localService?.key)
    expect(() => parseConfig(toText(provider('a', 1, '') + provider('b', 2, "'x'")))).not.toThrow()
    expect(catchProblems(toText(provider('a', 1, '') + provider('b', 1, "'x'")))).toMatchObject([
      { path: 'models.providers.b.baseUrl', message: expect.stringContaining('the services of "a" and "b"') },
    ])
  })

  test('the retired flag is a warning, a key written twice in our sections too', () => {
    const { problems } = parseConfig(
      `{ channels: { a: 1, a: 2 }, models: { providers: { p: { baseUrl: 'http://h', apiKey: 'a', apiKey: 'b', models: [{ id: 'm', compat: { requiresMistralToolIds: true } }] } } } }`,
    )
    expect(problems).toMatchObject([
      {
        severity: 'warning',
        path: 'models.providers.p.apiKey',
        message: 'is written twice; the last one counts',
      },
      { severity: 'warning', path: 'models.providers.p.models[0].compat.requiresMistralToolIds' },
    ])
  })

  test.each([
    ['{ models: 3 }', 'models'],
    ['{ agents: 4 }', 'agents'],
    ['{ leasehold: [] }', 'leasehold'],
    ['{ agents: { defaults: { model: 5 } } }', 'agents.defaults.model'],
    ['{ agents: { defaults: { model: {} } } }', 'agents.defaults.model.primary'],
    ['{ models: { providers: { p: null } } }', 'models.providers.p'],
    [
      `{ models: { providers: { p: { baseUrl: 'http://h', models: [null] } } } }`,
      'models.providers.p.models[0]',
    ],
  ])('%s is one error', (text, path) => {
    expect(catchProblems(text)).toMatchObject([{ severity: 'error', path }])
  })
})

test('more problems than can be listed are one problem', () => {
  const text = toText(`p: { baseUrl: 'http://h', models: [${'0,'.repeat(400_000)}] }`)
  expect(catchProblems(text)).toMatchObject([{ path: '', message: 'has too many problems to list' }])
})

describe('keys that reach a prototype', () => {
  test.each(['__proto__', 'constructor', 'prototype'])('%s is an error anywhere in our sections', (key) => {
    const text = `{ leasehold: { '${key}': { port: 1 } }, models: { providers: {
      '${key}': { baseUrl: 'http://h' },
      p: { baseUrl: 'http://h', models: [{ id: 'm', params: { extra_body: [{ '${key}': { polluted: true } }] } }] },
    } } }`
    expect(catchProblems(text).map(({ path, message }) => [path, message])).toEqual([
      [`leasehold.${key}`, `"${key}" is not allowed as a key`],
      [`models.providers.${key}`, `"${key}" is not allowed as a key`],
      [`models.providers.p.models[0].params.extra_body[0].${key}`, `"${key}" is not allowed as a key`],
    ])
  })

  test('no file changes the prototype of anything', () => {
    const key = fc.constantFrom(
      '__proto__',
      'constructor',
      'prototype',
      'models',
      'providers',
      'params',
      'agents',
      'defaults',
      'a/b',
    )
    const { value } = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 6 },
        fc.constant('polluted'),
        fc.array(tie('value'), { maxLength: 2 }),
        toOwnKeys(fc.array(fc.tuple(key, tie('value')), { maxLength: 4 })),
      ),
    }))
    const before = Reflect.ownKeys(Object.prototype)
    fc.assert(
      fc.property(value, (json) => {
        try {
          parseConfig(JSON.stringify(json))
        } catch (error) {
          if (!(error instanceof ConfigError)) throw error
        }
        expect(Reflect.ownKeys(Object.prototype)).toEqual(before)
        expect(Object.getPrototypeOf(Object.prototype)).toBeNull()
        expect(Object.getPrototypeOf({})).toBe(Object.prototype)
      }),
    )
  })

  test('a section nested without end is an error, not a crash', () => {
    const text = `{ models: ${'['.repeat(100_000)}${']'.repeat(100_000)} }`
    expect(catchProblems(text).map(({ message }) => message)).toContain('is nested deeper than 64 levels')
    expect(() => parseConfig(text.replace('models', 'channels'))).not.toThrow()
  })
})

describe('variables', () => {
  const text = toText(
    `
    key: { baseUrl: 'http://h:1', apiKey: '\${KEY}' },
    header: { baseUrl: 'http://h:2', headers: { 'x-a': 'v-\${HEADER}' } },
    model: { baseUrl: 'http://h:3', models: [{ id: 'm', headers: { 'x-b': '\${HEADER}' } }] },
    service: { baseUrl: 'http://localhost:4', localService: { command: '/x', args: ['$\${KEY}', '--t=\${ARG}'], env: { E: '\${ENV}' } } },
    plain: { baseUrl: 'http://h:5' },
  `,
    "leasehold: { apiKeys: ['\\u0024{GATE}'] }",
  )

  test('are substituted where secrets belong', () => {
    const config = parseConfig(text, { env: { KEY: 'k', HEADER: 'h', ARG: 'a', ENV: 'e', GATE: 'g' } })
    expect(config.problems).toEqual([])
    expect(config.providers).toMatchObject([
      { apiKey: 'k' },
      { headers: { 'x-a': 'v-h' } },
      { models: [{ headers: { 'x-b': 'h' } }] },
      { localService: { args: [`\${KEY}`, '--t=a'], secretArgs: [1], env: { E: 'e' } } },
      { id: 'plain' },
    ])
    expect(config.leasehold.apiKeys).toEqual(['g'])
  })

  test('that are missing make their provider unavailable, and no other', () => {
    const config = parseConfig(text, { env: { GATE: 'g' } })
    expect(config.providers.map(({ id, unavailable }) => [id, unavailable])).toEqual([
      ['key', `\${KEY} is not set`],
      ['header', `\${HEADER} is not set`],
      ['model', `\${HEADER} is not set`],
      ['service', `\${ARG} is not set; \${ENV} is not set`],
      ['plain', undefined],
    ])
    expect(config.problems.map(({ severity, path }) => `${severity} ${path}`)).toEqual([
      'warning models.providers.key.apiKey',
      'warning models.providers.header.headers["x-a"]',
      'warning models.providers.model.models[0].headers["x-b"]',
      'warning models.providers.service.localService.args[1]',
      'warning models.providers.service.localService.env.E',
    ])
  })

  test('that are missing in a key of the gateway are an error, so that it never opens by accident', () => {
    expect(catchProblems(text, {}).filter(({ severity }) => severity === 'error')).toMatchObject([
      { path: 'leasehold.apiKeys[0]', message: `\${GATE} is not set` },
    ])
  })

  test('that no header can carry make their provider unavailable without being shown', () => {
    const config = parseConfig(text, { env: { KEY: 'canary\n', HEADER: 'h', ARG: 'a', ENV: 'e', GATE: 'g' } })
    expect(config.providers[0]?.unavailable).toBe('apiKey holds a character that no HTTP header can carry')
    expect(JSON.stringify(config.problems)).not.toContain('canary')
  })
})

describe('built-in providers', () => {
  const builtin: ConfigOptions['builtin'] = {
    demo: { baseUrl: 'http://127.0.0.1:7000/v1', models: [{ id: 'echo', params: { extra_body: { a: 1 } } }] },
    Mine: { baseUrl: 'http://127.0.0.1:7001/v1' },
  }
  const mine = (mode: string) =>
    `{ models: { ${mode} providers: { mine: { baseUrl: 'http://127.0.0.1:9/v1' } } }, agents: { defaults: { model: 'demo/echo' } } }`

  test.each(['', "mode: 'merge',"])('stay beside those of the file, which win by id ({%s})', (mode) => {
    const config = parseConfig(mine(mode), { builtin })
    expect(config.providers.map(({ id, baseUrl }) => [id, baseUrl])).toEqual([
      ['mine', 'http://127.0.0.1:9/v1'],
      ['demo', 'http://127.0.0.1:7000/v1'],
    ])
  })

  test('are left out when the file replaces them', () => {
    expect(catchProblems(mine("mode: 'replace',"), { builtin })).toMatchObject([
      { path: 'agents.defaults.model', message: expect.stringContaining('unknown provider "demo"') },
    ])
  })

  test('are not changed or frozen by loading', () => {
    parseConfig('{}', { builtin })
    expect(Object.isFrozen(builtin?.demo?.models?.[0]?.params?.extra_body)).toBe(false)
  })
})

test('a configuration is frozen all the way down, and so is the next one', () => {
  for (const text of [
    '{}',
    '{}',
    toText(`p: { baseUrl: 'http://h', models: [{ id: 'm', params: { a: [{}] } }] }`),
  ]) {
    expect(findUnfrozen(parseConfig(text))).toEqual([])
  }
})

function findUnfrozen(value: unknown, path = ''): string[] {
  if (typeof value !== 'object' || value === null) return []
  const inner = Object.entries(value).flatMap(([key, child]) => findUnfrozen(child, `${path}.${key}`))
  return Object.isFrozen(value) ? inner : [path, ...inner]
}

/** Objects with exactly these own keys, `__proto__` included. */
function toOwnKeys(entries: fc.Arbitrary<[string, unknown][]>): fc.Arbitrary<unknown> {
  return entries.map((pairs) => Object.fromEntries(pairs))
}

/** A copy of our own: a checkout may belong to another user. */
function toFixture(name: string): string {
  const copy = join(mkdtempSync(join(tmpdir(), 'fixture-')), name)
  copyFileSync(fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url)), copy)
  return copy
}

async function catchLoadError(file: string): Promise<ConfigError> {
  try {
    await loadConfig(file)
  } catch (error) {
    if (error instanceof ConfigError) return error
    throw error
  }
  throw new Error('a ConfigError was expected')
}

test.each([
  ['http://localhost:1', 'http://localhost:1/v1'],
  ['http://localhost:1/v1/', 'http://localhost:1/v1'],
  ['https://ai.example/anthropic', 'https://ai.example/anthropic/v1'],
])('the base URL %s of an Anthropic API, with or without its /v1, is %s', (baseUrl, expected) => {
  const provider = (api: string) => `a: { baseUrl: '${baseUrl}', api: '${api}', models: [{ id: 'm' }] }`
  expect(parseConfig(toText(provider('anthropic-messages'))).providers[0]?.baseUrl).toBe(expected)
  const { providers } = parseConfig(toText(provider('openai-completions')))
  expect(providers[0]?.baseUrl).toBe(baseUrl.replace(/\/$/, ''))
})

/** A provider `p` with a service of its own. */
function toService(options: object): string {
  const service = { command: process.execPath, ...options }
  return `p: { baseUrl: 'http://127.0.0.1:1/v1', localService: ${JSON.stringify(service)} }`
}
