// What a large prompt does to other requests: the longest turn of the gateway's event loop while it passes
// (in processor time, so that a busy host does not count), and what
// the prompt's own answer waits more than without us.
// Run: node test/bench/bodies.mjs [--quick] [--json FILE]
import { startChild } from './children.mjs'
import { median, runAlone } from './figures.mjs'
import { toProviders } from './peers.mjs'

const WORDS = 'The quick brown fox said \\"jump\\" and the lazy dog did, at last.\\n'

/** @returns {Promise<import('./figures.mjs').Report>} */
export async function measure({ quick }) {
  const upstream = await startChild('upstream')
  const models = [{ id: 'plain' }, { id: 'flat', compat: { requiresStringContent: true } }]
  const gateway = await startChild('gateway', { providers: toProviders(upstream.port, { models }) })
  const load = await startChild('load')
  const run = async (port, body) => {
    const result = await load.ask({ port, path: '/v1/chat/completions', body, connections: 1, count: 1 })
    return result.p50Us / 1e3
  }
  const rows = []
  try {
    for (const megabytes of [1, 10])
      for (const [prompt, model, toBody] of CASES) {
        const body = toBody(megabytes * 1e6)
        const figures = []
        // Two to begin with do not count: the first large bodies also pay for compiling.
        for (let round = quick ? 0 : -2; round < (quick ? 1 : 15); round += 1) {
          const directMs = await run(upstream.port, body)
          await gateway.ask('watch the loop')
          const oursMs = await run(gateway.port, body)
          const { longestMs } = await gateway.ask('longest turn')
          if (round >= 0) figures.push({ longestMs, addedMs: oursMs - directMs })
        }
        rows.push({
          body: `${megabytes} MB ${prompt}`,
          change: model === 'bench/plain' ? 'model name only' : 'flattened too',
          'longest turn, ms': median(figures.map(({ longestMs }) => longestMs)),
          'added latency, ms': median(figures.map(({ addedMs }) => addedMs)),
        })
      }
  } finally {
    await load.end()
    await gateway.end()
    await upstream.end()
  }
  return {
    title: 'Large prompts',
    rows,
    targets: rows.map(({ body, change, 'longest turn, ms': value }) => ({
      number: `${body}, ${change}: ms`,
      value,
      atMost: body.startsWith('10 ') ? 5 : 2,
    })),
  }
}

const CASES = [
  ['text', 'bench/plain', (bytes) => toBody('bench/plain', toTurns(bytes))],
  ['text', 'bench/flat', (bytes) => toBody('bench/flat', toTurns(bytes))],
  ['image', 'bench/plain', (bytes) => toBody('bench/plain', toImage(bytes))],
]

function toBody(model, messages) {
  return `{"model":"${model}","messages":[${messages}],"max_tokens":16}`
}

/** A long conversation whose turns are arrays of text parts of about 4 KB. */
function toTurns(bytes) {
  const text = WORDS.repeat(60)
  const turn = (role) => `{"role":"${role}","content":[{"type":"text","text":"${text}"}]}`
  const pair = `${turn('user')},${turn('assistant')}`
  return `${`${pair},`.repeat(Math.floor(bytes / pair.length))}${turn('user')}`
}

function toImage(bytes) {
  const url = `data:image/png;base64,${'iVBORw0KGgo'.repeat(Math.floor(bytes / 11))}`
  return `{"role":"user","content":[{"type":"text","text":"What is it?"},{"type":"image_url","image_url":{"url":"${url}"}}]}`
}

await runAlone(import.meta.url, measure)
