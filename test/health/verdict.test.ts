import { describe, expect, test } from 'vitest'
import type { VerdictKind } from '../../machines/messages.ts'
import { type HealthAnswer, judgeAnswer, judgeError, toOwnVerdict } from '../../src/health/verdict.ts'

const answer = (status: number, body: unknown = '', headers: HealthAnswer['headers'] = {}): HealthAnswer => ({
  status,
  headers,
  body: typeof body === 'string' ? body : JSON.stringify(body),
})

interface Case {
  readonly server: string
  readonly answer: HealthAnswer
  /** Whether the URL asked is a list of models. */
  readonly isModelList?: boolean
  readonly kind: VerdictKind
  readonly detail: string
}

const loadingModel = { error: { message: 'Loading model', type: 'unavailable_error', code: 503 } }

const cases: readonly Case[] = [
  {
    server: 'llama.cpp while it loads',
    answer: answer(503, loadingModel),
    kind: 'loading',
    detail: '503 Loading model',
  },
  { server: 'llama.cpp', answer: answer(200, { status: 'ok' }), kind: 'ready', detail: '200 ok' },
  {
    server: 'llama.cpp asked for its models while it loads',
    answer: answer(503, loadingModel),
    isModelList: true,
    kind: 'loading',
    detail: '503 Loading model',
  },
  { server: 'vLLM', answer: answer(200), kind: 'ready', detail: '200' },
  { server: 'vLLM with a dead engine', answer: answer(503), kind: 'loading', detail: '503' },
  {
    server: 'SGLang while it starts',
    answer: answer(503, 'Starting'),
    kind: 'loading',
    detail: '503 Starting',
  },
  { server: 'mlx_lm', answer: answer(200, { status: 'ok' }), kind: 'ready', detail: '200 ok' },
  {
    server: 'inferrs while it loads',
    answer: answer(503, { status: 'loading' }),
    kind: 'loading',
    detail: '503 loading',
  },
  {
    server: 'inferrs after a failed load',
    answer: answer(500, { status: 'error' }),
    kind: 'failed',
    detail: '500 error',
  },
  {
    server: 'inferrs after a failed load that it explains',
    answer: answer(500, { status: 'error', error: 'no such file' }),
    kind: 'failed',
    detail: '500 no such file',
  },
  {
    server: 'ds4',
    answer: answer(200, { object: 'list', data: [{ id: 'deepseek-v4-flash' }] }),
    isModelList: true,
    kind: 'ready',
    detail: '200',
  },
  {
    server: 'ds4 while it ends',
    answer: answer(503, { error: 'server shutting down' }),
    isModelList: true,
    kind: 'loading',
    detail: '503 server shutting down',
  },
  {
    server: 'Ollama',
    answer: answer(200, 'Ollama is running'),
    kind: 'ready',
    detail: '200 Ollama is running',
  },
  {
    server: 'Ollama asked for its version',
    answer: answer(200, { version: '0.9.0' }),
    kind: 'ready',
    detail: '200 {"version":"0.9.0"}',
  },
  {
    server: 'a list under "models"',
    answer: answer(200, { models: [] }),
    isModelList: true,
    kind: 'ready',
    detail: '200',
  },
  {
    server: 'TGI while it is unhealthy',
    answer: answer(503, { error: 'unhealthy', error_type: 'healthcheck' }),
    kind: 'loading',
    detail: '503 unhealthy',
  },
  {
    server: 'TabbyAPI',
    answer: answer(200, { status: 'healthy', issues: [] }),
    kind: 'ready',
    detail: '200 healthy',
  },
  {
    server: 'TabbyAPI without a model',
    answer: answer(503, { detail: { error: { message: 'No models are currently loaded.' } } }),
    kind: 'loading',
    detail: '503 {"detail":{"error":{"message":"No models are currently loaded."}}}',
  },
  {
    server: 'a server that says 200 and loading',
    answer: answer(200, { status: 'loading' }),
    kind: 'loading',
    detail: '200 loading',
  },
  { server: 'an overloaded server', answer: answer(429), kind: 'loading', detail: '429' },
  { server: 'a slow server', answer: answer(408), kind: 'loading', detail: '408' },
  { server: 'a cautious server', answer: answer(425), kind: 'loading', detail: '425' },
  { server: 'a gateway without its server', answer: answer(502), kind: 'loading', detail: '502' },
  {
    server: 'a server with another key',
    answer: answer(401),
    kind: 'foreign',
    detail: '401: the health URL wants another key',
  },
  {
    server: 'a server that forbids it',
    answer: answer(403),
    kind: 'foreign',
    detail: '403: the health URL wants another key',
  },
  {
    server: 'a server without that route',
    answer: answer(404, { error: { message: 'File Not Found' } }),
    kind: 'foreign',
    detail: '404: the health URL is not served here',
  },
  {
    server: 'a server that redirects',
    answer: answer(302, '', { location: 'http://elsewhere/' }),
    kind: 'foreign',
    detail: '302 redirects to http://elsewhere/',
  },
  {
    server: 'a server that redirects to nowhere',
    answer: answer(304),
    kind: 'foreign',
    detail: '304 redirects to nowhere',
  },
  {
    server: 'a web page where a list of models should be',
    answer: answer(200, '<!doctype html>'),
    isModelList: true,
    kind: 'foreign',
    detail: '200, but not a list of models',
  },
  {
    server: 'JSON that is no list of models',
    answer: answer(200, { data: 'none' }),
    isModelList: true,
    kind: 'foreign',
    detail: '200, but not a list of models',
  },
  {
    server: 'a JSON array',
    answer: answer(200, []),
    isModelList: true,
    kind: 'foreign',
    detail: '200, but not a list of models',
  },
]

describe('the verdict on an answer', () => {
  test.each(cases)(
    '$server is $kind: $detail (fault 20)',
    ({ answer, isModelList = false, kind, detail }) => {
      expect(judgeAnswer(answer, isModelList)).toEqual({ kind, detail, status: answer.status })
    },
  )

  test('it shows a long, hostile body as one short line without control or direction characters', () => {
    const { detail } = judgeAnswer(
      answer(200, `a\u001b[2J\u202e\u0000\u2028\r\nb ${'c'.repeat(65_536)}`),
      false,
    )
    expect(detail).toMatch(/^200 a \[2J b c+$/)
    expect(detail.length).toBeLessThan(130)
  })

  test('it shows a hostile redirect in the same way', () => {
    const { detail } = judgeAnswer(answer(302, '', { location: `\u009b2J${'x'.repeat(10_000)}` }), false)
    expect(detail).toMatch(/^302 redirects to {1,2}2Jx+$/)
    expect(detail.length).toBeLessThan(130)
  })
})

describe('the verdict without an answer', () => {
  test.each<[string, VerdictKind, string]>([
    ['ECONNREFUSED', 'refused', 'connection refused'],
    ['EHOSTUNREACH', 'refused', 'EHOSTUNREACH'],
    ['ENOTFOUND', 'refused', 'ENOTFOUND'],
    ['UND_ERR_CONNECT_TIMEOUT', 'refused', 'UND_ERR_CONNECT_TIMEOUT'],
    ['Response does not match', 'foreign', 'the answer is not HTTP (Response does not match)'],
    ['ETIMEOUT', 'loading', 'no answer within 700 ms'],
    ['ECONNRESET', 'loading', 'the connection was closed without an answer'],
    ['UND_ERR_SOCKET', 'loading', 'the connection was closed without an answer'],
    ['HPE_INVALID_CONSTANT', 'foreign', 'the answer is not HTTP (HPE_INVALID_CONSTANT)'],
    [
      'ERR_SSL_WRONG_VERSION_NUMBER',
      'foreign',
      'its URL says https, but the server does not speak TLS (ERR_SSL_WRONG_VERSION_NUMBER)',
    ],
    [
      'DEPTH_ZERO_SELF_SIGNED_CERT',
      'foreign',
      'its certificate is not accepted (DEPTH_ZERO_SELF_SIGNED_CERT)',
    ],
    [
      'ERR_TLS_CERT_ALTNAME_INVALID',
      'foreign',
      'its certificate is not accepted (ERR_TLS_CERT_ALTNAME_INVALID)',
    ],
    ['UND_ERR_HEADERS_OVERFLOW', 'foreign', 'the answer is not HTTP (UND_ERR_HEADERS_OVERFLOW)'],
  ])('%s is %s: %s', (code, kind, detail) => {
    expect(judgeError(code, 700)).toEqual({ kind, detail })
  })
})

describe('the verdict on a server of ours', () => {
  const url = 'http://127.0.0.1:1/v1/models'

  test.each([200, 201, 204])('a %s is readiness, whatever its body', (status) => {
    expect(toOwnVerdict(judgeAnswer(answer(status, '<html>'), true), url)).toMatchObject({
      kind: 'ready',
      status,
    })
  })

  test.each([301, 401, 403, 404, 405, 410])('a %s may still change, and names the URL', (status) => {
    const verdict = toOwnVerdict(judgeAnswer(answer(status), true), url)
    expect(verdict).toMatchObject({ kind: 'loading', status })
    expect(verdict.mismatch).toContain(`answers ${status}`)
    expect(verdict.mismatch).toContain(` at ${url}: set `)
  })

  test('the wrong scheme cannot change', () => {
    const verdict = judgeError('ERR_SSL_WRONG_VERSION_NUMBER', 700)
    expect(toOwnVerdict(verdict, url.replace('http:', 'https:'))).toMatchObject({ kind: 'failed' })
  })

  test.each(['refused', 'loading', 'failed'] as const)('%s stays as it is', (kind) => {
    const verdict = { kind, detail: 'x' }
    expect(toOwnVerdict(verdict, url)).toBe(verdict)
  })
})
