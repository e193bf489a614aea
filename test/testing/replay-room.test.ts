import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI from 'openai'
import { expect, onTestFinished, test } from 'vitest'
import { createRecorder, createSupervisor } from '../../src/index.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { parseRecording } from '../../src/testing/recording.ts'
import { replay } from '../../src/testing/replay.ts'
import { buildScript } from '../../src/testing/replay-script.ts'
import { runScript } from '../../src/testing/run-script.ts'
import { ask, demoServer, listen, writeAndLoad } from '../integration/library.ts'

async function toProvider(flags: readonly string[], service: object) {
  const port = await findFreePort()
  return {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    models: [{ id: 'demo' }],
    localService: {
      command: process.execPath,
      args: [demoServer, '--port', String(port), ...flags],
      healthUrl: `http://127.0.0.1:${port}/health`,
      minResidencyMs: 0,
      ...service,
    },
  }
}

test('evictions for a budget, a server of another supervisor and a failover: the machines reach the same states', {
  timeout: 240_000,
}, async () => {
  const needs = { ramMiB: 600 }
  const shared = await toProvider([], {})
  const providers = {
    broken: await toProvider(['--fail-load', 'exit'], {}),
    a: await toProvider([], { needs }),
    b: await toProvider([], { needs }),
    shared,
  }
  const owner = createSupervisor({
    name: 'owner',
    config: await writeAndLoad(JSON.stringify({ models: { providers: { shared } } })),
  })
  onTestFinished(() => owner.close({ force: true }))
  const config = await writeAndLoad(
    JSON.stringify({
      models: { providers },
      agents: { defaults: { model: { primary: 'broken/demo', fallbacks: ['a/demo'] } } },
      leasehold: { budgets: { ramMiB: 1_000 }, backoffMs: 60_000 },
    }),
  )
  const supervisor = createSupervisor({ name: 'guest', config })
  onTestFinished(() => supervisor.close({ force: true }))
  const hearing = listen(supervisor)
  const folder = await mkdtemp(join(tmpdir(), 'leasehold-replay-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const file = join(folder, 'room.ndjson')
  const recorder = createRecorder(supervisor, { file })
  const openai = new OpenAI({
    baseURL: 'http://leasehold/v1',
    apiKey: 'unused',
    fetch: supervisor.fetch,
    maxRetries: 0,
  })
  const chat = (model: string) => openai.chat.completions.create({ model, messages: ask('1 + 1') })

  // The default cannot start, so `a` answers; `b` needs the room of `a`, and `a` then that of `b`.
  await chat('default')
  await chat('b/demo')
  await chat('a/demo')
  await using lent = await owner.acquire('shared/demo')
  await chat('shared/demo')
  lent.release()
  await supervisor.close({ force: true })
  await recorder.close()

  expect(hearing.all('request.attempted')).toMatchObject([{ ref: 'broken/demo' }])
  expect(hearing.all('service.stop').filter(({ reason }) => reason === 'evicted')).toHaveLength(2)
  const isLoan = (service: string) => service === 'shared'
  expect(hearing.all('process.spawned').some(({ service }) => isLoan(service))).toBe(false)
  expect(hearing.all('lease.granted').filter(({ service }) => isLoan(service))).toMatchObject([
    { owned: false },
  ])

  const recording = parseRecording(await readFile(file, 'utf8'))
  expect(recording.isWhole).toBe(true)
  const again = replay(recording)
  expect(again.difference).toBeNull()
  expect(again.lives.map(({ service }) => service).toSorted()).toEqual(['a', 'b', 'broken', 'shared'])
  for (const life of again.lives) {
    const recorded = hearing.all('service.state').filter(({ key }) => key === life.key)
    const repeated = life.steps.flatMap(({ said }) => said.filter(({ type }) => type === 'service.state'))
    expect(recorded.length).toBeGreaterThan(3)
    expect(recorded).toMatchObject(JSON.parse(JSON.stringify(repeated)))
    const told = await runScript(buildScript(life))
    expect({ [life.service]: told.steps.flatMap(({ failures }) => failures) }).toEqual({ [life.service]: [] })
  }
})
