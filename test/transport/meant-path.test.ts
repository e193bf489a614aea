import { describe, expect, test } from 'vitest'
import { explainPath } from '../../src/transport/meant-path.ts'

describe('a path from a wrong base URL', () => {
  test.each([
    ['POST', '//v1/chat/completions', '/v1/chat/completions', 'slash too many'],
    ['POST', '/v1//chat/completions', '/v1/chat/completions', 'slash too many'],
    ['POST', '/v1/chat/completions/?a=b', '/v1/chat/completions', 'slash too many'],
    ['GET', '/v1/models/', '/v1/models', 'slash too many'],
    ['POST', '/v1/v1/messages?beta=true', '/v1/messages', 'have "/v1" both'],
    ['POST', '/v1/v1/anything', '/v1/anything', 'have "/v1" both'],
    ['POST', '/v1//anything', '/v1/anything', 'slash too many'],
    ['POST', '/v1/v1/v1/embeddings', '/v1/embeddings', 'have "/v1" both'],
    ['POST', '/v1/chat/completions/chat/completions', '/v1/chat/completions', 'ends in a route'],
    ['POST', '/v1/chat/completions/v1/responses', '/v1/responses', 'ends in a route'],
    ['GET', '/v1/chat/completions/models', '/v1/models', 'ends in a route'],
    ['POST', '/v1/models/chat/completions', '/v1/chat/completions', 'ends in a route'],
    ['POST', '/v1/responses/responses', '/v1/responses', 'ends in a route'],
    ['POST', '/chat/completions', '/v1/chat/completions', 'lacks its "/v1"'],
    ['GET', '/models', '/v1/models', 'lacks its "/v1"'],
    ['POST', '/messages/count_tokens', '/v1/messages/count_tokens', 'lacks its "/v1"'],
    ['POST', '/audio/transcriptions', '/v1/audio/transcriptions', 'lacks its "/v1"'],
    ['POST', '/openai/v1/chat/completions', '/v1/chat/completions', 'something else'],
    ['POST', '/api/v1/chat/completions', '/v1/chat/completions', 'something else'],
    ['POST', '/openai/deployments/x/chat/completions', '/v1/chat/completions', 'something else'],
  ])('%s %s is refused with %s', (method, path, meant, reason) => {
    const text = explainPath(method, path)
    expect(text).toContain(`is not served here: ${meant} is.`)
    expect(text).toContain(reason)
  })

  test.each([
    ['POST', '/v1/chat/completion', '/v1/chat/completions'],
    ['POST', '/v1/chat/completion?a=b', '/v1/chat/completions'],
    ['POST', '/v1/chats/completions', '/v1/chat/completions'],
    ['POST', '/v1/chat-completions', '/v1/chat/completions'],
    ['POST', '/v1/chatcompletions', '/v1/chat/completions'],
    ['POST', '/v1/chta/completion', '/v1/chat/completions'],
    ['POST', '/v1/Chat/Completions', '/v1/chat/completions'],
    ['POST', '/chat/completion', '/v1/chat/completions'],
    ['POST', '/v1/completitions', '/v1/completions'],
    ['POST', '/v1/message', '/v1/messages'],
    ['POST', '/v1/mesages', '/v1/messages'],
    ['POST', '/v1/messages/count_token', '/v1/messages/count_tokens'],
    ['POST', '/v1/messages/count-tokens', '/v1/messages/count_tokens'],
    ['POST', '/v1/embedding', '/v1/embeddings'],
    ['POST', '/v1/embedings', '/v1/embeddings'],
    ['POST', '/v1/response', '/v1/responses'],
    ['POST', '/v1/re-rank', '/v1/rerank'],
    ['GET', '/v1/model', '/v1/models'],
    ['GET', '/v1/modles', '/v1/models'],
  ])('%s %s is a misspelling of %s', (method, path, meant) => {
    expect(explainPath(method, path)).toBe(
      `${method} ${path.split('?')[0]} is not served here: ${meant} is. The route is misspelled.`,
    )
  })

  test.each([
    ['POST', '/api/chat'],
    ['GET', '/api/tags'],
  ])('%s %s is told that it is of Ollama', (method, path) => {
    expect(explainPath(method, path)).toContain("the route is Ollama's")
  })

  test.each([
    ['POST', '/v1'],
    ['POST', '/v1/'],
    ['GET', '/v1'],
    ['GET', '/v1/?a=b'],
  ])('%s %s is told that it is a base URL', (method, path) => {
    expect(explainPath(method, path)).toContain('A chat is POST /v1/chat/completions')
  })

  test.each(['/v1/chat/completions', '/v1/messages', '/v1/images/edits'])(
    'GET %s is told its method',
    (path) => {
      expect(explainPath('GET', `${path}?a=b`)).toBe(`GET ${path} is not served here: POST ${path} is.`)
    },
  )
})

/** Routes of llama.cpp, vLLM, SGLang, TabbyAPI, LocalAI, xinference, TEI, LM Studio, and of servers with a few routes. */
test.each([
  'audio/generations',
  'audio/speech/timestamps',
  'audio/transcription',
  'audio/translation',
  'batches',
  'chat',
  'chat/complete',
  'chat/completions/batch',
  'chat/completions/chatcmpl-1',
  'chat/completions/control',
  'chat/completions/render',
  'classify',
  'complete',
  'completions/render',
  'conversations',
  'detokenize',
  'edits',
  'embed',
  'embeddings/multimodal',
  'generate',
  'generations',
  'image/generations',
  'images/edit',
  'images/generation',
  'images/inpainting',
  'infill',
  'load_lora_adapter',
  'message/send',
  'messages/batches',
  'model/load',
  'model/unload',
  'models/load',
  'models/unload',
  'moderation',
  'passages',
  'pooling',
  'rank',
  'ranking',
  'realtime',
  'reranking',
  'responses/compact',
  'responses/input_tokens',
  'responses/resp_1/cancel',
  'score',
  'sound-generation',
  'token/encode',
  'tokenize',
  'videos',
  'videos/generations',
])('POST /v1/%s, which a server may offer, is left alone', (route) => {
  expect(explainPath('POST', `/v1/${route}`)).toBeUndefined()
})

test.each([
  ['POST', '/v1/chat/completions'],
  ['POST', '/v1/messages?beta=true'],
  ['POST', '/v1/fim/completions'],
  ['POST', '/v1/audio/anything'],
  ['POST', '/v1/anything/'],
  ['GET', '/v1/models'],
  ['GET', '/v1/models/local/org/completions'],
  ['GET', '/'],
  ['GET', '/health'],
  ['GET', '/api/services/models-of-mine'],
  ['POST', '/api/services/chat/start'],
  ['GET', '//evil.com/v1/models'],
])('%s %s is left alone', (method, path) => {
  expect(explainPath(method, path)).toBeUndefined()
})
