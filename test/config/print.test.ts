import { expect, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import { toPrintable } from '../../src/config/print.ts'
import { toText } from './reports.ts'

test('nothing printed holds a secret, wherever the file or the environment put it', () => {
  const config = parseConfig(
    toText(
      `p: {
        baseUrl: 'http://h/v1', apiKey: 'canary-1', headers: { 'x-key': 'canary-2' },
        localService: { command: '/x', args: ['--port', '1', '--key=\${SECRET}'], env: { TOKEN: 'canary-3', OTHER: '\${SECRET}' } },
        models: [{ id: 'm', headers: { 'x-other': 'canary-4' } }],
      }`,
      `leasehold: { apiKeys: ['canary-5'] }`,
    ),
    { env: { SECRET: 'canary-6' } },
  )
  expect(JSON.stringify(config)).toContain('canary-6')
  const printed = toPrintable(config)
  expect(JSON.stringify(printed)).not.toContain('canary')
  expect(printed).toMatchObject({
    providers: [
      {
        apiKey: '***',
        headers: { 'x-key': '***' },
        localService: { args: ['--port', '1', '***'], env: { TOKEN: '***', OTHER: '***' } },
        models: [{ headers: { 'x-other': '***' } }],
      },
    ],
    leasehold: { apiKeys: ['***'], port: 4141 },
  })
})

test('an absent key is not printed as a hidden one', () => {
  expect(JSON.stringify(toPrintable(parseConfig(toText(`p: { baseUrl: 'http://h' }`))))).not.toContain('***')
})
