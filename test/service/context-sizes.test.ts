import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { toContextSize } from '../../src/service/context-sizes.ts'
import { type House, openHouse } from '../gateway/house.ts'

/** The four names that clients look for, all with the same size. */
const named = (size: number) => ({
  context_length: size,
  context_window: size,
  max_model_len: size,
  meta: { n_ctx: size },
})

/** Every field that tells of a size. */
const SIZES = ['context_length', 'context_window', 'max_model_len', 'meta', 'max_tokens']

describe('the context size of a model', () => {
  test.each([
    ['llama-server', { id: 'x.gguf', meta: { n_ctx: 2048, n_ctx_train: 131_072 } }, 2048],
    ['vLLM', { id: 'demo', max_model_len: 32_768 }, 32_768],
    ['a server that says context_length', { id: 'demo', context_length: 4096 }, 4096],
    ['a server that says context_window', { id: 'demo', context_window: 8192 }, 8192],
    ['a server with the trained size only', { id: 'demo', meta: { n_ctx_train: 131_072 } }, undefined],
    ['a server that says no number', { id: 'demo', context_length: '4096' }, undefined],
    ['a server that says zero', { id: 'demo', context_length: 0 }, undefined],
  ])('is read from the list of %s', (_, entry, size) => {
    expect(toContextSize({ data: [entry] }, undefined, 'demo')).toBe(size)
  })

  test.each([
    ['its id', 'b', 2],
    ['its id in other letter case', 'B', 2],
    ['an alias', 'second', 2],
    ['its id without the tag of Ollama', 'c', 3],
    ['no entry', 'd', undefined],
  ])('is that of the entry with %s, in a list of several', (_, modelId, size) => {
    const data = [
      { id: 'a', context_length: 1 },
      { id: 'b', context_length: 2, aliases: ['second'] },
      { id: 'c:latest', context_length: 3 },
    ]
    expect(toContextSize({ data }, { default_generation_settings: { n_ctx: 9 } }, modelId)).toBe(size)
  })

  test('is read from /props where the list does not say it', () => {
    const props = { default_generation_settings: { n_ctx: 512 } }
    expect(toContextSize({ data: [{ id: 'x.gguf' }] }, props, 'demo')).toBe(512)
    expect(toContextSize('no list', props, 'demo')).toBe(512)
    expect(toContextSize(null, null, 'demo')).toBeUndefined()
  })
})

describe('GET /v1/models', () => {
  test('says nothing of sizes that are neither configured nor stated by a server', async () => {
    await using stated = await createStatingServer({})
    await using house = await openHouse({ serverUrl: stated.url })
    expect(await readSizes(house)).toEqual({})
    expect(stated.asked).toEqual([])
  })

  test('says what is configured, and starts and asks nothing for it', async () => {
    await using stated = await createStatingServer({})
    const provider = { models: [{ id: 'demo', contextWindow: 4096, maxTokens: 100 }] }
    await using house = await openHouse({ serverUrl: stated.url, provider })
    expect(await readSizes(house)).toEqual({ ...named(4096), max_tokens: 100 })
    expect(stated.asked).toEqual([])
  })

  test('says what the running server states, which is asked once however often it is used', async () => {
    await using stated = await createStatingServer({ max_model_len: 16_384 })
    await using house = await openHouse({ serverUrl: stated.url })
    await house.supervisor.start('local')
    await expect.poll(() => readSizes(house)).toEqual(named(16_384))
    const asked = stated.asked.length
    for (let count = 0; count < 3; count += 1) {
      const lease = await house.supervisor.acquire('local/demo')
      await lease.release()
    }
    await readSizes(house)
    expect(stated.asked).toHaveLength(asked)
  })

  test('never says more than the running server has, nor more than is configured', async () => {
    await using stated = await createStatingServer({ context_length: 2048 })
    const provider = { models: [{ id: 'demo', contextWindow: 4096 }] }
    await using house = await openHouse({ serverUrl: stated.url, provider })
    expect(await readSizes(house)).toEqual(named(4096))
    await house.supervisor.start('local')
    await expect.poll(() => readSizes(house)).toEqual(named(2048))
  })

  test('says what an older llama-server states in /props', async () => {
    const props = JSON.stringify({ default_generation_settings: { n_ctx: 512 } })
    await using stated = await createStatingServer(
      { owned_by: 'llamacpp', meta: { n_ctx_train: 9 } },
      { props },
    )
    await using house = await openHouse({ serverUrl: stated.url })
    await house.supervisor.start('local')
    await expect.poll(() => readSizes(house)).toEqual(named(512))
  })

  test('forgets what a server said when the server is let go', async () => {
    await using stated = await createStatingServer({ context_length: 2048 })
    await using house = await openHouse({ serverUrl: stated.url })
    await house.supervisor.start('local')
    await expect.poll(() => readSizes(house)).toEqual(named(2048))
    await house.supervisor.stop('local')
    expect(await readSizes(house)).toEqual({})
  })

  test('says nothing of a server whose list breaks, is endless, or never comes', async () => {
    for (const answer of ['{"data":', `{"data":[${'{"id":"x"},'.repeat(200_000)}`, null]) {
      await using stated = await createStatingServer({}, { list: answer })
      await using house = await openHouse({ serverUrl: stated.url })
      await house.supervisor.start('local')
      await expect.poll(() => stated.asked.length).toBeGreaterThan(1)
      expect(await readSizes(house)).toEqual({})
    }
  })
})

/** What is said of the sizes of the one model, by the list and by the page of the model alike. */
async function readSizes({ url }: House): Promise<object> {
  const { data } = JSON.parse(await (await fetch(`${url}/v1/models`)).text())
  expect(await (await fetch(`${url}/v1/models/demo`)).json()).toEqual(data[0])
  return Object.fromEntries(Object.entries(data[0]).filter(([name]) => SIZES.includes(name)))
}

interface StatingServer extends AsyncDisposable {
  readonly url: string
  /** Paths of the requests, in their order. */
  readonly asked: readonly string[]
}

interface Statements {
  /** The list from the second question on: the first is the health check. `null`: no answer at all. */
  readonly list?: string | null
  /** The answer to `/props`. @default 404 */
  readonly props?: string
}

/** A server that is ready and lists one model with these fields. */
async function createStatingServer(
  fields: object,
  { list = JSON.stringify(toList(fields)), props }: Statements = {},
): Promise<StatingServer> {
  const asked: string[] = []
  const server: Server = createServer(({ url = '' }, response) => {
    asked.push(url)
    response.setHeader('content-type', 'application/json')
    if (url === '/props') response.writeHead(props === undefined ? 404 : 200).end(props)
    else if (asked.length === 1) response.end(JSON.stringify(toList(fields)))
    else if (list !== null) response.end(list)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    asked,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function toList(fields: object): object {
  return { object: 'list', data: [{ id: 'demo', object: 'model', ...fields }] }
}
