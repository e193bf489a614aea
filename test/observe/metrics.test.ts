import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { createMetrics } from '../../src/observe/metrics.ts'
import { ask, createLibrary } from '../integration/library.ts'

/** The value of one line of a scrape. */
function readValue(text: string, start: string): number | undefined {
  const line = text.split('\n').find((one) => one.startsWith(`${start} `))
  return line === undefined ? undefined : Number(line.slice(start.length + 1))
}

test('events are counted, also before the first scrape', async () => {
  await using library = await createLibrary({ service: { idleStopMs: 20 } })
  const request = { model: 'demo/demo', messages: ask('1 + 1') }
  await library.openai.chat.completions.create(request)
  const metrics = createMetrics(library.supervisor)
  const { usage } = await library.openai.chat.completions.create(request)
  await library.untilState('down.cold')
  const text = await metrics.scrape()
  const model = 'provider="demo",model="demo"'
  expect(
    readValue(text, `leasehold_requests_total{${model},route="/v1/chat/completions",outcome="done"}`),
  ).toBe(2)
  expect(readValue(text, `leasehold_time_to_first_byte_seconds_count{${model}}`)).toBe(2)
  expect(readValue(text, `leasehold_tokens_total{${model},kind="completion"}`)).toBe(
    2 * (usage?.completion_tokens ?? 0),
  )
  expect(readValue(text, `leasehold_tokens_per_second_count{${model}}`)).toBe(2)
  expect(readValue(text, 'leasehold_lease_wait_seconds_count{service="demo"}')).toBe(2)
  expect(readValue(text, 'leasehold_starts_total{service="demo",result="ready"}')).toBeGreaterThanOrEqual(1)
  expect(readValue(text, 'leasehold_stops_total{service="demo",reason="idle"}')).toBeGreaterThanOrEqual(1)
  expect(readValue(text, 'leasehold_service_state{service="demo",state="down.cold"}')).toBe(1)
  expect(readValue(text, 'leasehold_resident_memory_bytes')).toBeGreaterThan(1e6)
  metrics.close()
})

test('failures are counted by their code, and clients cannot make labels', async () => {
  await using library = await createLibrary({ flags: ['--fail-load', 'exit'] })
  const metrics = createMetrics(library.supervisor)
  const fail = (model: string) =>
    library.openai.chat.completions.create({ model, messages: ask('1 + 1') }).catch(() => {})
  await fail('demo/demo')
  for (const model of ['unknown/model', 'demo/invented-1', 'demo/invented-2']) await fail(model)
  const text = await metrics.scrape()
  expect(
    readValue(text, 'leasehold_failed_attempts_total{provider="demo",code="LEASEHOLD_EXITED_BEFORE_READY"}'),
  ).toBeGreaterThanOrEqual(1)
  expect(readValue(text, 'leasehold_starts_total{service="demo",result="failed"}')).toBeGreaterThanOrEqual(1)
  expect(text).not.toMatch(/unknown|invented/)
})

test('the dashboard asks for every metric that there is, and for no other', async () => {
  await using library = await createLibrary()
  const metrics = createMetrics(library.supervisor)
  const named = (await metrics.registry.getMetricsAsJSON()).map(({ name }) => name)
  const dashboard = readFileSync(new URL('../../src/observe/grafana.json', import.meta.url), 'utf8')
  const asked = [...dashboard.matchAll(/leasehold_\w+/g)].map(([name]) => name.replace(/_bucket$/, ''))
  expect([...new Set(asked)].toSorted()).toEqual(named.toSorted())
})
