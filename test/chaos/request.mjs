import { createHash } from 'node:crypto'
import { Agent, request as open } from 'node:http'

/**
 * No client may wait for an answer longer than this, in milliseconds. Long, because the limit of a queue is
 * 45 s and a host of two cores that runs twenty programs is slow; a request that is forgotten waits for ever.
 */
const ANSWER_LIMIT_MS = 240_000

/** Words of a long document, where those of others would take minutes: this one's server takes 2 ms for each. */
const LONGEST = { delta: 2_000 }

/** What one request will be and what its client will do to it. */
export function planRequest(random, nonce, models) {
  const isStream = random.chance(0.55)
  const model = random.pick(models)
  return {
    nonce,
    model,
    isStream,
    asksUsage: isStream && random.chance(0.3),
    count: isStream
      ? random.chance(0.01)
        ? random.whole(200, 400)
        : random.whole(2, 10)
      : random.chance(0.005)
        ? (LONGEST[model] ?? 60_000)
        : random.whole(1, 200),
    padding: random.chance(0.01) ? random.whole(20_000, 400_000) : 0,
    abort: random.chance(0.07)
      ? random.pick(['before the body', 'in the body', 'while waiting', 'at the head', 'in the answer'])
      : null,
    abortAfterMs: random.whole(0, 60),
    reader: random.weighted({ eager: 92, slow: 6, frozen: 2 }),
    halfCloses: random.chance(0.02),
    isFresh: random.chance(0.2),
  }
}

const kept = new Agent({ keepAlive: true })
const fresh = new Agent({ keepAlive: false })

/**
 * Sends one request as planned, and reads its answer to the letter. Never rejects. The record says how it ended:
 *   complete   a whole answer: the text, the frames and the ids are the expected ones
 *   refused    an error of the gateway, or of the server, instead of an answer
 *   broken     an answer, then an error event and a cut connection
 *   cut        a connection that was cut without a word
 *   left       we left ourselves
 *   wrong      anything else: a clean end of half an answer, the answer to another request, endless silence
 */
export function send(base, plan) {
  return new Promise((resolve) => {
    const { nonce, isStream, count, limitMs = ANSWER_LIMIT_MS } = plan
    const body = JSON.stringify({
      model: plan.model === 'default' ? undefined : `${plan.model}/demo`,
      stream: isStream,
      ...(plan.asksUsage ? { stream_options: { include_usage: true } } : {}),
      messages: [
        ...(plan.padding > 0 ? [{ role: 'system', content: 'x'.repeat(plan.padding) }] : []),
        { role: 'user', content: `count to ${count}` },
      ],
    })
    const record = { nonce, model: plan.model, isStream, asksUsage: plan.asksUsage, startedAt: Date.now() }
    if (plan.halfCloses) record.halfClosed = true
    const chunks = []
    let hasLeft = false
    let answer
    const settle = (outcome, facts = {}) => {
      if (record.outcome !== undefined) return
      clearTimeout(limit)
      Object.assign(record, { outcome, endedAt: Date.now(), ...facts })
      resolve(record)
    }
    const leave = () => {
      hasLeft = true
      settle('left', { reason: plan.abort ?? plan.reader })
      outgoing.destroy()
    }
    const limit = setTimeout(() => {
      settle('wrong', { reason: `no end after ${limitMs} ms` })
      outgoing.destroy()
    }, limitMs)

    const outgoing = open(`${base}/v1/chat/completions`, {
      method: 'POST',
      agent: plan.isFresh || plan.halfCloses ? fresh : kept,
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        'x-demo-nonce': nonce,
        ...plan.headers,
      },
    })
    outgoing.once('response', (incoming) => {
      answer = incoming
      record.status = incoming.statusCode
      incoming.on('data', (chunk) => {
        chunks.push(chunk)
        if (plan.abort === 'in the answer') return leave()
        if (plan.reader === 'eager' || chunks.length > 3) return
        // Not the answer: of one that is paused, Node drops what it has read when the connection closes.
        const { socket } = incoming
        socket.pause()
        // The whole answer was in what had been read: the connection is the next request's.
        incoming.once('close', () => socket.resume())
        const pauseMs = plan.reader === 'slow' ? plan.abortAfterMs : plan.abortAfterMs * 20
        setTimeout(() => (plan.reader === 'frozen' ? leave() : socket.resume()), pauseMs)
      })
      incoming.once('error', () => {})
      incoming.once('close', () => {
        if (hasLeft) return
        const { outcome, ...facts } = judge(Buffer.concat(chunks), incoming, plan)
        settle(outcome, facts)
      })
      if (plan.abort === 'at the head') leave()
    })
    outgoing.once('error', (error) => {
      if (answer !== undefined || hasLeft) return
      settle('cut', { reason: error.code ?? error.message, isReused: outgoing.reusedSocket })
    })
    if (plan.abort === 'before the body') {
      outgoing.flushHeaders()
      setTimeout(leave, plan.abortAfterMs)
    } else if (plan.abort === 'in the body') {
      outgoing.write(body.slice(0, body.length / 2))
      setTimeout(leave, plan.abortAfterMs)
    } else {
      outgoing.end(body)
      if (plan.abort === 'while waiting') setTimeout(leave, plan.abortAfterMs)
      if (plan.halfCloses) outgoing.once('finish', () => outgoing.socket?.end())
    }
  })
}

/** What an answer is, once its connection or its body has ended. */
function judge(bytes, { statusCode, complete: isWholeOnWire, headers }, plan) {
  if (statusCode !== 200) {
    if (!isWholeOnWire) return { outcome: 'cut', reason: `in the body of a ${statusCode}` }
    // What has no code of ours is the server's own refusal, passed on.
    return { outcome: 'refused', reason: String(toErrorCode(bytes) ?? `the server said ${statusCode}`) }
  }
  const isEventStream = String(headers['content-type']).startsWith('text/event-stream')
  const whole = bytes.toString('utf8')
  // Comments are the gateway's. They stand before a stream that had to wait, and between events of one that is slow.
  const text = isEventStream ? whole.replace(/(?<=^|\n\n)(?:: leasehold [^\n]*\n)+/g, '') : whole
  const facts = isEventStream ? readEvents(text) : readDocument(text)
  if (facts.errorCode !== undefined)
    return isWholeOnWire
      ? { outcome: 'wrong', reason: `an error event (${facts.errorCode}), then a clean end` }
      : { outcome: 'broken', reason: String(facts.errorCode) }
  const alien = facts.ids.find((id) => id !== `chatcmpl-${plan.nonce}`)
  if (alien !== undefined) return { outcome: 'wrong', reason: `holds the answer to ${alien}` }
  if (!isWholeOnWire) return { outcome: 'cut', reason: 'in the answer', isEventStream }
  const wanted = toText(plan.count)
  if (facts.text !== wanted || !facts.hasEnding)
    return { outcome: 'wrong', reason: `a clean end, but ${toDifference(facts, wanted)}` }
  // That one which was asked for arrives is what the digest is for.
  if (isEventStream && facts.hasUsage && !plan.asksUsage)
    return { outcome: 'wrong', reason: 'a usage chunk that was not asked for' }
  return { outcome: 'complete', sha256: createHash('sha256').update(text).digest('hex') }
}

function toText(count) {
  return Array.from({ length: count }, (_, index) => index + 1).join(' ')
}

function toDifference({ text, hasEnding }, wanted) {
  if (text === wanted) return 'without its ending'
  if (wanted.startsWith(text))
    return `truncated: ${text.length} of ${wanted.length} characters${hasEnding ? '' : ', no ending'}`
  const at = [...wanted].findIndex((character, index) => text[index] !== character)
  return `another text from character ${at} on: ${JSON.stringify(text.slice(Math.max(0, at - 20), at + 20))}`
}

function readEvents(text) {
  const facts = { text: '', ids: [], hasEnding: false, hasUsage: false, errorCode: undefined }
  for (const event of text.split('\n\n')) {
    const data = /^data: (.*)$/m.exec(event)?.[1]
    if (data === undefined) continue
    if (/^event: error$/m.test(event)) facts.errorCode = toErrorCode(data) ?? 'without a code'
    else if (data !== '[DONE]') {
      const frame = parse(data)
      if (frame === undefined) continue
      if (!facts.ids.includes(frame.id)) facts.ids.push(frame.id)
      facts.text += frame.choices?.[0]?.delta?.content ?? ''
      // Some servers end with this alone, and one that is killed behind it has told everything. That a server's
      // [DONE] arrives is what the digest is for.
      facts.hasUsage ||= frame.choices?.length === 0 && frame.usage !== undefined
      facts.hasEnding ||= frame.choices?.[0]?.finish_reason === 'stop'
    }
  }
  return facts
}

function readDocument(text) {
  const document = parse(text)
  const choice = document?.choices?.[0]
  return {
    text: choice?.message?.content ?? '',
    ids: document === undefined ? [] : [document.id],
    hasEnding: choice?.finish_reason === 'stop',
    errorCode: undefined,
  }
}

function toErrorCode(text) {
  return parse(String(text))?.error?.code
}

function parse(text) {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
