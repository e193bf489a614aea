import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createRecorder, type RecorderOptions, type SupervisorEvent } from '../../src/index.ts'
import { parseRecording } from '../../src/testing/recording.ts'
import { replay } from '../../src/testing/replay.ts'
import { buildScript } from '../../src/testing/replay-script.ts'
import { runScript } from '../../src/testing/run-script.ts'
import { ask, createLibrary, type Library, type LibraryOptions } from '../integration/library.ts'

/** Records what happens to a library, and gives the recording as it was written. */
async function record(
  options: LibraryOptions,
  live: (library: Library) => Promise<unknown>,
  recorder: Partial<RecorderOptions> = {},
): Promise<{ readonly text: string; readonly mode: number; readonly events: readonly SupervisorEvent[] }> {
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-recording-'))
  const file = join(folder, 'recording.ndjson')
  try {
    const library = await createLibrary(options)
    const recording = createRecorder(library.supervisor, { file, ...recorder })
    await live(library)
    await library.supervisor.close({ force: true })
    await recording.close()
    return { text: readFileSync(file, 'utf8'), mode: statSync(file).mode & 0o777, events: library.events }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const chat = ({ openai }: Library, question = '1 + 1') =>
  openai.chat.completions.create({ model: 'demo/demo', messages: ask(question) })

/** A cold start, streams, a crash under a stream, a restart, an idle stop. */
const stories: Readonly<Record<string, readonly [LibraryOptions, (library: Library) => Promise<unknown>]>> = {
  'a cold start, answers, and a stop for being idle': [
    { service: { idleStopMs: 50 } },
    async (library) => {
      await Promise.all([chat(library), chat(library, '2 + 2')])
      await chat(library)
      await library.untilState('down.cold')
    },
  ],
  'a crash in the middle of an answer, and the start after it': [
    { flags: ['--token-delay-ms', '20'] },
    async (library) => {
      await library.supervisor.start('demo')
      const stream = await library.openai.chat.completions.create({
        model: 'demo/demo',
        messages: ask('count to 200'),
        stream: true,
      })
      const { pid } = await library.seen()
      process.kill(pid, 'SIGKILL')
      await expect(
        (async () => {
          for await (const _ of stream);
        })(),
      ).rejects.toThrow()
      await chat(library)
    },
  ],
  'starts that fail until the breaker opens, and the trial after its cooldown': [
    {
      flags: ['--fail-load', 'exit'],
      leasehold: { breakerFailures: 2, backoffMs: 50, breakerCooldownMs: 50 },
    },
    async (library) => {
      const fail = () => library.supervisor.acquire('demo/demo').catch(() => {})
      await fail()
      await library.until('service.state', ({ from, to }) => from === 'down.backoff' && to === 'down.cold')
      await fail()
      await library.untilState('down.tripped')
      await fail()
      await library.until('service.state', ({ from, to }) => from === 'down.tripped' && to === 'down.cold')
      await fail()
    },
  ],
}

test.each(Object.entries(stories))('%s: the machines do again what was recorded', async (_name, story) => {
  const [options, live] = story
  const { text, events } = await record(options, live)
  const recording = parseRecording(text)
  expect(recording.isWhole).toBe(true)
  const again = replay(recording)
  expect(again.difference).toBeNull()
  const changes = events.filter(({ type }) => type === 'service.state')
  const repeated = again.lives.flatMap(({ steps }) => steps).flatMap(({ said }) => said)
  expect(changes.length).toBeGreaterThan(4)
  expect(changes).toMatchObject(
    JSON.parse(JSON.stringify(repeated.filter(({ type }) => type === 'service.state'))),
  )
  const [life] = again.lives
  const told = life && (await runScript(buildScript(life)))
  expect(told?.steps.at(-1)?.failures).toEqual([])
  expect(told?.ok).toBe(true)
})

test('a recording is its owner’s, and holds no prompt, no answer and no key', async () => {
  const { text, mode } = await record(
    {
      provider: { apiKey: 'key-canary-4711', headers: { 'x-secret': 'header-canary-4712' } },
      service: { env: { DEMO_SECRET: 'env-canary-4713' } },
    },
    (library) => chat(library, 'prompt-canary-4714'),
  )
  expect(mode).toBe(0o600)
  expect(text).toContain('"request.ended"')
  expect(text).not.toContain('canary')
})

test('a recording that is full ends with a line that says so, and nothing else is disturbed', async () => {
  const ends: Error[] = []
  const { text } = await record({}, (library) => chat(library), {
    maxBytes: 2_000,
    onEnd: (why) => ends.push(why),
  })
  const lines = text.trim().split('\n')
  expect(JSON.parse(lines.at(-1) ?? '')).toEqual({ type: 'recording.ended', because: 'size' })
  expect(ends.map(({ message }) => message)).toEqual([expect.stringContaining('limit of 2000 bytes')])
  expect(parseRecording(text).isWhole).toBe(false)
})

/** A service that starts, is used and idles out; short, and made once. */
const recorded = record({ service: { idleStopMs: 30 } }, async (library) => {
  await chat(library)
  await library.untilState('down.cold')
})

const tamper = async (change: (event: Record<string, unknown>) => Record<string, unknown> | undefined) => {
  const { text } = await recorded
  const [header, ...events] = text.trim().split('\n')
  const changed = events.map((line) => change(JSON.parse(line)) ?? JSON.parse(line))
  return replay(parseRecording(`${[header, ...changed.map((one) => JSON.stringify(one))].join('\n')}\n`))
}

test('a recording whose state was changed is found out at that event', async () => {
  let seq: unknown
  const { ok, difference } = await tamper((event) => {
    if (event.type !== 'service.state' || event.to !== 'starting.spawning') return undefined
    seq = event.seq
    return { ...event, to: 'ready' }
  })
  expect(ok).toBe(false)
  expect(difference).toMatchObject({ seq, service: 'demo', recorded: { to: 'ready' } })
})

test('a recording whose cause was changed is found out where its effect is missing', async () => {
  const { ok, difference } = await tamper((event) =>
    event.type === 'process.spawned' ? { ...event, generation: 'another.1' } : undefined,
  )
  expect(ok).toBe(false)
  expect(difference).toMatchObject({ recorded: { type: 'service.state' } })
})

test('a delay that ends before it can be over is found out', async () => {
  const { ok, difference } = await tamper((event) =>
    event.type === 'service.added'
      ? { ...event, policy: { ...(event.policy as object), idleStopMs: 600_000 } }
      : undefined,
  )
  expect(ok).toBe(false)
  expect(difference).toMatchObject({ replayed: expect.stringMatching(/^this delay ends \d+ ms later$/) })
})

test('what is no recording is refused with its line', async () => {
  const { text } = await recorded
  const lines = text.trim().split('\n')
  expect(() => parseRecording('{"type":"something"}\n')).toThrow('line 1')
  expect(() => parseRecording(`${lines[0]}\nnonsense\n`)).toThrow('line 2: not JSON')
  expect(() => parseRecording(`${[lines[0], lines[1], lines[3]].join('\n')}\n`)).toThrow(
    'line 3: expected event',
  )
})

test('a recording of a supervisor that was killed is played as far as it goes', async () => {
  const { text } = await recorded
  const cut = parseRecording(text.slice(0, Math.floor(text.length * 0.6)))
  expect(cut.isWhole).toBe(false)
  expect(replay(cut)).toMatchObject({ ok: true, difference: null })
})
