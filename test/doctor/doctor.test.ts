import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import JSON5 from 'json5'
import { describe, expect, onTestFinished, test } from 'vitest'
import { loadConfig, parseConfig } from '../../src/config/load.ts'
import { examine } from '../../src/doctor/doctor.ts'
import { parseAnswer } from '../../src/doctor/probe-answer.ts'
import { createSupervisor } from '../../src/index.ts'
import { createModelServer } from '../../src/testing/model-server/model-server.ts'
import { listFullRequests, type Personality, personalities, toBody } from './personalities.ts'

describe.each(personalities)('$name', (personality) => {
  test('everything at once passes with what the doctor writes, and not without any one of it', async () => {
    const { file, text, report } = await writeSettings(personality)
    const { compat, dropParams = [] } = personality
    expect(report.services).toMatchObject([{ ownership: 'adopted', models: [{ compat, dropParams }] }])
    const written = await readFile(file, 'utf8')
    const isNeeded = Object.keys(compat).length + dropParams.length > 0
    expect(written === text).toBe(!isNeeded)
    expect(report.findings.filter(({ code }) => code === 'lacking-settings')).toEqual([])

    expect(await attempt(personality, written)).toBe('passes')
    for (const flag of Object.keys(compat)) {
      const outcome = await attempt(personality, written, (model) => {
        delete model.compat[flag]
      })
      expect([flag, outcome]).not.toEqual([flag, 'passes'])
    }
    for (const name of dropParams) {
      const outcome = await attempt(personality, written, (model) => {
        model.dropParams = model.dropParams.filter((one: string) => one !== name)
      })
      expect([name, outcome]).not.toEqual([name, 'passes'])
    }
  })
})

test('a server that makes embeddings and takes no chats is no error', async () => {
  const { report } = await writeSettings({
    name: 'embeddings',
    flags: {},
    refuse: ({ messages }) => (messages.length > 0 ? { status: 501, message: 'no chats' } : undefined),
    compat: {},
  })
  expect(report.services[0]?.models).toMatchObject([
    { unprobed: expect.stringContaining('it makes embeddings and takes no chats'), compat: {} },
  ])
  expect(report.findings).toMatchObject([{ level: 'note', code: 'not-probed' }])
})

test('a key that a server quotes is not in the report', async () => {
  const key = 'a-key-of-some-length'
  const { report } = await writeSettings(
    {
      name: 'talkative',
      flags: {},
      refuse: ({ root }) =>
        root.temperature === undefined ? undefined : { status: 400, message: `no temperature for ${key}` },
      compat: {},
    },
    { apiKey: key },
  )
  expect(JSON.stringify(report)).not.toContain(key)
  expect(JSON.stringify(report)).toContain('no temperature for ***')
})

test('a context that the server does not hold, and images that it refuses, are told', async () => {
  const { report } = await writeSettings(
    {
      name: 'small',
      flags: {},
      refuse: ({ messages }) =>
        JSON.stringify(messages).includes('image_url') ? { status: 400, message: 'no images' } : undefined,
      compat: {},
    },
    {},
    { input: ['text', 'image'], compat: { requiresStringContent: true } },
  )
  expect(report.findings).toMatchObject([
    { level: 'warning', code: 'images' },
    { level: 'note', code: 'unneeded-flags', text: expect.stringContaining('compat.requiresStringContent') },
  ])
})

test('a server that others run, and that is down or elsewhere, is a note', async () => {
  const config = parseConfig(
    JSON.stringify({
      models: {
        providers: {
          // Nothing listens on the port of the discard protocol.
          down: { baseUrl: 'http://127.0.0.1:9/v1', models: [{ id: 'a' }] },
          elsewhere: { baseUrl: 'https://models.example/v1', models: [{ id: 'b' }] },
        },
      },
    }),
  )
  const { services, findings, ok } = await examineHere(config)
  expect(ok).toBe(true)
  expect(services).toMatchObject([{ outcome: 'failed' }, { outcome: 'skipped' }])
  expect(findings).toMatchObject([
    { level: 'note', about: 'down' },
    { level: 'note', about: 'elsewhere' },
  ])
})

/** Lets the doctor write what a server needs into a file without any flag. The server ends with the test. */
async function writeSettings(personality: Personality, provider: object = {}, model: object = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'leasehold-doctor-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const baseUrl = await serve(personality)
  const text = `{
  // The one.
  models: { providers: { it: { baseUrl: '${baseUrl}', ...0 } } },
}
`.replace(
    ', ...0',
    `, ${JSON.stringify({ ...provider, models: [{ id: 'demo', reasoning: personality.isReasoning === true, ...model }] }).slice(1, -1)}`,
  )
  const file = join(folder, 'leasehold.json5')
  await writeFile(file, text, { mode: 0o600 })
  const report = await examineHere(await loadConfig(file), { text, writes: true })
  return { file, text, report }
}

async function examineHere(
  config: Parameters<typeof examine>[0]['config'],
  more: Partial<Parameters<typeof examine>[0]> = {},
) {
  const stateDir = await mkdtemp(join(tmpdir(), 'leasehold-state-'))
  onTestFinished(() => rm(stateDir, { recursive: true }))
  return examine({
    // The port of a gateway that runs here would be a finding.
    config: { ...config, leasehold: { ...config.leasehold, port: 0 } },
    env: { ...process.env, LEASEHOLD_STATE_DIR: stateDir },
    gateway: undefined,
    signal: new AbortController().signal,
    ...more,
  })
}

/** Sends everything at once through a supervisor. */
async function attempt(
  personality: Personality,
  text: string,
  // biome-ignore lint/suspicious/noExplicitAny: the model as the file has it
  change: (model: any) => void = () => {},
): Promise<string> {
  const document = JSON5.parse(text)
  change(document.models.providers.it.models[0])
  await using supervisor = createSupervisor({ config: parseConfig(JSON.stringify(document)) })
  for (const { body, judge } of listFullRequests(personality)) {
    const response = await supervisor.fetch('http://leasehold/v1/chat/completions', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'it/demo', ...body }),
    })
    const fault = judge(parseAnswer(response.status, await response.text()))
    if (fault !== undefined) return fault
  }
  return 'passes'
}

/** A model server behind a check that refuses what this personality refuses. */
async function serve({ flags, refuse }: Personality): Promise<string> {
  const model = createModelServer(flags)
  const { url } = await model.listen()
  const front = createServer(async (request, response) => {
    const body = await buffer(request)
    const refusal = body.length === 0 ? undefined : refuse?.(toBody(JSON.parse(body.toString())))
    if (refusal !== undefined)
      return response
        .writeHead(refusal.status, { 'content-type': 'application/json' })
        .end(JSON.stringify({ error: { message: refusal.message } }))
    const answer = await fetch(`${url}${request.url}`, {
      method: String(request.method),
      headers: { 'content-type': 'application/json' },
      ...(body.length === 0 ? {} : { body: new Uint8Array(body) }),
    })
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? 'text/plain' })
    response.end(Buffer.from(await answer.arrayBuffer()))
  }).listen(0, '127.0.0.1')
  await once(front, 'listening')
  onTestFinished(async () => {
    front.closeAllConnections()
    front.close()
    await model.close()
  })
  return `http://127.0.0.1:${(front.address() as AddressInfo).port}/v1`
}

test('a unit that systemd starts again by itself is told', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'leasehold-doctor-'))
  onTestFinished(() => rm(directory, { recursive: true }))
  const systemctl = join(directory, 'systemctl')
  await writeFile(
    systemctl,
    '#!/bin/sh\n[ "$1" = --user ] && [ "$2 $3 $4" = "show --property=Restart --value" ] && case "$5" in always.service) echo always ;; *) echo no ;; esac\n',
    { mode: 0o755 },
  )
  const toProvider = (unit: string, port: number) => ({
    baseUrl: `http://127.0.0.1:${port}/v1`,
    localService: { unit },
  })
  const providers = { one: toProvider('always.service', 1), two: toProvider('once.service', 2) }
  const env = { PATH: directory, HOME: directory }
  const config = parseConfig(JSON.stringify({ models: { mode: 'replace', providers } }), { env })
  const { findings } = await examine({
    config,
    env,
    gateway: undefined,
    signal: AbortSignal.timeout(60_000),
    isStatic: true,
  })
  expect(findings.filter(({ code }) => code === 'unit-restarts')).toMatchObject([
    { level: 'warning', about: 'one', text: expect.stringContaining('always.service has Restart=always') },
  ])
})
