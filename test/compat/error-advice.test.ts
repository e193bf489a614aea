import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { advise } from '../../src/compat/error-advice.ts'

const ref = 'local/google/gemma-4-E2B-it'
const asked = { ref, path: '/v1/responses?x=1', baseUrl: 'http://127.0.0.1:1/v1' }

describe('the known texts', () => {
  test.each<[server: string, status: number, body: unknown, id: string]>([
    ['llama.cpp', 503, openAi('Loading model', { type: 'unavailable_error', code: 503 }), 'still-loading'],
    [
      'llama.cpp',
      400,
      openAi('request (9020 tokens) exceeds the available context size (4096 tokens), try increasing it', {
        code: 400,
        type: 'exceed_context_size_error',
        n_prompt_tokens: 9020,
        n_ctx: 4096,
      }),
      'context-exceeded',
    ],
    ['llama.cpp', 400, openAi('too long', { type: 'exceed_context_size_error' }), 'context-exceeded'],
    ['llama.cpp', 400, openAi('unsupported content[].type'), 'unsupported-content-part'],
    [
      'llama.cpp',
      500,
      openAi(
        'image input is not supported - hint: if this is unexpected, you may need to provide the mmproj',
      ),
      'no-media-input',
    ],
    ['llama.cpp', 400, openAi('logprobs is not supported with tools + stream'), 'logprobs-with-tools'],
    ['llama.cpp', 500, openAi('System message must be at the beginning.'), 'one-system-message'],
    [
      'llama.cpp',
      500,
      openAi('After the optional system message, conversation roles must alternate user/assistant'),
      'alternating-roles',
    ],
    ['llama.cpp', 400, openAi('tools param requires --jinja flag'), 'tools-need-jinja'],
    ['llama.cpp, newer', 500, openAi('tools param requires --jinja flag'), 'tools-need-jinja'],
    [
      'vLLM',
      400,
      openAi('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
      'tools-need-parser',
    ],
    [
      'vLLM',
      400,
      openAi(
        '`tools` must not be an empty array. Either provide at least one tool or omit the field entirely.',
      ),
      'empty-tools',
    ],
    [
      'vLLM',
      400,
      openAi('Stream options can only be defined when `stream=True`.'),
      'stream-options-without-stream',
    ],
    ['vLLM', 400, openAi('When using `tool_choice`, `tools` must be set.'), 'tool-choice-without-tools'],
    ['vLLM', 404, openAi('The model `local/qwen` does not exist.'), 'model-not-found'],
    [
      'SGLang',
      400,
      {
        object: 'error',
        message:
          "[{'type': 'literal_error', 'loc': ('body', 'reasoning_effort'), 'msg': \"Input should be 'low', 'medium' or 'high'\", 'input': 'xhigh'}]",
        type: 'BadRequestError',
        param: null,
        code: 400,
      },
      'supported-reasoning-efforts',
    ],
    [
      'inferrs',
      422,
      'Failed to deserialize the JSON body into the target type: messages[0].role: unknown variant `developer`, expected one of `system`, `user`, `assistant`, `tool`, `function` at line 1 column 55',
      'no-developer-role',
    ],
    [
      'inferrs, older',
      422,
      'Failed to deserialize the JSON body into the target type: messages[1].content: invalid type: sequence, expected a string at line 1 column 40',
      'requires-string-content',
    ],
    [
      'inferrs, older',
      422,
      'Failed to deserialize the JSON body into the target type: invalid type: sequence, expected a string at line 1 column 40',
      'requires-string-content',
    ],
    [
      'serde',
      422,
      openAi('messages[2]: unknown field `tool_calls`, expected `role` or `content`'),
      'strict-message-keys',
    ],
    ['ds4', 400, openAi('invalid JSON request'), 'explicit-null'],
    ['ds4', 400, openAi('missing messages'), 'explicit-null'],
    [
      'ds4',
      400,
      openAi('Prompt has 40000 tokens, but the configured context size is 32768 tokens', {
        code: 'context_length_exceeded',
      }),
      'context-exceeded',
    ],
    ['ds4, older', 500, openAi('prompt exceeds context'), 'context-exceeded'],
    ['ds4', 400, openAi('forced tool_choice not supported'), 'no-forced-tool-choice'],
    ['ds4', 400, openAi('tool_choice=required not supported'), 'no-forced-tool-choice'],
    [
      'ds4',
      409,
      openAi('Responses continuation state is not available; retry by replaying the full input history'),
      'replay-history',
    ],
    [
      'Ollama',
      503,
      openAi('server busy, please try again.  maximum pending requests exceeded'),
      'server-busy',
    ],
    [
      'Ollama',
      400,
      openAi('image URLs are not currently supported, please use base64 encoded data instead'),
      'inline-images',
    ],
    ['Ollama', 400, openAi('invalid message content type: <nil>'), 'null-content'],
    [
      'Ollama',
      400,
      openAi('invalid reasoning value: "xhigh" (must be "high", "medium", "low", "max", or "none")'),
      'supported-reasoning-efforts',
    ],
    ['Ollama', 400, openAi('registry.ollama.ai/library/gemma:2b does not support tools'), 'no-tools'],
    ['Ollama', 404, openAi('model "gemma:2b" not found, try pulling it first'), 'model-not-found'],
    [
      'LM Studio',
      400,
      { error: "'response_format.type' must be 'json_schema' or 'text'" },
      'no-json-object-format',
    ],
    [
      'LM Studio',
      400,
      { error: "Invalid tool_choice type: 'object'. Supported string values: none, auto, required" },
      'tool-choice-as-string',
    ],
    [
      'LM Studio',
      404,
      openAi("No models loaded. Please load a model in the developer page or use the 'lms load' command."),
      'no-model-loaded',
    ],
    ['TGI', 429, { error: 'Model is overloaded', error_type: 'overloaded' }, 'server-busy'],
    [
      'TGI',
      422,
      { error: 'Input validation error: `temperature` must be strictly positive', error_type: 'validation' },
      'tgi-validation',
    ],
    ['mlx_lm', 404, { error: "Only 'text' content type is supported." }, 'text-parts-only'],
    [
      'mlx_lm',
      404,
      { error: 'Conversation roles must alternate user/assistant/user/assistant/...' },
      'alternating-roles',
    ],
    ['mlx_lm', 404, { error: 'Chat template cannot render a message without content' }, 'template-fault'],
    ['llama.cpp', 404, openAi('File Not Found', { type: 'not_found_error', code: 404 }), 'route-not-found'],
    ['FastAPI', 404, { detail: 'Not Found' }, 'route-not-found'],
    ['Go', 404, '404 page not found\n', 'route-not-found'],
    ['inferrs', 404, '', 'route-not-found'],
    ['FastAPI', 405, { detail: 'Method Not Allowed' }, 'route-not-found'],
    ['Express', 404, '<pre>Cannot POST /v1/responses</pre>', 'route-not-found'],
    ['nginx', 404, '<head><title>404 Not Found</title></head>', 'route-not-found'],
    ['serde', 400, openAi('unknown field `max_completion_tokens`'), 'no-max-completion-tokens'],
    [
      'OpenAI',
      400,
      openAi(
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
      ),
      'no-max-tokens',
    ],
    [
      'pydantic',
      422,
      {
        detail: [
          { type: 'extra_forbidden', loc: ['body', 'stream_options'], msg: 'Extra inputs are not permitted' },
        ],
      },
      'no-stream-options',
    ],
    [
      'pydantic',
      422,
      {
        detail: [
          { loc: ['body', 'messages', 1, 'tool_calls'], msg: 'Extra inputs are not permitted', input: [] },
        ],
      },
      'strict-message-keys',
    ],
  ])('of %s (%i) are known: %j is %s', (_, status, body, id) => {
    expect(advise(status, toBytes(body), asked)?.advice.id).toBe(id)
  })

  test.each<[why: string, status: number, body: unknown]>([
    [
      'our own cancel, as TabbyAPI words it',
      422,
      { detail: 'Chat completion abc request cancelled by user.' },
    ],
    ['another status', 200, openAi('tools param requires --jinja flag')],
    ['another status', 500, openAi('messages[1].content: invalid type: sequence, expected a string')],
    ['another field', 422, openAi('stop: invalid type: sequence, expected a string')],
    ['another type', 422, openAi('messages[1].content: invalid type: map, expected a string')],
    ['another role', 422, openAi('messages[0].role: unknown variant `tool`, expected `system`')],
    ['more keys are allowed', 422, openAi('unknown field `x`, expected one of `role`, `content`, `name`')],
    ['a longer name', 400, openAi('unknown field `strictness`')],
    ['a sentence that only mentions it', 400, openAi('the log says: invalid JSON request')],
    [
      'words of the client that the server repeats',
      422,
      {
        detail: [{ loc: ['body', 'n'], msg: 'Field required', input: 'unknown variant `developer`' }],
      },
    ],
    ['a 404 of mlx_lm about something else', 404, { error: 'No module named mlx' }],
    ['nothing', 400, ''],
    ['no object', 400, '[]'],
    ['an error without words', 500, { error: { code: 500 } }],
    ['an error that is no object', 500, { error: null }],
    ['JSON that is cut off', 500, '{"error":{"message":"image inp'],
  ])('are not found in %s (%i)', (_, status, body) => {
    expect(advise(status, toBytes(body), asked)).toBeUndefined()
  })
})

describe('the advice', () => {
  test.each([
    [
      'http://127.0.0.1:1/v1',
      'leasehold: use another route of the model: this server does not offer /v1/responses.',
    ],
    [
      'https://ai.example/openai/v4',
      'leasehold: use another route of the model: this server does not offer /v1/responses.',
    ],
    [
      'http://127.0.0.1:1',
      'leasehold: add "/v1" to baseUrl: it is http://127.0.0.1:1, and the server has no such route there.',
    ],
  ])('of a 404 without a body blames the base URL %s only when it has no path', (baseUrl, message) => {
    expect(toObject(advise(404, Buffer.alloc(0), { ...asked, baseUrl })?.body)).toMatchObject({
      error: { message, leasehold: { advice: 'route-not-found' } },
    })
  })

  test('has the block to paste, with the id of the model and not of its provider', () => {
    expect(advise(422, toBytes('invalid type: sequence, expected a string'), asked)?.advice).toEqual({
      id: 'requires-string-content',
      text: 'set compat.requiresStringContent: true for this model, so that text parts are joined into one string.',
      block: '{ id: "google/gemma-4-E2B-it", compat: { requiresStringContent: true } }',
    })
  })

  test('has the arguments to add where no flag cures it', () => {
    expect(advise(400, toBytes(openAi('tools param requires --jinja flag')), asked)?.advice.block).toBe(
      'localService: { args: [/* yours, then */ "--jinja"] }',
    )
  })

  test('has no block where no setting cures it', () => {
    expect(
      advise(409, toBytes(openAi('Responses continuation state is not available')), asked)?.advice,
    ).toEqual({
      id: 'replay-history',
      text: expect.stringContaining('whole history'),
    })
  })

  test.each([
    [openAi('no', { type: 'exceed_context_size_error', n_prompt_tokens: 9020, n_ctx: 4096 }), 9020, 4096],
    [openAi('no', { n_ctx: 4096, type: 'exceed_context_size_error', n_prompt_tokens: 9020 }), 9020, 4096],
    [openAi('Prompt has 7 tokens, but the configured context size is 5 tokens'), 7, 5],
  ])('says both numbers of %j', (body, prompt, context) => {
    expect(advise(400, toBytes(body), asked)?.advice.text).toContain(
      `the prompt has ${prompt} tokens and the context holds ${context}`,
    )
  })

  test('lists the efforts that the server named', () => {
    const body = openAi('invalid reasoning value: "x" (must be "high", "medium", "low", "max", or "none")')
    expect(advise(400, toBytes(body), { ref: 'ollama/gpt-oss:20b' })?.advice.block).toBe(
      '{ id: "gpt-oss:20b", compat: { supportedReasoningEfforts: ["high","medium","low","max","none"] } }',
    )
  })
})

describe('the body', () => {
  const ours =
    '\\n\\nleasehold: add \\"--jinja\\" to localService.args, or set compat.supportsTools: false for this model.' +
    '\\nlocalService: { args: [/* yours, then */ \\"--jinja\\"] }'
  const added =
    '"leasehold":{"advice":"tools-need-jinja","block":"localService: { args: [/* yours, then */ \\"--jinja\\"] }"}'

  test('with an OpenAI error keeps every byte of the server, and ours come after its words', () => {
    const before =
      '{"error": {"code": 12345678901234567890, "message": "\\u0074ools param requires --jinja flag", "x": -0}}\n'
    const after = before.replace('flag"', `flag${ours}"`).replace('-0}', `-0,${added}}`)
    expect(advise(400, Buffer.from(before), asked)?.body.toString()).toBe(after)
  })

  test.each([
    [
      { error: 'tools param requires --jinja flag', error_type: 'x', n: 1 },
      { error_type: 'x', n: 1 },
    ],
    [{ detail: 'tools param requires --jinja flag' }, { detail: 'tools param requires --jinja flag' }],
    [
      { object: 'error', message: 'tools param requires --jinja flag' },
      { object: 'error', message: 'tools param requires --jinja flag' },
    ],
    ['tools param requires --jinja flag', {}],
  ])('%j becomes an OpenAI error that begins with its words', (before, rest) => {
    expect(toObject(advise(400, toBytes(before), asked)?.body)).toEqual({
      ...rest,
      error: {
        message: JSON.parse(`"tools param requires --jinja flag${ours}"`),
        type: 'invalid_request_error',
        param: null,
        code: null,
        leasehold: { advice: 'tools-need-jinja', block: expect.stringContaining('--jinja') },
      },
    })
  })

  test('with a list of faults keeps the list', () => {
    const detail = [
      { loc: ['body', 'tools', 0, 'function', 'strict'], msg: 'Extra inputs are not permitted', input: true },
    ]
    expect(toObject(advise(422, toBytes({ detail }), asked)?.body)).toMatchObject({
      detail,
      error: { message: expect.stringMatching(/^body\.tools\.0\.function\.strict: Extra inputs/) },
    })
  })

  test.each([
    [429, { error: 'Model is overloaded' }, 'rate_limit_error'],
    [503, { error: 'Loading model' }, 'server_error'],
  ])('of a %i without a type gets the one that the status has', (status, before, type) => {
    expect(toObject(advise(status, toBytes(before), asked)?.body)).toMatchObject({ error: { type } })
  })

  test('of any error stays JSON and keeps every member that is not ours', () => {
    const member = fc.string().filter((key) => !['message', 'leasehold', '__proto__'].includes(key))
    fc.assert(
      fc.property(fc.dictionary(member, fc.jsonValue()), (members) => {
        const before = openAi('unsupported content[].type', members)
        const { error } = JSON.parse(String(advise(400, toBytes(before), asked)?.body))
        const { message, leasehold, ...kept } = error
        expect(kept).toEqual(JSON.parse(JSON.stringify(members)))
        expect(message.startsWith('unsupported content[].type\n\nleasehold: ')).toBe(true)
        expect(leasehold).toEqual({ advice: 'unsupported-content-part' })
      }),
    )
  })

  test('of any other bytes is looked at without an error', () => {
    const bodies = fc.oneof(fc.json(), fc.string({ unit: 'binary' }))
    fc.assert(fc.property(bodies, (body) => advise(422, toBytes(body), asked) === undefined))
  })
})

/** 64 KiB each: what a pattern with nested repetition, or one tried at every line, would take minutes for. */
describe('a long text', () => {
  const bytes = 65_536
  const pieces = [
    'a',
    '\n',
    '\\"',
    'model ',
    'model `',
    'reasoning_effort ',
    'invalid reasoning value: (must be ""',
    'reasoning_effort Input should be "",',
    'unknown field `a',
    'exceed_context_size_erro',
    'messages.1.a: Extra inputs ',
    'server busy, please try again.    ',
  ]

  test.each(pieces)('of %j over and over is read to its end', (piece) => {
    const text = piece.repeat(bytes / piece.length)
    for (const status of [400, 404, 422, 503]) {
      expect(advise(status, Buffer.from(text), asked)).toBeUndefined()
      expect(advise(status, toBytes(openAi(text)), asked)).toBeUndefined()
    }
  })

  test('with thousands of members or levels is read to its end', () => {
    const members = Object.fromEntries(Array.from({ length: 8000 }, (_, index) => [`k${index}`, index]))
    expect(advise(400, toBytes({ error: { message: 'x', ...members }, ...members }), asked)).toBeUndefined()
    expect(advise(400, Buffer.from('{"error":'.repeat(bytes / 9)), asked)).toBeUndefined()
  })
})

/** An error in OpenAI's shape, as most servers send it. */
function openAi(message: string, members: object = {}) {
  return { error: { message, ...members } }
}

/** Text as it is, anything else as JSON. */
function toBytes(body: unknown): Buffer {
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
}

function toObject(body: Buffer | undefined): unknown {
  return JSON.parse(String(body))
}
