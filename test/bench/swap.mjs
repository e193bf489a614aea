// What people with one GPU buy a swapper for: how long the unluckiest request waits, how many fail, how many streams
// are cut, side by side with llama-swap where it is. Every swapper runs the same servers for the same requests.
// Run: node test/bench/swap.mjs [--quick] [--json FILE]
import { request } from 'node:http'
import { runAlone } from './figures.mjs'
import { SWAPPERS, startSwapper } from './swap-peers.mjs'

/** @returns {Promise<import('./figures.mjs').Report>} */
export async function measure({ quick }) {
  const sizes = quick
    ? { loadMs: 50, swaps: 4, clients: 8, streams: 2, tokens: 40 }
    : { loadMs: 400, swaps: 40, clients: 64, streams: 8, tokens: 300 }
  const rows = []
  for (const name of Object.keys(SWAPPERS))
    for (const [story, play] of Object.entries(toStories(sizes))) {
      const peer = await startSwapper(name, sizes)
      if (peer === undefined) {
        rows.push({ what: story, through: name, requests: 'not here' })
        continue
      }
      try {
        rows.push({ what: story, through: name, ...toCells(await play(peer)) })
      } finally {
        await peer.end()
      }
    }
  const ours = rows.filter(({ through }) => through === 'leasehold')
  const sum = (column) => ours.reduce((total, row) => total + Number(row[column]), 0)
  return {
    title: 'Four models, one machine',
    rows,
    targets: [
      { number: 'requests failed through leasehold', value: sum('failed'), atMost: 0 },
      { number: 'streams cut through leasehold', value: sum('cut'), atMost: 0 },
    ],
  }
}

function toStories({ swaps, clients, streams, tokens }) {
  return {
    'ABAB on two exclusive models, four at a time': async ({ port, modelOf }) => {
      const asked = Array.from({ length: swaps }, (_, index) => modelOf(index % 2 === 0 ? 'a' : 'b'))
      const answers = []
      const drive = async () => {
        for (let model = asked.shift(); model !== undefined; model = asked.shift())
          answers.push(await ask(port, model, 5))
      }
      await Promise.all(Array.from({ length: 4 }, drive))
      return answers
    },
    'an unload that takes 1.5 s while another is served': async ({ port, modelOf, unload }) => {
      await Promise.all(['c', 'd'].map((id) => ask(port, modelOf(id), 1)))
      let isUnloading = true
      const unloaded = unload('c').finally(() => {
        isUnloading = false
      })
      const answers = [ask(port, modelOf('d'), tokens)]
      do answers.push(await ask(port, modelOf('d'), 1))
      while (isUnloading)
      await unloaded
      return Promise.all(answers)
    },
    'a reload that changes one of two models under load': async ({ port, modelOf, reload }) => {
      await Promise.all(['c', 'd'].map((id) => ask(port, modelOf(id), 1)))
      const begin = () => ['c', 'd'].map((id) => ask(port, modelOf(id), tokens))
      const answers = Array.from({ length: streams }, begin).flat()
      await Promise.all(answers.map(({ begun }) => begun))
      reload()
      // Requests before, while and after it takes effect.
      for (let wave = 0; wave < 4; wave += 1) {
        const asked = begin()
        answers.push(...asked)
        await Promise.all(asked)
      }
      return Promise.all(answers)
    },
    [`${clients} clients for one cold model`]: ({ port, modelOf }) =>
      Promise.all(Array.from({ length: clients }, () => ask(port, modelOf('a'), 5))),
  }
}

function toCells(answers) {
  return {
    requests: String(answers.length),
    'longest wait, ms': Math.max(...answers.map(({ waitedMs }) => waitedMs)),
    failed: String(answers.filter(({ outcome }) => outcome === 'failed').length),
    cut: String(answers.filter(({ outcome }) => outcome === 'cut').length),
  }
}

/**
 * One streamed chat. Settles with how long its first byte took and how it ended: `whole`, `failed` before the first
 * byte, or `cut` after it. `begun` settles with the first byte, or the end.
 */
function ask(port, model, tokens) {
  const startedAtMs = performance.now()
  const waited = () => performance.now() - startedAtMs
  const body = JSON.stringify({
    model,
    stream: true,
    messages: [{ role: 'user', content: `count to ${tokens}` }],
  })
  let begin
  const begun = new Promise((resolve) => {
    begin = resolve
  })
  const ended = new Promise((resolve) => {
    let waitedMs
    let tail = ''
    const finish = () => {
      const outcome = tail.includes('[DONE]') ? 'whole' : waitedMs === undefined ? 'failed' : 'cut'
      resolve({ outcome, waitedMs: waitedMs ?? waited() })
    }
    const sent = request({
      port,
      method: 'POST',
      path: '/v1/chat/completions',
      agent: false,
      headers: { 'content-type': 'application/json' },
    })
    sent.once('error', finish)
    sent.once('response', (response) => {
      response.setEncoding('utf8')
      response.on('data', (text) => {
        if (response.statusCode !== 200) return
        waitedMs ??= waited()
        begin()
        tail = (tail + text).slice(-100)
      })
      response.once('error', finish)
      response.once('close', finish)
    })
    sent.end(body)
  })
  ended.then(begin)
  return Object.assign(ended, { begun })
}

await runAlone(import.meta.url, measure)
