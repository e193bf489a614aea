import { expect, test } from 'vitest'
import { showLogs } from '../../src/cli/logs.ts'
import type { Terminal } from '../../src/cli/terminal.ts'
import type { OwnLogLine } from '../../src/observe/own-log.ts'
import { takeFreePort } from '../transport/raw-server.ts'
import { openHouse, openHouseWithServer, toLocalService } from './house.ts'

const chat = { model: 'demo', messages: [{ role: 'user', content: 'count to 3' }] }

/** A terminal that keeps what is printed. */
function createPaper() {
  const printed: string[] = []
  const terminal = {
    env: {},
    line: (text = '') => void printed.push(text),
    json: (value: unknown) => void printed.push(JSON.stringify(value)),
    paint: (style: string, text: string) => `<${style}>${text}`,
  }
  return { printed, terminal: terminal as unknown as Terminal }
}

test("leasehold's own log tells lifecycles in sentences, goes on, and shows no secret", async () => {
  await using house = await openHouseWithServer({ provider: { apiKey: 'sk-very-secret-1' } })
  const refuse = (provider: string) =>
    house.supervisor
      .replaceConfig({ models: { providers: { [provider]: { baseUrl: 'no url' } } } })
      .catch(() => {})
  await refuse('sk-very-secret-1')
  for (const _ of [1, 2]) await (await house.post('/v1/chat/completions', chat)).text()

  const answer = await fetch(`${house.url}/api/logs`)
  const text = await answer.text()
  const { lines } = JSON.parse(text) as { readonly lines: readonly OwnLogLine[] }
  expect(lines).toContainEqual({
    seq: expect.any(Number),
    atMs: expect.any(Number),
    time: expect.stringMatching(/^\d{4}-.*Z$/),
    level: 'error',
    type: 'config.refused',
    service: null,
    requestId: null,
    text: expect.stringMatching(/^the configuration is refused, the old one stays: .*\*\*\*/),
  })
  expect(lines.filter(({ service }) => service === 'local')).toMatchObject([
    { level: 'info', type: 'service.state', text: expect.stringMatching(/^looking for a running server: /) },
    { level: 'info', type: 'service.state' },
  ])
  expect(lines.map(({ seq }) => seq)).toEqual(lines.map(({ seq }) => seq).toSorted((a, b) => a - b))
  expect(text).not.toContain('very-secret')

  const follow = await fetch(`${house.url}/api/logs?follow=1`)
  expect(Number(follow.headers.get('x-leasehold-clock-ms'))).toBeGreaterThan(lines.at(-1)?.atMs ?? 0)
  let followed = ''
  const reading = (async () => {
    for await (const chunk of follow.body?.pipeThrough(new TextDecoderStream()) ?? []) followed += chunk
  })()
  await expect.poll(() => followed.split('\n'), { timeout: 15_000 }).toHaveLength(lines.length + 1)
  await refuse('another-one')
  await expect.poll(() => followed, { timeout: 15_000 }).toMatch(/another-one/)
  await house.supervisor.close({ force: true })
  await reading
  expect(JSON.parse(followed.trim().split('\n').at(-1) ?? '')).toMatchObject({
    type: 'supervisor.closed',
    text: 'everything is stopped',
  })
})

test('leasehold logs without a service prints that log', async () => {
  await using house = await openHouseWithServer()
  await house.supervisor
    .replaceConfig({ models: { providers: { local: { baseUrl: 'no url' } } } })
    .catch(() => {})
  await (await house.post('/v1/chat/completions', chat)).text()
  const options = { gateway: house.url, config: 'builtin:demo' }
  const paper = createPaper()
  expect(await showLogs(undefined, options, paper.terminal)).toBe(0)
  expect(paper.printed).toContainEqual(
    expect.stringMatching(/^<red>\d\d:\d\d:\d\d {2}error {2}leasehold {2}the configuration is refused/),
  )
  expect(paper.printed).toContainEqual(
    expect.stringMatching(/^\d\d:\d\d:\d\d {2}info {3}local {2}looking for a running server/),
  )
  const json = createPaper()
  await showLogs(undefined, { ...options, json: true }, json.terminal)
  expect(JSON.parse(json.printed[0] ?? '')).toEqual(await (await fetch(`${house.url}/api/logs`)).json())
})

test('with the servers, their lines stand among its own, also those of a run that begins later', async () => {
  const port = await takeFreePort()
  const provider = { localService: toLocalService(port) }
  await using house = await openHouse({ serverUrl: `http://127.0.0.1:${port}`, provider })
  const follow = await fetch(`${house.url}/api/logs?servers=1&follow=1`)
  let followed = ''
  const reading = (async () => {
    for await (const chunk of follow.body?.pipeThrough(new TextDecoderStream()) ?? []) followed += chunk
  })()
  const count = (text: string) => followed.split(text).length - 1
  for (const run of [1, 2]) {
    await house.supervisor.start('local')
    await expect.poll(() => count('demo-server: model loaded'), { timeout: 15_000 }).toBe(run)
    await house.supervisor.stop('local', { force: true })
  }
  const { lines } = JSON.parse(await (await fetch(`${house.url}/api/logs?servers=1`)).text())
  const at = lines.findIndex(({ text }: { text: string }) => text === 'demo-server: model loaded')
  expect(lines[at]).toEqual({
    service: 'local',
    stream: 'stderr',
    text: 'demo-server: model loaded',
    atMs: expect.any(Number),
    time: expect.stringMatching(/^\d{4}-.*Z$/),
  })
  // The clock is the same: a line of the last run came after its start and before its stop.
  const times = lines.map(({ atMs }: { atMs: number }) => atMs)
  expect(times).toEqual(times.toSorted((a: number, b: number) => a - b))
  const textsBefore = lines.slice(0, at).map(({ text }: { text: string }) => text)
  expect(textsBefore.join()).toMatch(/starting/)
  const textsAfter = lines.slice(at).map(({ text }: { text: string }) => text)
  expect(textsAfter.join()).toMatch(/stopping/)

  const paper = createPaper()
  const options = { gateway: house.url, config: 'builtin:demo', all: true }
  expect(await showLogs(undefined, options, paper.terminal)).toBe(0)
  expect(paper.printed).toContainEqual(
    expect.stringMatching(/^\d\d:\d\d:\d\d {9}local {2}\| demo-server: model loaded$/),
  )
  await expect(showLogs('local', options, paper.terminal)).rejects.toThrow(/not both/)
  await house.supervisor.close({ force: true })
  await reading
})
