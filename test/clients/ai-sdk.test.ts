import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import {
  APICallError,
  embed,
  embedMany,
  generateImage,
  generateText,
  jsonSchema,
  stepCountIs,
  streamText,
  tool,
} from 'ai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { catchError, collect, type Doors, doors, openDoors, type Way } from './doors.ts'

let house: Doors
beforeAll(async () => {
  house = await openDoors()
})
afterAll(() => house[Symbol.asyncDispose]())

describe.each(doors)('the Vercel AI SDK, through the %s,', (door) => {
  const provider = () => toProvider(house.ways[door])
  const model = () => provider().chatModel('demo/demo')

  test('generates text', async () => {
    const { text, finishReason, usage } = await generateText({ model: model(), prompt: 'count to 4' })
    expect({ text, finishReason }).toEqual({ text: '1 2 3 4', finishReason: 'stop' })
    expect(usage.outputTokens).toBe(4)
  })

  test('streams text, and its usage at the end', async () => {
    const result = streamText({ model: model(), prompt: 'count to 4' })
    expect(await collect(result.textStream)).toEqual(['1', ' 2', ' 3', ' 4'])
    expect(await result.finishReason).toBe('stop')
    expect((await result.usage).outputTokens).toBe(4)
  })

  test('runs a tool and tells what it said', async () => {
    const { text, steps } = await generateText(toToolTask(model()))
    expect(text).toBe('The tool answered: sunny in Brno')
    expect(steps).toHaveLength(2)
  })

  test('runs a tool out of a stream and tells what it said', async () => {
    const result = streamText(toToolTask(model()))
    expect((await collect(result.textStream)).join('')).toBe('The tool answered: sunny in Brno')
    expect(await result.steps).toHaveLength(2)
  })

  test('embeds', async () => {
    const embeddings = provider().embeddingModel('demo/demo')
    const { embedding } = await embed({ model: embeddings, value: 'one' })
    const many = await embedMany({ model: embeddings, values: ['one', 'two'] })
    expect(embedding).toHaveLength(16)
    expect(many.embeddings[0]).toEqual(embedding)
    expect(many.embeddings[1]).not.toEqual(embedding)
  })

  test('generates a picture', async () => {
    const { image } = await generateImage({ model: provider().imageModel('demo/demo'), prompt: 'grey' })
    expect(image.mediaType).toBe('image/png')
  })

  test('is told why a start failed', async () => {
    await using broken = await openDoors({ flags: ['--fail-load', 'exit'] })
    const error = await catchError(
      generateText({
        model: toProvider(broken.ways[door]).chatModel('demo/demo'),
        prompt: 'count to 4',
        maxRetries: 0,
      }),
    )
    expect(APICallError.isInstance(error)).toBe(true)
    expect(error).toMatchObject({
      statusCode: 503,
      message: expect.stringContaining('failed to load model'),
      data: { error: { code: 'LEASEHOLD_EXITED_BEFORE_READY' } },
    })
  })

  test('gives its lease back when a stream is aborted', async () => {
    await using own = await openDoors({ flags: ['--stall-mid-stream-after', '2'] })
    const leaving = new AbortController()
    const { fullStream } = streamText({
      model: toProvider(own.ways[door]).chatModel('demo/demo'),
      prompt: 'count to 4',
      abortSignal: leaving.signal,
    })
    const types: string[] = []
    for await (const { type } of fullStream) {
      types.push(type)
      if (type === 'text-delta') leaving.abort()
    }
    expect(types.at(-1)).toBe('abort')
    await expect.poll(() => own.service().leases).toBe(0)
    await expect.poll(async () => (await own.library.seen()).counts.aborted).toBe(1)
  })
})

function toProvider(way: Way) {
  return createOpenAICompatible({ name: 'leasehold', includeUsage: true, ...way })
}

function toToolTask(model: Parameters<typeof generateText>[0]['model']) {
  return {
    model,
    prompt: 'get_weather in Brno',
    stopWhen: stepCountIs(2),
    tools: {
      get_weather: tool({
        inputSchema: jsonSchema<{ city: string }>({
          type: 'object',
          properties: { city: { type: 'string' } },
        }),
        execute: ({ city }) => `sunny in ${city}`,
      }),
    },
  }
}
