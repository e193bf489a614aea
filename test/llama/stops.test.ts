// @module-tag proof

import type OpenAI from 'openai'
import { expect, test } from 'vitest'
import { isPortFree } from '../../src/process/tcp-ports.ts'
import {
  countText,
  createLlama,
  describeWithLlama,
  endlessModel,
  type Llama,
  question,
  slowCountModel,
} from './llama-server.ts'

/** llama-server exits so when it is told to end and does. */
const cleanEnd = { exitCode: 0, signal: null, survivors: [] }

describeWithLlama('a real llama-server that is idle', () => {
  test('is stopped, and the next request starts a new generation', async () => {
    await using llama = await createLlama({ service: { idleStopMs: 50 } })
    const chat = () => llama.openai.gateway.chat.completions.create({ ...question, max_tokens: 3 })
    await chat()
    const { receipt } = await llama.until('process.settled')
    expect(receipt).toMatchObject(cleanEnd)
    expect(await isPortFree('127.0.0.1', llama.port)).toBe(true)
    expect((await chat()).choices[0]?.message.content).toBe('0 1 2')
    const [first, second] = llama.all('process.spawned')
    expect(second?.generation).not.toBe(first?.generation)
    expect(llama.all('service.stop')).toEqual([])
  })

  test('and frozen is stopped all the same', async () => {
    await using llama = await createLlama()
    const { pid } = await llama.supervisor.start('llama')
    process.kill(pid ?? 0, 'SIGSTOP')
    expect(await llama.supervisor.stop('llama')).toMatchObject({ receipt: cleanEnd })
  })
})

// llama-server closes its doors when it gets a SIGTERM, and then waits for its requests for ever: they make no more
// progress. It ends only when the clients have left.
describeWithLlama('a real llama-server with requests under way', () => {
  test('finishes them before it is stopped', async () => {
    await using llama = await createLlama({ model: slowCountModel })
    const stream = await startStream(llama)
    const plain = llama.openai.library.chat.completions.create({ ...question, max_tokens: 200 })
    await llama.until('lease.granted', ({ id }) => id !== llama.all('lease.granted')[0]?.id)
    const [text, { choices }, stopped] = await Promise.all([
      stream.rest(),
      plain,
      llama.supervisor.stop('llama'),
    ])
    expect(text).toBe(countText)
    expect(choices[0]?.message.content).toMatch(/^0 1 2 .* 199$/)
    expect(stopped).toMatchObject({ state: 'down.cold', leases: 0, receipt: cleanEnd })
    expect(llama.all('service.state').map(({ to }) => to)).toContain('leased.draining')
    expect(llama.all('leases.revoked')).toEqual([])
  })

  test('sees its clients leave before it is signalled by a forced stop, and ends cleanly', async () => {
    await using llama = await createLlama({ model: endlessModel })
    const streams = await Promise.all([startStream(llama), startStream(llama)])
    const answers = [
      llama.openai.library.chat.completions.create(question),
      llama.openai.gateway.chat.completions.create(question),
      ...streams.map(({ rest }) => rest()),
    ].map((answer) => expect(answer).rejects.toThrow(/stop/))
    await expect.poll(() => llama.service().leases).toBe(4)
    const stopped = await llama.supervisor.stop('llama', { force: true })
    await Promise.all(answers)
    expect(stopped).toMatchObject({ state: 'down.cold', receipt: cleanEnd })
    expect(llama.all('process.signalled').map(({ signal }) => signal)).toEqual(['SIGTERM'])
    expect(llama.all('request.ended').map(({ code }) => code)).toEqual(Array(4).fill('LEASEHOLD_STOPPED'))
    expect(await isPortFree('127.0.0.1', llama.port)).toBe(true)
    // The order in which the server itself saw it; a plain request that leaves is noticed within a second or so.
    const seen = findLines(llama, /cancel task|cleaning up before exit/)
    expect(seen.slice(0, 2)).toEqual(['cancel task', 'cancel task'])
    expect(seen).toContain('cleaning up before exit')
  })

  test('ends cleanly when they take longer than drainTimeoutMs', async () => {
    await using llama = await createLlama({ model: endlessModel, service: { drainTimeoutMs: 50 } })
    const stream = await startStream(llama)
    const broken = expect(stream.rest()).rejects.toThrow()
    expect(await llama.supervisor.stop('llama')).toMatchObject({ state: 'down.cold', receipt: cleanEnd })
    await broken
    expect(llama.all('leases.revoked')).toHaveLength(1)
  })
})

describeWithLlama('a real llama-server that dies', () => {
  test('in the middle of a request is named with its signal, and the next request starts a new one', async () => {
    // This llama-server is healthy, and crashes on its first chat.
    await using llama = await createLlama({ flags: ['--embeddings', '--pooling', 'none'] })
    const { chat } = llama.openai.gateway
    await expect(chat.completions.create(question)).rejects.toMatchObject({
      status: 502,
      code: 'LEASEHOLD_SERVICE_EXITED',
      message: expect.stringContaining('SIGSEGV'),
    })
    expect(await llama.until('process.settled')).toMatchObject({
      receipt: { signal: 'SIGSEGV', survivors: [] },
    })
    await using lease = await llama.supervisor.acquire('llama/demo')
    expect(lease.generation).not.toBe(llama.all('process.exited')[0]?.generation)
    expect(lease.signal.aborted).toBe(false)
  })

  test('in the middle of a stream breaks it off, and never ends it as if it were whole', async () => {
    await using llama = await createLlama({ model: endlessModel })
    const stream = await startStream(llama)
    process.kill(llama.service().pid ?? 0, 'SIGKILL')
    await expect(stream.rest()).rejects.toThrow(/SIGKILL/)
    expect(await llama.until('process.settled')).toMatchObject({ receipt: { survivors: [] } })
  })
})

/** The lines of the server's log that match a pattern. */
function findLines({ supervisor }: Llama, pattern: RegExp): string[] {
  const lines = supervisor.output('llama')?.tail() ?? []
  return lines.flatMap(({ text }) => pattern.exec(text)?.[0] ?? [])
}

/** Begins an answer through the gateway and reads its first pieces. */
async function startStream({ openai }: Llama) {
  const stream = await openai.gateway.chat.completions.create({ ...question, stream: true })
  const chunks = stream[Symbol.asyncIterator]()
  let text = ''
  const read = async () => {
    const { done, value } = await chunks.next()
    text += toText(value)
    return !done
  }
  while (text === '' && (await read()));
  const rest = async () => {
    while (await read());
    return text
  }
  return { rest }
}

function toText(chunk: OpenAI.ChatCompletionChunk | undefined): string {
  return chunk?.choices[0]?.delta.content ?? ''
}
