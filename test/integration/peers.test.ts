import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { findFreePort } from '../../src/testing/real-host.ts'
import { type House, openHouse, readAll, toLocalService } from '../gateway/house.ts'

/** A gateway in front of the demo server, which it runs, with a heartbeat that leaves no time. */
async function open(flags: readonly string[] = [], leasehold: object = {}, service: object = {}) {
  const port = await findFreePort()
  const serverUrl = `http://127.0.0.1:${port}`
  const house = await openHouse({
    serverUrl,
    provider: { localService: toLocalService(port, flags, { healthUrl: `${serverUrl}/health`, ...service }) },
    leasehold: { heartbeatMs: 50, ...leasehold },
  })
  const control = async (changes?: object) => {
    const init = changes && { method: 'POST', body: JSON.stringify(changes) }
    const response = await fetch(`${serverUrl}/__control`, init)
    return (await response.json()) as { pid: number; counts: Record<string, number> }
  }
  return { ...house, control }
}

const chat = (question: string, stream: boolean) => ({
  model: 'local/demo',
  messages: [{ role: 'user', content: question }],
  stream,
})
const typesOf = ({ events }: House) => events.map(({ type }) => type)

test.each([
  ['redirects', { redirectHealth: 'http://127.0.0.1:1/' }, 200, 200, '42'],
  // Each check takes the five seconds that it has, and the streams last longer than three of them.
  ['hangs', { hangHealth: true }, 600, 200, '42'],
  // Such a server refuses everything new.
  ['says it failed', { failLoad: 'health500' }, 200, 500, 'error'],
])(
  'health that %s under three streams and a new request ends none of them, nor the process (fault 32, peer O-a)',
  { tags: ['proof'], timeout: 240_000 },
  async (_how, fault, tokens, status, said) => {
    await using house = await open(['--token-delay-ms', '40'])
    const streams = await Promise.all(
      [1, 2, 3].map(() => house.post('/v1/chat/completions', chat(`count to ${tokens}`, true))),
    )
    const { pid } = await house.control(fault)
    const asked = async () => (await house.control()).counts['/health'] ?? 0
    const before = await asked()
    await expect.poll(asked, { timeout: 60_000 }).toBeGreaterThan(before + 3)
    const answer = await house.post('/v1/chat/completions', chat('What is 6 * 7?', false))
    expect([answer.status, await answer.text()]).toEqual([status, expect.stringContaining(said)])
    for (const { text, isBroken } of await Promise.all(streams.map(readAll))) {
      expect(isBroken).toBe(false)
      expect(text).toMatch(new RegExp(` ${tokens}"[\\s\\S]*data: \\[DONE\\]\\s*$`))
    }
    expect(house.events.filter(({ type }) => type === 'process.spawned')).toMatchObject([{ pid }])
    expect(typesOf(house)).not.toContain('leases.revoked')
  },
)

test('an answer that takes many times idleStopMs is whole, and only then is its server stopped (fault 67)', async () => {
  await using house = await open(['--token-delay-ms', '20'], {}, { idleStopMs: 20 })
  const { text, isBroken } = await readAll(
    await house.post('/v1/chat/completions', chat('count to 50', true)),
  )
  expect(isBroken).toBe(false)
  expect(text).toMatch(/ 50"[\s\S]*data: \[DONE\]\s*$/)
  await expect.poll(() => typesOf(house)).toContain('process.settled')
  const order = typesOf(house).filter((type) => ['lease.released', 'process.signalled'].includes(type))
  expect(order).toEqual(['lease.released', 'process.signalled'])
})

test('no request changes what is run, and no GET changes anything (peers A-2, S-7)', async () => {
  const canary = join(tmpdir(), `leasehold-canary-${process.pid}`)
  const command = { command: '/bin/sh', args: ['-c', `touch ${canary}`], env: { PATH: '/bin' } }
  const body = JSON.stringify({
    ...command,
    localService: command,
    models: { providers: { local: { localService: command } } },
    config: { raw: '{}' },
  })
  await using house = await open([], { controlKeys: ['the-control-key'] })
  const headers = { 'content-type': 'application/json', authorization: 'Bearer the-control-key' }
  const ask = async (method: string, path: string) => {
    const init = method === 'GET' || method === 'HEAD' ? {} : { body }
    const response = await fetch(house.url + path, { method, headers, ...init })
    await response.text()
    return response.status
  }
  const places = [
    ...['/config', '/api/config', '/api/config/apply', '/api/config.apply', '/api/reload', '/api/restart'],
    ...['/api/services', '/api/services/local', '/api/services/local/config', '/api/services/other'],
    ...['/api/providers', '/api/providers/local', '/api/models', '/load'],
  ]
  const writes = ['POST', 'PUT', 'PATCH', 'DELETE'].flatMap((method) =>
    places.map((path) => [method, path] as const),
  )
  const answered = await Promise.all(writes.map(([method, path]) => ask(method, path)))
  expect(writes.filter((_, index) => (answered[index] ?? 0) < 400)).toEqual([])
  expect(typesOf(house)).not.toContain('process.spawned')

  // A start is one of what is configured, whatever is sent with it.
  await ask('POST', '/api/services/local/start')
  expect((await house.post('/v1/chat/completions', chat('hello', false))).status).toBe(200)
  const { pid } = await house.control()
  const reads = [
    ...['/unload', '/load', '/api/services/local/stop', '/api/services/local/start', '/api/services/stop'],
    ...['/api/services/local?_method=DELETE', '/api/services/local/stop?force=1', '/api/requests/x'],
  ]
  for (const path of reads) for (const method of ['GET', 'HEAD']) await ask(method, path)
  expect(house.events.filter(({ type }) => type === 'process.spawned')).toMatchObject([{ pid }])
  expect(house.service()).toMatchObject({ pid, ownership: 'owned' })
  expect(typesOf(house).filter((type) => /^config\.|^service\.stop|^process\.s[ei]/.test(type))).toEqual([])
  expect(existsSync(canary)).toBe(false)
})

test('a key for models opens no control, whatever its holder says of itself (peer A-7)', async () => {
  await using house = await open([], { apiKeys: ['a-key-for-models'], controlKeys: ['the-control-key'] })
  const says = {
    'x-openclaw-scopes': 'operator.admin',
    'x-scopes': 'admin,control',
    'x-role': 'admin',
    'x-forwarded-user': 'root',
    'x-forwarded-for': '127.0.0.1',
    cookie: 'scopes=admin',
  }
  for (const [method, path] of [
    ['POST', '/api/services/local/start?scopes=admin'],
    ['POST', '/api/services/local/stop'],
    ['DELETE', '/api/requests/x'],
    ['GET', '/api/services'],
    ['GET', '/api/events?follow=0'],
    ['GET', '/api/logs/local'],
    ['GET', '/metrics'],
  ]) {
    const response = await fetch(`${house.url}${path}`, {
      method: method ?? '',
      headers: { 'content-type': 'application/json', authorization: 'Bearer a-key-for-models', ...says },
      ...(method === 'POST' ? { body: '{"scopes":["operator.admin"],"role":"admin"}' } : {}),
    })
    expect([path, response.status, (await response.text()).includes('LEASEHOLD_KEY_REQUIRED')]).toEqual([
      path,
      401,
      true,
    ])
  }
  expect(typesOf(house)).not.toContain('process.spawned')
})
