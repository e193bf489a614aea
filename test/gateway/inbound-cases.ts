/**
 * What a client may send, byte for byte. `refused`: an error or a closed connection, and nothing reaches the model
 * server. `served`: the model server gets exactly what it gets from the plain request, and the client a 200.
 */
export interface InboundCase {
  readonly name: string
  readonly bytes: string
  readonly outcome: 'refused' | 'served'
}

const BODY = '{"model":"local/demo"}'
const CHUNKED = `${BODY.length.toString(16)}\r\n${BODY}\r\n0\r\n\r\n`

interface Parts {
  readonly line?: string
  readonly type?: string
  readonly headers?: readonly string[]
  readonly framing?: readonly string[]
  readonly body?: string
  readonly end?: string
}

/** A request to the gateway, whose port stands as PORT. */
export function toInbound({
  line = 'POST /v1/chat/completions HTTP/1.1',
  type = 'Content-Type: application/json',
  headers = [],
  framing = [`Content-Length: ${BODY.length}`],
  body = BODY,
  end = '\r\n',
}: Parts): string {
  return [line, 'Host: 127.0.0.1:PORT', type, ...headers, ...framing, ''].join(end) + end + body
}

const refused = (name: string, parts: Parts): InboundCase => ({
  name,
  bytes: toInbound(parts),
  outcome: 'refused',
})
const served = (name: string, parts: Parts): InboundCase => ({
  name,
  bytes: toInbound(parts),
  outcome: 'served',
})

const lines = [
  'post /v1/chat/completions HTTP/1.1',
  'POST\t/v1/chat/completions HTTP/1.1',
  'POST /v1/chat/completions HTTP/1.2',
  'POST /v1/chat/completions HTTP/2.0',
  'POST /v1/chat/completions HTTP/0.9',
  'POST /v1/chat/completions HTTP/11',
  'POST /v1/chat/completions http/1.1',
  'POST /v1/chat/completions HTTP/1.1x',
  'POST /v1/chat/completions',
  'POST',
  ' POST /v1/chat/completions HTTP/1.1',
  'POST v1/chat/completions HTTP/1.1',
  'POST http://evil.com/v1/chat/completions HTTP/1.1',
  'POST http://127.0.0.1:PORT/v1/chat/completions HTTP/1.1',
  'POST //evil.com/v1/chat/completions HTTP/1.1',
  'POST /\\evil.com/v1/chat/completions HTTP/1.1',
  'POST \\v1\\chat\\completions HTTP/1.1',
  'POST /v1/../v1/chat/completions HTTP/1.1',
  'POST /v1/%2e%2e/v1/chat/completions HTTP/1.1',
  'POST /v1/chat/./completions HTTP/1.1',
  'POST /v1/chat/completions/.. HTTP/1.1',
  'POST /v1/chat/completions#x HTTP/1.1',
  'POST /v1/chat\x00/completions HTTP/1.1',
  'POST /v1/chat/compl\xe9tions HTTP/1.1',
  'POST /v1/chat/completions\x7f HTTP/1.1',
  'POST * HTTP/1.1',
  'OPTIONS * HTTP/1.1',
  'CONNECT evil.com:443 HTTP/1.1',
  'CONNECT /v1/chat/completions HTTP/1.1',
  'TRACE /v1/chat/completions HTTP/1.1',
  'PUT /v1/chat/completions HTTP/1.1',
  'PATCH /v1/chat/completions HTTP/1.1',
  'DELETE /v1/chat/completions HTTP/1.1',
  'GET /v1/chat/completions HTTP/1.1',
  'HEAD /v1/chat/completions HTTP/1.1',
  'PRI * HTTP/2.0',
  'QUIT',
  '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
]

const badHeaders = [
  'X : y',
  'X\t: y',
  ' X: y',
  'X',
  ': y',
  'X\x00: y',
  'X: y\x00z',
  'X: y\rz',
  'X: y\x0bz',
  'X: y\x7fz',
  'X: y\r\n folded',
  'X: y\r\n\tfolded',
  'X(: y',
  'X/: y',
  'X[]: y',
  'X{}: y',
  'X"y": z',
  'X\xe9: y',
  `X: ${'y'.repeat(17_000)}`,
  `${'X'.repeat(17_000)}: y`,
  Array.from({ length: 2_500 }, (_, index) => `a${index}: b`).join('\r\n'),
  'Host: 127.0.0.1:PORT',
  'Host: evil.com',
  'hOsT: evil.com',
  'Origin: http://evil.com',
  'Origin: null',
  'Origin: http://127.0.0.1:PORT\r\nOrigin: http://evil.com',
  'Sec-Fetch-Site: cross-site',
  'Sec-Fetch-Site: same-site',
  'Content-Encoding: gzip',
  'Content-Encoding: br',
  'Content-Encoding: identity, gzip',
  'Expect: 200-ok',
  'Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nOrigin: http://evil.com',
]

const badCodings = ['gzip, chunked', 'chunked;q=1', 'chunked ,']

const badFraming: readonly (readonly [string, readonly string[], string])[] = [
  ['a length and chunks', [`Content-Length: ${BODY.length}`, 'Transfer-Encoding: chunked'], CHUNKED],
  ['chunks and a length', ['Transfer-Encoding: chunked', `Content-Length: ${BODY.length}`], CHUNKED],
  ['two lengths', [`Content-Length: ${BODY.length}`, 'Content-Length: 3'], BODY],
  ['the same length twice', [`Content-Length: ${BODY.length}`, `Content-Length: ${BODY.length}`], BODY],
  ['two lengths in one', [`Content-Length: ${BODY.length}, ${BODY.length}`], BODY],
  ['a length with a sign', [`Content-Length: +${BODY.length}`], BODY],
  ['a negative length', ['Content-Length: -1'], BODY],
  ['a length in hex', ['Content-Length: 0x16'], BODY],
  ['a length with a point', [`Content-Length: ${BODY.length}.0`], BODY],
  ['a length with a word', [`Content-Length: ${BODY.length} bytes`], BODY],
  ['an empty length', ['Content-Length:'], BODY],
  ['a huge length', ['Content-Length: 99999999999999999999999'], BODY],
  ['a length beyond the limit', ['Content-Length: 99999999999'], ''],
  ['no length', [], BODY],
  ['a length that is too small', ['Content-Length: 5'], BODY],
  ['a length of nothing', ['Content-Length: 0'], BODY],
  ['a length that is too large', ['Content-Length: 500'], BODY],
  ['a coding that is not chunked', ['Transfer-Encoding: xchunked'], CHUNKED],
  ['a coding after chunked', ['Transfer-Encoding: chunked, gzip'], CHUNKED],
  ['chunked twice', ['Transfer-Encoding: chunked, chunked'], CHUNKED],
  ['identity', ['Transfer-Encoding: identity'], BODY],
  ['a coding in quotes', ['Transfer-Encoding: "chunked"'], CHUNKED],
  ['a coding with a control character', ['Transfer-Encoding: \x0bchunked'], CHUNKED],
  ['a blank before the colon of the coding', ['Transfer-Encoding : chunked'], CHUNKED],
  ['a folded coding', ['Transfer-Encoding:\r\n chunked'], CHUNKED],
  ['an empty coding and a length', ['Transfer-Encoding:', `Content-Length: ${BODY.length}`], BODY],
]

const badChunks = [
  'XYZ\r\n',
  `-1\r\n${BODY}\r\n0\r\n\r\n`,
  `+16\r\n${BODY}\r\n0\r\n\r\n`,
  `0x16\r\n${BODY}\r\n0\r\n\r\n`,
  ` 16\r\n${BODY}\r\n0\r\n\r\n`,
  `16 \n${BODY}\r\n0\r\n\r\n`,
  `16\n${BODY}\r\n0\r\n\r\n`,
  `16\r\n${BODY}0\r\n\r\n`,
  `16\r\n${BODY}\n0\r\n\r\n`,
  `15\r\n${BODY}\r\n0\r\n\r\n`,
  `17\r\n${BODY}\r\n0\r\n\r\n`,
  `ffffffffffffffff\r\n${BODY}\r\n0\r\n\r\n`,
  `10000000000000016\r\n${BODY}\r\n0\r\n\r\n`,
  `16;${'x'.repeat(20_000)}\r\n${BODY}\r\n0\r\n\r\n`,
  `16;a\nb\r\n${BODY}\r\n0\r\n\r\n`,
  `16\r\n${BODY}\r\n`,
  `16\r\n${BODY}\r\n0\r\n`,
  `16\r\n${BODY}\r\n0\r\n\rX`,
  `16\r\n${BODY}\r\n0\r\nX : y\r\n\r\n`,
  '0\r\n\r\n',
]

const badBodies = [
  '{',
  '[]',
  'null',
  '{"model":1}',
  '{"model":"local/demo"}}',
  '\x00',
  '{"model":"\xff"}',
  '{"model":"local/demo",}',
]

/** Headers that belong to this connection, or that a client may not set: without a trace at the model server. */
const hopByHop: readonly (readonly string[])[] = [
  ['Connection: close'],
  ['Connection: keep-alive, X-Secret', 'X-Secret: hop'],
  ['Connection: x-secret', 'X-SECRET: hop'],
  ['Keep-Alive: timeout=500'],
  ['Proxy-Authorization: Basic eDp5'],
  ['Proxy-Connection: keep-alive'],
  ['TE: trailers'],
  ['TE: gzip, chunked'],
  ['Trailer: X-Late'],
  ['Upgrade: websocket', 'Connection: Upgrade'],
  ['Authorization: Bearer mine'],
  ['X-Api-Key: mine'],
  ['Cookie: session=mine'],
  ['Referer: http://127.0.0.1:PORT/secret'],
  ['Origin: http://127.0.0.1:PORT'],
  ['Sec-Fetch-Mode: cors', 'Sec-Fetch-Site: same-origin'],
  ['X-Leasehold-Request-Id: 5'],
  ['Content-Encoding: identity', 'Connection: content-encoding'],
  ['Expect: 100-continue'],
]

/** More than one request in one write, or bytes where none belong. */
const smuggled =
  'POST /v1/smuggled HTTP/1.1\r\nHost: evil.com\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}'

export const inboundCases: readonly InboundCase[] = [
  ...lines.map((line) => refused(`the line ${JSON.stringify(line).slice(0, 60)}`, { line })),
  ...badHeaders.map((header) =>
    refused(`the header ${JSON.stringify(header).slice(0, 60)}`, { headers: [header] }),
  ),
  ...badFraming.map(([name, framing, body]) => refused(name, { framing, body })),
  ...badCodings.map((coding) =>
    refused(`the coding ${coding}`, { framing: [`Transfer-Encoding: ${coding}`], body: CHUNKED }),
  ),
  ...badChunks.map((body) =>
    refused(`the chunk ${JSON.stringify(body).slice(0, 40)}`, {
      framing: ['Transfer-Encoding: chunked'],
      body,
    }),
  ),
  ...badBodies.map((body) =>
    refused(`the body ${JSON.stringify(body)}`, { framing: [`Content-Length: ${body.length}`], body }),
  ),
  refused('bare line feeds', { end: '\n' }),
  refused('bare carriage returns', { end: '\r' }),
  refused('a body of a form without its boundary', { type: 'Content-Type: multipart/form-data' }),
  refused('a type of text', { type: 'Content-Type: text/plain; charset=application/json' }),
  refused('no type', { type: 'X: y' }),
  { name: 'nothing but blank lines', bytes: '\r\n\r\n\r\n', outcome: 'refused' },
  { name: 'nothing but NUL', bytes: '\0'.repeat(100), outcome: 'refused' },
  {
    name: 'noise',
    bytes: Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte)).join(''),
    outcome: 'refused',
  },
  ...hopByHop.map((headers) => served(`${headers.join(', ')} leaves no trace`, { headers })),
  served('a request behind an empty line', { line: '\r\nPOST /v1/chat/completions HTTP/1.1' }),
  served('two blanks before the path', { line: 'POST  /v1/chat/completions HTTP/1.1' }),
  served('two blanks behind the path', { line: 'POST /v1/chat/completions  HTTP/1.1' }),
  served('a second type, which does not count', { headers: ['Content-Type: text/plain'] }),
  served('header names in any case', { type: 'cOnTeNt-TyPe: application/json' }),
  served('chunks', { framing: ['Transfer-Encoding: chunked'], body: CHUNKED }),
  served('chunks in many pieces', {
    framing: ['Transfer-Encoding: Chunked'],
    body: `${[...BODY].map((character) => `1\r\n${character}\r\n`).join('')}0\r\n\r\n`,
  }),
  served('chunks with an extension and a trailer', {
    framing: ['Transfer-Encoding: chunked', 'Trailer: X-Late'],
    body: `16;a=b\r\n${BODY}\r\n0\r\nX-Late: y\r\n\r\n`,
  }),
  served('a request that is followed by one to another host', { body: BODY + smuggled }),
]
