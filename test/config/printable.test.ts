import { expect, test } from 'vitest'
import { parseConfig, parseWithValues } from '../../src/config/load.ts'
import { toPrintable } from '../../src/config/printable.ts'
import { toText } from './reports.ts'

test('nothing printed holds a secret, wherever the file or the environment put it', () => {
  const loaded = parseWithValues(
    toText(
      `p: {
        baseUrl: 'http://h/v1', apiKey: 'canary-1', headers: { 'x-key': 'canary-2', 'x-ref': '\${SECRET}' },
        localService: { command: '/x', args: ['--port', '1', '--key=\${SECRET}'],
          env: { TOKEN: 'canary-3', OTHER: '\${SECRET}', NAME: 'canary-7', CACHE: '/var/cache' } },
        replicas: [{ baseUrl: 'http://g/v1', apiKey: 'canary-8', headers: { 'x-key': 'canary-9' },
          localService: { env: { TOKEN: 'canary-10' } } }],
        models: [{ id: 'm', headers: { 'x-other': 'canary-4' } }],
      }`,
      `leasehold: { apiKeys: ['canary-5', '\${SECRET}'] }`,
    ),
    { env: { SECRET: 'canary-6' } },
  )
  expect(JSON.stringify(loaded.config)).toContain('canary-6')
  const printed = toPrintable(loaded)
  expect(JSON.stringify(printed)).not.toContain('canary')
  expect(printed).toMatchObject({
    models: {
      providers: {
        p: {
          apiKey: '***',
          headers: { 'x-key': '***', 'x-ref': `\${SECRET}` },
          localService: {
            args: ['--port', '1', `--key=\${SECRET}`],
            env: { TOKEN: '***', OTHER: `\${SECRET}`, NAME: '***', CACHE: '/var/cache' },
          },
          replicas: [{ apiKey: '***', headers: { 'x-key': '***' }, localService: { env: { TOKEN: '***' } } }],
          models: [{ headers: { 'x-other': '***' } }],
        },
      },
    },
    leasehold: { apiKeys: ['***', `\${SECRET}`], port: 4141 },
  })
})

test('an absent key is not printed as a hidden one', () => {
  expect(JSON.stringify(toPrintable(parseWithValues(toText(`p: { baseUrl: 'http://h' }`))))).not.toContain(
    '***',
  )
})

test('what is printed is a file that says the same, with nothing left to write out', () => {
  const engine = (more: string) => `localService: { ${more} }`
  const text = toText(
    `a: { ${engine(`model: 'org/a', context: 4096`)}, replicas: [{ localService: { args: ['--gpu', '1'] } }] },
     b: { ${engine(`engine: 'vllm', model: 'org/b', args: ['--dtype', 'half']`)},
          models: [{ id: 'b', alias: 'other', context: 8192 }, { id: 'c', unlisted: true, params: { top_k: 1 }, dropParams: ['seed'] }] },
     c: { ${engine(`engine: 'ollama', model: 'qwen3:8b'`)} },
     d: { ${engine(`engine: 'tabbyapi', model: 'd', env: { KEY: '\${SECRET}' }`)}, apiKey: '\${SECRET}' },
     e: { ${engine(`command: '/x', args: ['\${PORT}', '$\${PORT}', '\${SECRET}']`)}, timeoutSeconds: '5m' }`,
    `agents: { defaults: { model: { primary: 'a/a', fallbacks: ['other'] }, models: { 'a/a': { alias: ['x'] } } } },
     leasehold: { defaults: { engine: 'llama.cpp', idleStopMs: '10m', env: { CACHE: '/c' } }, groups: { gpu: ['a', 'b'] } }`,
  )
  const env = { SECRET: 'a secret of the environment', HOME: '/home/u' }
  const loaded = parseWithValues(text, { env })
  const printed = JSON.stringify(toPrintable(loaded))
  const again = parseWithValues(printed, { env })
  expect(again.config).toEqual({
    ...loaded.config,
    providers: loaded.config.providers.map((provider) => {
      const {
        engine: _,
        model: _model,
        context: _context,
        isPortAssigned: _port,
        ...service
      } = provider.localService ?? {}
      return { ...provider, localService: service }
    }),
  })
  expect(JSON.stringify(toPrintable(again))).toBe(printed)
  expect(parseConfig(printed, { env }).problems).toEqual([])
})
