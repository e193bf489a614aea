import { expect, test } from 'vitest'
import { listRequestLines, type RequestLists } from '../../src/cli/requests-command.ts'
import type { Terminal } from '../../src/cli/terminal.ts'
import { createPlace } from './command-line.ts'

const terminal = { paint: (_style: string, text: string) => text } as Terminal

const ended: RequestLists['ended'][number] = {
  id: 'x-1',
  ref: 'demo/a',
  service: 'k',
  route: '/v1/chat/completions',
  client: 'aider',
  startedAtMs: 0,
  endedAtMs: 7_500,
  time: new Date(2026, 0, 2, 3, 4, 5).toISOString(),
  outcome: 'done',
  code: null,
  status: 200,
  timings: { waitMs: 1_000, loadMs: 4_000, firstByteMs: 20, streamMs: 2_000 },
  usage: { promptTokens: 3, completionTokens: 40, tokensPerSecond: 20 },
  bytes: 9,
  rewrites: [],
  attempts: [],
}

test('requests are a table with the newest last and those under way below it', () => {
  const failed = {
    ...ended,
    ref: null,
    client: 'a\u001b[31mb',
    outcome: 'failed',
    code: 'LEASEHOLD_QUEUE_FULL',
    usage: null,
  } as const
  const timings = { waitMs: 0, loadMs: 3_000, firstByteMs: 0, streamMs: 0 }
  const open = {
    id: 'x-3',
    ref: 'demo/a',
    service: 'k',
    state: 'leasing',
    ageMs: 3_000,
    client: 'curl',
    timings,
    bytes: 0,
    chunks: 0,
  } as const
  expect(listRequestLines({ requests: [open], ended: [failed, ended] }, terminal)).toEqual([
    'ENDED     MODEL   CLIENT  WAIT   LOAD   FIRST BYTE  STREAM  TOKENS  OUTCOME',
    '03:04:05  demo/a  aider   1.0 s  4.0 s              2.0 s   40      done',
    '03:04:05          ab      1.0 s  4.0 s              2.0 s           queue full',
    '          demo/a  curl           3.0 s                              leasing',
  ])
  expect(listRequestLines({ requests: [], ended: [] }, terminal)).toEqual(['No request has come yet.'])
})

test('the last requests of a running gateway are shown, and written as JSON', async () => {
  await using place = await createPlace()
  place.configure()
  const serving = place.start('serve')
  await serving.until(/listens on/)
  expect((await place.run('requests')).stdout).toBe('No request has come yet.\n')
  await place.run('infer', 'model', 'run', '--prompt', 'What is 6 * 7?')
  const { requests, ended: done }: RequestLists = JSON.parse((await place.run('requests', '--json')).stdout)
  expect(requests).toEqual([])
  expect(done).toMatchObject([{ outcome: 'done', timings: { loadMs: expect.any(Number) } }])
  expect((await place.run('requests', '--last', '1')).stdout).toMatch(/^ENDED .*\n.* done\n$/)
  serving.child.kill('SIGTERM')
  expect((await serving.ended).code).toBe(0)
})
