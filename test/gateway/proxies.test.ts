import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { createRawServer, type RawServer, takeFreePort } from '../transport/raw-server.ts'
import { type House, openHouse } from './house.ts'

let server: RawServer
let house: House
/** The answer's head; its body is what a test sends on `socket`. */
let head = ''
let socket: Socket | undefined
let onRequest = () => {}

beforeAll(async () => {
  server = await createRawServer((opened, request) => {
    const models = 'HTTP/1.1 200 OK\r\ncontent-length: 11\r\nconnection: close\r\n\r\n{"data":[]}'
    if (!request.startsWith('POST')) return void opened.end(models)
    socket = opened
    opened.write(head)
    onRequest()
  })
  house = await openHouse({
    serverUrl: server.url,
    leasehold: { heartbeatMs: 3_600_000, coldStartCommentsMs: 50 },
  })
})
afterAll(async () => {
  await house[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

const toHead = (...headers: readonly string[]) =>
  `HTTP/1.1 200 OK\r\n${headers.map((one) => `${one}\r\n`).join('')}\r\n`
const buffering = ({ headers }: Response) =>
  `${headers.get('x-accel-buffering')}; ${headers.get('cache-control')}`
const EVENTS = 'data: {"choices":[]}\n\ndata: [DONE]\n\n'

describe('a proxy is told not to hold back', () => {
  test.each([
    ['an event stream', 'text/event-stream', EVENTS],
    ['lines of JSON', 'application/x-ndjson', '{"done":true}\n'],
    ['speech', 'audio/mpeg', 'xyz'],
  ])('%s, nor to compress it', async (_, type, body) => {
    head = toHead(`content-type: ${type}`, 'x-accel-buffering: yes')
    onRequest = () => socket?.end(body)
    const response = await house.post('/v1/chat/completions', { model: 'demo' })
    expect([buffering(response), await response.text()]).toEqual(['no; no-cache, no-transform', body])
  })

  test("beside the server's own cache-control", async () => {
    head = toHead('content-type: text/event-stream', 'cache-control: no-store, private')
    onRequest = () => socket?.end(EVENTS)
    const response = await house.post('/v1/chat/completions', { model: 'demo' })
    expect(buffering(response)).toBe('no; no-store, private, no-transform')
    await response.text()
  })

  test('a stream that began with comments of ours', async () => {
    head = ''
    onRequest = () => {}
    const response = await house.post('/v1/chat/completions', { model: 'demo', stream: true })
    expect(buffering(response)).toBe('no; no-cache, no-transform')
    socket?.end(`${toHead('content-type: text/event-stream')}${EVENTS}`)
    expect(await response.text()).toContain('[DONE]')
  })

  test.each(['/api/events', '/api/logs/local?follow=1', '/api/inspect'])('GET %s', async (path) => {
    const leaving = new AbortController()
    const response = await fetch(house.url + path, { signal: leaving.signal })
    expect(buffering(response)).toBe('no; no-cache, no-transform')
    leaving.abort()
  })

  test('and of an answer whose length is known it is told nothing', async () => {
    head = toHead('content-type: application/json', 'content-length: 2')
    onRequest = () => socket?.end('{}')
    const response = await house.post('/v1/chat/completions', { model: 'demo' })
    expect([buffering(response), await response.text()]).toEqual(['null; null', '{}'])
  })
})

const NGINX = ['/usr/sbin/nginx', '/usr/bin/nginx', '/usr/local/sbin/nginx'].find(existsSync)
if (NGINX === undefined) console.warn('No nginx here: the tests behind a real proxy are skipped.')

describe.skipIf(NGINX === undefined)('behind nginx with nothing but proxy_pass', () => {
  let folder: string
  let nginx: ChildProcess
  let url: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'leasehold-nginx-'))
    const port = await takeFreePort()
    url = `http://127.0.0.1:${port}`
    const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((name) => `${name}_temp_path ${folder}/${name};`)
      .join(' ')
    await writeFile(
      join(folder, 'nginx.conf'),
      `daemon off; master_process off; worker_processes 1; pid ${folder}/pid; error_log stderr;
      events { worker_connections 64; }
      http { access_log off; ${paths}
        server { listen 127.0.0.1:${port}; location / { proxy_pass ${house.url}; } } }`,
    )
    nginx = spawn(NGINX ?? '', ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', 'stderr'], {
      stdio: 'ignore',
    })
    await vi.waitFor(async () => expect((await fetch(`${url}/health`)).status).toBe(200), 10_000)
  })
  afterAll(async () => {
    nginx.kill('SIGTERM')
    if (nginx.exitCode === null && nginx.signalCode === null) await once(nginx, 'exit')
    await rm(folder, { recursive: true, force: true })
  })

  const post = (body: object) =>
    fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })

  test.each([
    ['an event', 'text/event-stream', 'data: {"choices":[]}\n\n', 'data: [DONE]\n\n'],
    ['a line', 'application/x-ndjson', '{"done":false}\n', '{"done":true}\n'],
  ])('%s arrives before the next one is made', async (_, type, first, rest) => {
    head = toHead(`content-type: ${type}`)
    onRequest = () => socket?.write(first)
    const response = await post({ model: 'demo', stream: true })
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
    expect((await reader?.read())?.value).toBe(first)
    socket?.end(rest)
    expect((await reader?.read())?.value).toBe(rest)
    await reader?.cancel()
  })

  test('a comment of a cold start arrives while it lasts', async () => {
    head = ''
    onRequest = () => {}
    const response = await post({ model: 'demo', stream: true })
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
    expect((await reader?.read())?.value).toMatch(/^: leasehold /)
    socket?.end(`${toHead('content-type: text/event-stream')}${EVENTS}`)
    expect((await reader?.read())?.value).toContain('[DONE]')
    await reader?.cancel()
  })

  test('events of the gateway arrive as they happen', async () => {
    const leaving = new AbortController()
    const response = await fetch(`${url}/api/events?last=1`, { signal: leaving.signal })
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
    expect((await reader?.read())?.value).toContain('data: ')
    leaving.abort()
  })
})
