import { expect, test } from 'vitest'
import { formatEvent } from '../../src/cli/events-command.ts'
import { formatLogLine } from '../../src/cli/log-lines.ts'
import type { Terminal } from '../../src/cli/terminal.ts'
import { listWhyLines, type WhyFacts } from '../../src/cli/why.ts'
import { explain } from '../../src/explanation/explanation.ts'
import type { ServiceSnapshot } from '../../src/service/snapshot.ts'
import { toSituation } from '../explanation/situation.ts'
import { createPlace } from './command-line.ts'

const terminal = { paint: (_style: string, text: string) => text } as Terminal

const tell = (service: Partial<ServiceSnapshot>, history: WhyFacts['history'] = [], lastLine?: string) => {
  const situation = toSituation(service)
  const explanation = explain(situation, { all: [situation], lastLine })
  const snapshot = { holder: null, ...situation, explanation } as ServiceSnapshot
  return listWhyLines({ service: snapshot, history }, terminal).join('\n')
}

test('one that hangs in loading says what it saw last, what it printed, and that it is late', () => {
  const text = tell(
    {
      state: 'starting.warming',
      inStateMs: 60_000,
      why: { kind: 'loading', pid: 7 },
      verdict: { kind: 'loading', detail: '503 Loading model' },
      startTimes: { medianMs: 2_600, count: 3 } as ServiceSnapshot['startTimes'],
      timers: [{ name: 'readyTimeout', remainingMs: 60_000, totalMs: 120_000 }],
      queue: [{ id: 'a', position: 1, priority: 0, waitedMs: 61_000, estimatedMs: null }],
    },
    [],
    'loading tensors:\u001b[31m 12 %\nline',
  )
  expect(text).toBe(
    [
      'demo: Loading for 1 min 0 s, longer than usual',
      '  because    It runs (pid 7) but is not ready. It usually takes 2.6 s. Its last health check said: loading (503 Loading model). 1 request waits for it. It last printed: loading tensors: 12 % line',
      '  next       Its start fails in 1 min 0 s unless it is ready.',
      '  you can    Read its output. If it makes progress, wait: leasehold logs demo -f',
      '  you can    If it makes no progress, stop it: leasehold stop demo',
      '  you can    If the model needs longer to load, raise readyTimeoutMs. If the server is ready already, correct healthUrl.',
      '  state      starting.warming, for 1 min 0 s',
      '  run by     leasehold',
      '  waiting    1 request; the first for 1 min 1 s',
    ].join('\n'),
  )
})

test('one that crashes in a loop says the cause, its last words, and when it is tried again', () => {
  const failure = {
    code: 'LEASEHOLD_EXITED_BEFORE_READY',
    message: 'the process exited with code 1 before it was ready',
    tail: ['out of memory'],
  } as const
  const why = { kind: 'failed', failure, failures: 5 } as const
  const text = tell(
    {
      state: 'down.tripped',
      ownership: 'none',
      pid: null,
      failure,
      failures: 5,
      why,
      timers: [{ name: 'breakerCooldown', remainingMs: 20_000, totalMs: 30_000 }],
    },
    [
      {
        seq: 1,
        atMs: 1,
        time: '2026-01-01T00:00:00.000Z',
        type: 'service.state',
        service: 'demo',
        key: 'k',
        from: 'starting.warming',
        to: 'down.tripped',
        reason: failure.code,
        why,
      },
    ],
  )
  expect(text).toMatch(
    /because +The process exited with code 1 .* 5 failures in a row\. Last output: out of memory/,
  )
  expect(text).toMatch(/next +One trial start is allowed in 20 s/)
  expect(text).toMatch(/you can +When the cause is fixed, start it: leasehold start demo/)
  expect(text).toMatch(/how it came to that:\n +\S+ +failing: requests are refused: the process exited/)
})

test.each(['down.backoff', 'down.tripped'] as const)(
  'a failing service in %s is explained without a line that repeats another',
  (state) => {
    const failure = {
      code: 'LEASEHOLD_EXITED_BEFORE_READY',
      message: 'the process exited with code 1 before it was ready',
      tail: ['Error: out of memory'],
      telling: { cause: 'memory', line: 'Error: out of memory' },
    } as const
    const why = { kind: 'failed', failure, failures: 5 } as const
    const steps = [state, state].map((to, index) => ({
      seq: index,
      atMs: index,
      time: '2026-01-01T00:00:00.000Z',
      type: 'service.state' as const,
      service: 'demo',
      key: 'k',
      from: 'starting.warming',
      to,
      reason: failure.code,
      why,
    }))
    const service: Partial<ServiceSnapshot> = {
      state,
      ownership: 'none',
      pid: null,
      failure,
      failures: 5,
      why,
    }
    const lines = tell(service, steps as unknown as WhyFacts['history']).split('\n')
    const texts = lines.map((line) => line.replace(/^ +(?:because|next|you can|\S+:\d\d:\d\d) +/, ''))
    expect(texts.filter((text, index) => texts.indexOf(text) !== index)).toEqual([])
    expect(lines.length).toBeGreaterThan(5)
  },
)

test('an event is one line, whatever a server printed', () => {
  const line = formatEvent({
    seq: 1,
    atMs: 1,
    time: '2026-01-01T00:00:01.500Z',
    type: 'service.failed',
    service: 'demo',
    key: 'k',
    message: 'a\u001b[31mb\nc',
  })
  expect(line).toMatch(/^00:00:01\.500 {2}service\.failed {2}demo {2}message=a.*b c$/)
  expect(line).not.toContain('\u001b')
})

test('a log for people is one line for each event, and what is no JSON stays', () => {
  const line = JSON.stringify({
    level: 40,
    time: 0,
    event: 'lease.refused',
    service: 'demo',
    id: 'a',
    msg: 'm',
  })
  expect(formatLogLine(line, terminal)).toMatch(/^\d\d:\d\d:\d\d {2}warn {3}lease\.refused {2}demo {2}id=a$/)
  expect(formatLogLine('plain', terminal)).toBe('plain')
})

test('a running gateway explains a service, and tells what happened', async () => {
  await using place = await createPlace()
  place.configure()
  const gateway = place.start('serve', '--log-format', 'pretty')
  await gateway.until(/listens on/)
  await fetch(`http://127.0.0.1:${place.gatewayPort}/api/services/demo/start`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  })
  await gateway.until(
    /info {3}service\.state {2}demo {2}from=.* {2}to=leased.open {2}whyText=its server is ready/,
  )
  // Its lease ends at once.
  let why = await place.run('why', 'demo')
  while (why.stdout.startsWith('demo: In use')) why = await place.run('why', 'demo')
  expect(why).toMatchObject({ code: 0, stderr: '' })
  expect(why.stdout).toMatch(/^demo: Ready, not in use\n {2}because +Nothing uses it any more\.\n/)
  expect(why.stdout).toMatch(
    /how it came to that:\n(?:.*\n)*.*loading: its process \d+ runs and is not ready yet\n/,
  )
  const told = (await place.run('events')).stdout
  expect(told).toMatch(/^\d\d:\d\d:\d\d\.\d{3} {2}demo {2}process \d+ runs$/m)
  expect(told).not.toMatch(/LEASEHOLD_|=|service\.|lease\./)
  expect((await place.run('events', '--raw')).stdout).toMatch(/ {2}process\.spawned {2}demo {2}.*pid=\d+/)
  const events = await place.run('events', '--types', 'process.', '--json')
  expect(JSON.parse(events.stdout.trim())).toMatchObject({ type: 'process.spawned', service: 'demo' })
}, 120_000)
