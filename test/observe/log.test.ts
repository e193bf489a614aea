import { pino } from 'pino'
import { Subject } from 'rxjs'
import { expect, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import type { SupervisorEvent } from '../../src/events/events.ts'
import { logConfig, logEvents } from '../../src/observe/log.ts'
import { ask, createLibrary } from '../integration/library.ts'

/** A logger that keeps its lines. */
function createLog(level = 'debug') {
  const lines: Record<string, unknown>[] = []
  const logger = pino({ level }, { write: (line: string) => lines.push(JSON.parse(line)) })
  return { logger, lines }
}

const at = { seq: 1, atMs: 1, time: '2026-01-01T00:00:00.000Z' }
const advised = (ref: string, advice: string): SupervisorEvent => ({
  ...at,
  type: 'request.advised',
  requestId: 'r',
  ref,
  advice,
  text: 'set the flag',
  block: null,
})

test('an advice warns once per model, and is told quietly afterwards', () => {
  const { logger, lines } = createLog()
  const events$ = new Subject<SupervisorEvent>()
  logEvents(events$, logger)
  for (const [ref, advice] of [
    ['a/m', 'x'],
    ['a/m', 'x'],
    ['a/m', 'y'],
    ['b/m', 'x'],
    ['b/m', 'x'],
  ] as const)
    events$.next(advised(ref, advice))
  expect(lines.map(({ level }) => level)).toEqual([40, 20, 40, 40, 20])
})

test('children of the logger carry whom a line is about, one for each service', () => {
  const children: unknown[] = []
  const logger = pino(
    { level: 'info', onChild: (child) => children.push(child.bindings()) },
    { write: () => {} },
  )
  const events$ = new Subject<SupervisorEvent>()
  logEvents(events$, logger)
  const change = {
    type: 'service.state',
    from: 'starting.warming',
    to: 'leased.open',
    reason: null,
    why: null,
  } as const
  for (const key of ['k', 'l', 'k']) events$.next({ ...at, ...change, service: `of ${key}`, key })
  events$.next({ ...at, type: 'request.attempted', requestId: 'r', ref: 'a/m', code: 'X' })
  expect(children).toEqual([{ service: 'of k', key: 'k' }, { service: 'of l', key: 'l' }, { requestId: 'r' }])
})

test('an event is logged by its name with its facts, and a constant message', () => {
  const { logger, lines } = createLog()
  const events$ = new Subject<SupervisorEvent>()
  logEvents(events$, logger)
  events$.next({
    ...at,
    type: 'service.state',
    service: 'demo',
    key: 'k',
    from: 'starting.warming',
    to: 'leased.open',
    reason: null,
    why: null,
  })
  expect(lines).toMatchObject([
    {
      level: 30,
      event: 'service.state',
      service: 'demo',
      to: 'leased.open',
      msg: expect.stringContaining('changed its state'),
    },
  ])
})

test('a service that is used and rests again is told at debug only', () => {
  const change = { type: 'service.state', service: 'demo', key: 'k', reason: null, why: null } as const
  const log = (level: string) => {
    const { logger, lines } = createLog(level)
    const events$ = new Subject<SupervisorEvent>()
    logEvents(events$, logger)
    events$.next({ ...at, ...change, from: 'ready', to: 'leased.open' })
    events$.next({ ...at, ...change, from: 'leased.open', to: 'ready' })
    events$.next({ ...at, ...change, from: 'ready', to: 'idle-stopping.terminating' })
    return lines
  }
  expect(log('info')).toMatchObject([{ level: 30, to: 'idle-stopping.terminating' }])
  expect(log('debug')).toMatchObject([{ level: 20 }, { level: 20 }, { level: 30 }])
})

test('what a configuration says in vain is told once, quietly', () => {
  const { logger, lines } = createLog()
  const models = [{ id: 'm', compat: { codeMode: true, supportsTools: false } }, { id: 'n' }]
  const providers = { a: { baseUrl: 'http://127.0.0.1:1/v1', models } }
  logConfig(parseConfig(JSON.stringify({ channels: {}, models: { providers } })), logger)
  expect(lines).toMatchObject([
    { level: 20, ignoredSections: ['channels'] },
    { level: 20, provider: 'a', model: 'm', flags: ['codeMode'] },
  ])
})

test('neither what was asked, nor what was answered, nor a key is logged, even in detail', async () => {
  const { logger, lines } = createLog('trace')
  await using library = await createLibrary({
    supervisor: { logger },
    provider: { apiKey: 'key-canary-4711', headers: { 'x-secret': 'header-canary-4712' } },
    service: { env: { DEMO_SECRET: 'env-canary-4713' } },
  })
  const { choices } = await library.openai.chat.completions.create({
    model: 'demo/demo',
    messages: ask('prompt-canary-4714'),
  })
  expect(choices[0]?.message.content).toContain('prompt-canary-4714')
  expect(lines.length).toBeGreaterThan(10)
  expect(JSON.stringify(lines)).not.toMatch(/canary/)
})

test('a logger that throws loses its lines and is warned of once, and the services live on (fault 121)', async () => {
  const warnings: Error[] = []
  const keep = (warning: Error) => warnings.push(warning)
  process.on('warning', keep)
  let told = 0
  const write = () => {
    told += 1
    throw new Error('a broken logger')
  }
  {
    await using library = await createLibrary({ supervisor: { logger: pino({ level: 'debug' }, { write }) } })
    for (const _ of [1, 2]) {
      const { choices } = await library.openai.chat.completions.create({
        model: 'demo/demo',
        messages: ask('count to 3'),
      })
      expect(choices[0]?.message.content).toBe('1 2 3')
    }
    await library.supervisor.close()
    expect(library.all('process.settled')).toMatchObject([{ receipt: { survivors: [] } }])
  }
  await new Promise((resolve) => setImmediate(resolve))
  process.off('warning', keep)
  expect(told).toBeGreaterThan(10)
  expect(warnings.filter(({ name }) => name === 'LeaseholdLoggerWarning')).toMatchObject([
    { message: expect.stringContaining('a broken logger') },
  ])
})
