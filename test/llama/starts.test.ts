// @module-tag proof

import { rm, truncate } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { countModel, createLlama, describeWithLlama, question } from './llama-server.ts'
import type { ModelOptions } from './model.ts'

/** Takes a second or so to load, when its file is read and not mapped. */
const bigModel: ModelOptions = { ...countModel, width: 512, layers: 60, contextTokens: 512 }
const readTheFile = ['--load-mode', 'none']

describeWithLlama('a real llama-server that loads', () => {
  test('refuses other clients, while a request of leasehold waits and is answered', async () => {
    await using llama = await createLlama({ model: bigModel, flags: readTheFile })
    const request = { ...question, max_tokens: 3 }
    const first = llama.openai.library.chat.completions.create(request)
    await llama.until('health.verdict', ({ verdict }) => verdict.detail === '503 Loading model')
    const second = llama.openai.gateway.chat.completions.create(request)
    for (const path of ['/health', '/v1/models', '/v1/no-such-path'])
      expect((await fetch(llama.serverUrl + path)).status).toBe(503)
    expect(llama.service().state).toBe('starting.warming')
    for (const { choices } of await Promise.all([first, second]))
      expect(choices[0]?.message.content).toBe('0 1 2')
    expect(llama.all('process.spawned')).toHaveLength(1)
    expect(llama.all('request.responded').map(({ status }) => status)).toEqual([200, 200])
  })

  test('dies at once of a stop, and who waits is told why', async () => {
    await using llama = await createLlama({ model: bigModel, flags: readTheFile })
    const waiting = expect(llama.supervisor.acquire('llama/demo')).rejects.toMatchObject({
      code: 'LEASEHOLD_STOPPED',
    })
    await llama.until('health.verdict', ({ verdict }) => verdict.kind === 'loading')
    const { receipt } = await llama.supervisor.stop('llama')
    await waiting
    expect(receipt).toMatchObject({ signal: 'SIGTERM', exitCode: null, survivors: [] })
  })
})

describeWithLlama('a real llama-server that cannot start', () => {
  test('for want of its model says so', async () => {
    await using llama = await createLlama()
    await rm(llama.modelPath)
    await expect(llama.supervisor.acquire('llama/demo')).rejects.toMatchObject({
      code: 'LEASEHOLD_EXITED_BEFORE_READY',
      failure: { exitCode: 1, signal: null },
      message: expect.stringMatching(/failed to open GGUF file .*No such file or directory/),
    })
  })

  test('because half of its model is missing says so', async () => {
    await using llama = await createLlama()
    await truncate(llama.modelPath, 200_000)
    await expect(llama.supervisor.acquire('llama/demo')).rejects.toMatchObject({
      code: 'LEASEHOLD_EXITED_BEFORE_READY',
      failure: { exitCode: 1 },
      message: expect.stringContaining('model is corrupted or incomplete'),
    })
  })

  test('for a flag that it does not know says so to the client of the gateway', async () => {
    await using llama = await createLlama({ flags: ['--frobnicate'] })
    await expect(llama.openai.gateway.chat.completions.create(question)).rejects.toMatchObject({
      status: 503,
      code: 'LEASEHOLD_EXITED_BEFORE_READY',
      message: expect.stringContaining('error: invalid argument: --frobnicate'),
    })
  })
})

describeWithLlama('a real llama-server that leasehold did not start', () => {
  test('is used, is never signalled, and outlives the supervisor', async () => {
    await using llama = await createLlama()
    await using _ = await llama.startStranger()
    const { choices } = await llama.openai.gateway.chat.completions.create({ ...question, max_tokens: 3 })
    expect(choices[0]?.message.content).toBe('0 1 2')
    expect(llama.service()).toMatchObject({ state: 'ready', ownership: 'adopted', pid: null })
    expect((await llama.supervisor.stop('llama')).state).toBe('down.cold')
    await llama.supervisor.close()
    expect(llama.events.filter(({ type }) => type.startsWith('process.'))).toEqual([])
    expect((await fetch(`${llama.serverUrl}/health`)).status).toBe(200)
  })

  test('that ends is replaced by one of ours, once the heartbeat has found it gone', async () => {
    await using llama = await createLlama({ leasehold: { heartbeatMs: 20 } })
    {
      await using _ = await llama.startStranger()
      await using lease = await llama.supervisor.acquire('llama/demo')
      expect(lease.owned).toBe(false)
    }
    await llama.until('service.state', ({ from, to }) => from === 'ready' && to === 'down.cold')
    const { choices } = await llama.openai.library.chat.completions.create({ ...question, max_tokens: 3 })
    expect(choices[0]?.message.content).toBe('0 1 2')
    expect(llama.service()).toMatchObject({ state: 'ready', ownership: 'owned' })
  })

  test('that ends costs one request at most; the next one starts ours', async () => {
    await using llama = await createLlama({ leasehold: { heartbeatMs: 600_000 } })
    {
      await using _ = await llama.startStranger()
      await using lease = await llama.supervisor.acquire('llama/demo')
      expect(lease.owned).toBe(false)
    }
    const chat = () => llama.openai.library.chat.completions.create({ ...question, max_tokens: 3 })
    await chat().catch(() => undefined)
    expect((await chat()).choices[0]?.message.content).toBe('0 1 2')
  })
})
