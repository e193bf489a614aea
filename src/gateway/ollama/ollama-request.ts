import { BadRequestError } from '../../errors.ts'
import { type JsonObject as Body, isObject } from '../../json/value.ts'

/** A request as OpenAI's API has it: its path and its body. */
export interface OpenAiRequest {
  readonly path: '/v1/chat/completions' | '/v1/completions' | '/v1/embeddings'
  readonly body: Body
}

/** Turns the body of `POST /api/chat` into a chat request. @throws {@link BadRequestError} */
export function toChatRequest(body: Body): OpenAiRequest {
  return {
    path: '/v1/chat/completions',
    body: { ...toSettings(body), messages: toMessages(toList(body.messages, 'messages')), ...toTools(body) },
  }
}

/** Turns the body of `POST /api/generate` into a chat request; with `raw` or `suffix` into a completion. */
export function toGenerateRequest(body: Body): OpenAiRequest {
  const { prompt = '', system, suffix, images } = body
  if (typeof prompt !== 'string') throw new BadRequestError('"prompt" must be a string.', { param: 'prompt' })
  if (body.raw === true || (typeof suffix === 'string' && suffix !== ''))
    return {
      path: '/v1/completions',
      body: {
        ...toSettings(body),
        prompt,
        ...(typeof suffix === 'string' && suffix !== '' ? { suffix } : {}),
      },
    }
  const messages = [
    ...(typeof system === 'string' && system !== '' ? [{ role: 'system', content: system }] : []),
    { role: 'user', content: prompt, ...(images === undefined ? {} : { images }) },
  ]
  return { path: '/v1/chat/completions', body: { ...toSettings(body), messages: toMessages(messages) } }
}

/** Turns the body of `POST /api/embed` (`input`) or of the older `POST /api/embeddings` (`prompt`). */
export function toEmbeddingRequest({
  model,
  input,
  prompt,
  dimensions,
  keep_alive: keepAlive,
}: Body): OpenAiRequest {
  return {
    path: '/v1/embeddings',
    body: {
      model,
      input: input ?? prompt ?? '',
      ...(dimensions === undefined ? {} : { dimensions }),
      ...(keepAlive === undefined ? {} : { keep_alive: keepAlive }),
    },
  }
}

/** Whether a request asks for no answer: it loads the model, or with `keep_alive: 0` unloads it. */
export function isLoadRequest(route: string, { messages, prompt, images }: Body): boolean {
  if (route === 'chat') return messages === undefined || (Array.isArray(messages) && messages.length === 0)
  return (prompt === undefined || prompt === '') && images === undefined
}

/** Options of Ollama under the names of OpenAI's API, or under the names that llama.cpp and vLLM read. */
const OPTIONS: ReadonlyMap<string, string> = new Map([
  ['temperature', 'temperature'],
  ['top_p', 'top_p'],
  ['top_k', 'top_k'],
  ['min_p', 'min_p'],
  ['typical_p', 'typical_p'],
  ['seed', 'seed'],
  ['stop', 'stop'],
  ['num_predict', 'max_tokens'],
  ['repeat_penalty', 'repeat_penalty'],
  ['repeat_last_n', 'repeat_last_n'],
  ['presence_penalty', 'presence_penalty'],
  ['frequency_penalty', 'frequency_penalty'],
])

/** Model, streaming, options, format and thinking. Options of the model's loading, such as `num_ctx`, are left out. */
function toSettings({ model, stream, options, format, think, keep_alive: keepAlive }: Body): Body {
  const settings: Record<string, unknown> = { model, stream: stream !== false }
  if (keepAlive !== undefined) settings.keep_alive = keepAlive
  if (settings.stream === true) settings.stream_options = { include_usage: true }
  for (const [name, value] of Object.entries(isObject(options) ? options : {})) {
    const known = OPTIONS.get(name)
    // -1 and -2 mean no limit.
    const isUnlimited = name === 'num_predict' && typeof value === 'number' && value < 0
    if (known !== undefined && !isUnlimited) settings[known] = value
  }
  if (format === 'json') settings.response_format = { type: 'json_object' }
  else if (isObject(format))
    settings.response_format = {
      type: 'json_schema',
      json_schema: { name: 'answer', schema: format, strict: true },
    }
  if (typeof think === 'boolean') settings.chat_template_kwargs = { enable_thinking: think }
  else if (typeof think === 'string') settings.reasoning_effort = think
  return settings
}

/**
 * Ollama's messages have images beside their text, arguments of tools as objects, and calls without ids: the results
 * answer the calls in their order.
 */
function toMessages(messages: readonly unknown[]): Body[] {
  const unanswered: { readonly id: string; readonly name: unknown }[] = []
  let calls = 0
  return messages.map((message) => {
    if (!isObject(message))
      throw new BadRequestError('Each message must be an object.', { param: 'messages' })
    const { role, content = '', images, tool_calls: toolCalls, thinking, tool_name: toolName } = message
    if (role === 'tool') {
      const named = unanswered.findIndex(({ name }) => name === toolName)
      const [call] = unanswered.splice(Math.max(0, named), 1)
      return { role, content, tool_call_id: message.tool_call_id ?? call?.id ?? `call_${calls}` }
    }
    const sent: Record<string, unknown> = { role, content: toContent(content, images) }
    if (typeof thinking === 'string' && thinking !== '') sent.reasoning_content = thinking
    if (Array.isArray(toolCalls) && toolCalls.length > 0)
      sent.tool_calls = toolCalls.map((call) => {
        const asked = isObject(call) && isObject(call.function) ? call.function : {}
        const id = `call_${calls}`
        calls += 1
        unanswered.push({ id, name: asked.name })
        return {
          id,
          type: 'function',
          function: { name: asked.name, arguments: JSON.stringify(asked.arguments ?? {}) },
        }
      })
    return sent
  })
}

function toContent(content: unknown, images: unknown): unknown {
  if (!Array.isArray(images) || images.length === 0) return content
  return [
    ...(content === '' ? [] : [{ type: 'text', text: content }]),
    ...images.map((image) => ({ type: 'image_url', image_url: { url: toDataUrl(String(image)) } })),
  ]
}

/** Ollama sends the bytes alone, in base64: their first characters tell the format. */
function toDataUrl(image: string): string {
  if (image.startsWith('data:')) return image
  const type = image.startsWith('/9j/')
    ? 'jpeg'
    : image.startsWith('R0lG')
      ? 'gif'
      : image.startsWith('UklG')
        ? 'webp'
        : 'png'
  return `data:image/${type};base64,${image}`
}

function toTools({ tools }: Body): Body {
  return Array.isArray(tools) && tools.length > 0 ? { tools } : {}
}

function toList(value: unknown, name: string): readonly unknown[] {
  if (Array.isArray(value)) return value
  throw new BadRequestError(`"${name}" must be a list.`, { param: name })
}
