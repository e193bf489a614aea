/**
 * What a model server may answer, byte for byte; after it the connection is closed. `error`: the client gets an error
 * of ours. `broken`: it gets the head, and then no clean end. `served`: it gets this text, and the end.
 */
export interface UpstreamCase {
  readonly name: string
  readonly bytes: string
  readonly outcome: 'error' | 'broken' | { readonly status?: number; readonly text: string }
}

const head = (...headers: readonly string[]) =>
  `HTTP/1.1 200 OK\r\n${headers.map((one) => `${one}\r\n`).join('')}\r\n`
const json = 'content-type: application/json'
const sse = 'content-type: text/event-stream'
const ok = head(json, 'content-length: 2')
const DONE = 'data: {"choices":[]}\n\ndata: [DONE]\n\n'

const error = (name: string, bytes: string): UpstreamCase => ({ name, bytes, outcome: 'error' })
const broken = (name: string, bytes: string): UpstreamCase => ({ name, bytes, outcome: 'broken' })
const served = (name: string, bytes: string, text = '{}', status = 200): UpstreamCase => ({
  name,
  bytes,
  outcome: { text, status },
})

export const upstreamCases: readonly UpstreamCase[] = [
  ...[
    ['nothing', ''],
    ['a blank line', '\r\n\r\n'],
    ['garbage', 'garbage\r\n\r\n'],
    ['HTML alone', '<html></html>'],
    ['a greeting of SSH', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['a greeting of SMTP', '220 mail ready\r\n'],
    ['TLS', '\x15\x03\x01\x00\x02\x02\x46'],
    ['NUL bytes', '\0'.repeat(64)],
    ['every byte', Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte)).join('')],
    ['HTTP/0.9', '{"data":[]}'],
    ['half a status line', 'HTTP/1.1 20'],
    ['no status', 'HTTP/1.1\r\n\r\n'],
    ['a status of two digits', 'HTTP/1.1 20 OK\r\n\r\n'],
    ['a status of four digits', 'HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\n{}'],
    ['a status in words', 'HTTP/1.1 OK 200\r\n\r\n'],
    ['a negative status', 'HTTP/1.1 -200 OK\r\n\r\n'],
    ['a status of 999', 'HTTP/1.1 999 No\r\ncontent-length: 2\r\n\r\n{}'],
    ['a status of 600', 'HTTP/1.1 600 No\r\ncontent-length: 2\r\n\r\n{}'],
    ['a status of 000', 'HTTP/1.1 000 No\r\ncontent-length: 2\r\n\r\n{}'],
    ['a status line of ICY', 'ICY 200 OK\r\n\r\n'],
    ['a head without its end', 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n'],
    ['a header without a colon', 'HTTP/1.1 200 OK\r\nnonsense\r\n\r\n{}'],
    ['a header without a name', 'HTTP/1.1 200 OK\r\n: x\r\n\r\n{}'],
    ['a blank before the colon', 'HTTP/1.1 200 OK\r\nx : y\r\ncontent-length: 2\r\n\r\n{}'],
    ['a NUL in a header', 'HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 2\r\n\r\n{}'],
    ['a folded header', 'HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 2\r\n\r\n{}'],
    ['a bare CR in a header', 'HTTP/1.1 200 OK\r\nx: a\rset-cookie: b\r\ncontent-length: 2\r\n\r\n{}'],
    ['a control character in a header', 'HTTP/1.1 200 OK\r\nx: a\x0bb\r\ncontent-length: 2\r\n\r\n{}'],
    ['a header of 70 KB', `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(70_000)}\r\ncontent-length: 2\r\n\r\n{}`],
    ['a header name of 70 KB', `HTTP/1.1 200 OK\r\n${'y'.repeat(70_000)}: x\r\ncontent-length: 2\r\n\r\n{}`],
    [
      'headers of 70 KB',
      `HTTP/1.1 200 OK\r\n${`x: ${'y'.repeat(700)}\r\n`.repeat(100)}content-length: 2\r\n\r\n{}`,
    ],
    [
      'a length and chunks',
      `${head(json, 'content-length: 2', 'transfer-encoding: chunked')}2\r\n{}\r\n0\r\n\r\n`,
    ],
    ['two lengths', `${head(json, 'content-length: 2', 'content-length: 3')}{}x`],
    ['a length that is no number', `${head(json, 'content-length: two')}{}`],
    ['a negative length', `${head(json, 'content-length: -2')}{}`],
    ['a length beyond all numbers', `${head(json, 'content-length: 99999999999999999999')}{}`],
    ['an interim answer and then nothing', 'HTTP/1.1 100 Continue\r\n\r\n'],
    ['an unrequested interim answer', `HTTP/1.1 100 Continue\r\n\r\n${ok}{}`],
    ['a thousand interim answers', 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(1_000)],
    [
      'an unrequested upgrade',
      'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nxyz',
    ],
  ].map(([name = '', bytes = '']) => error(name, bytes)),
  ...[
    ['less than its length', `${head(json, 'content-length: 99')}{}`],
    ['chunks without their end', `${head(json, 'transfer-encoding: chunked')}2\r\n{}\r\n`],
    ['a chunk that is cut', `${head(json, 'transfer-encoding: chunked')}ff\r\n{}`],
    ['a chunk of no number', `${head(json, 'transfer-encoding: chunked')}2\r\n{}\r\nxyz\r\n`],
    ['a chunk without its line end', `${head(json, 'transfer-encoding: chunked')}2\r\n{}0\r\n\r\n`],
    ['a chunk size beyond all numbers', `${head(json, 'transfer-encoding: chunked')}fffffffffffffffff\r\n{}`],
    ['JSON that the end of the connection cuts', `${head(json)}{"choices":[`],
    ['a stream without its end', `${head(sse)}data: {"choices":[]}\n\n`],
    [
      'a stream that is cut in a chunk',
      `${head(sse, 'transfer-encoding: chunked')}30\r\ndata: {"choices":[]}\n\n`,
    ],
    ['a stream whose words only look like its end', `${head(sse)}data: {"x":"data: [DONE]"}\n\n`],
  ].map(([name = '', bytes = '']) => broken(name, bytes)),
  served('a plain answer', `${ok}{}`),
  served(
    'line ends without carriage returns in a body',
    `${head(json, 'content-length: 4')}{\n}\n`,
    '{\n}\n',
  ),
  served('early hints before it', `HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n${ok}{}`),
  served('no reason', 'HTTP/1.1 200\r\ncontent-length: 2\r\n\r\n{}'),
  served('HTTP/1.0', `HTTP/1.0 200 OK\r\n${json}\r\n\r\n{}`),
  served('bytes after its end', `${ok}{}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil`),
  served('a second answer after its end', `${ok}{}${head(json, 'content-length: 4')}evil`),
  served(
    'chunks with extensions and trailers',
    `${head(json, 'transfer-encoding: chunked')}2;a=b\r\n{}\r\n0\r\nset-cookie: x\r\n\r\n`,
  ),
  served(
    'headers of one connection',
    `${head(json, 'content-length: 2', 'connection: close, x-hop', 'x-hop: secret', 'keep-alive: timeout=1', 'proxy-authenticate: x', 'upgrade: x')}{}`,
  ),
  served('a header in Latin-1', `${head(json, 'x-name: caf\xe9', 'content-length: 2')}{}`),
  served('a header in UTF-8', `${head(json, 'x-name: \xe4\xbd\xa0\xe5\xa5\xbd', 'content-length: 2')}{}`),
  served('a stream with its end', `${head(sse)}${DONE}`, DONE),
  served(
    'a stream in chunks',
    `${head(sse, 'transfer-encoding: chunked')}${DONE.length.toString(16)}\r\n${DONE}\r\n0\r\n\r\n`,
    DONE,
  ),
  served(
    'an error of its own',
    'HTTP/1.1 400 Bad\r\ncontent-length: 13\r\n\r\n{"error":"x"}',
    '{"error":"x"}',
    400,
  ),
  ...[300, 301, 302, 303, 304, 307, 308].map((status) =>
    error(
      `a redirect with ${status}`,
      `HTTP/1.1 ${status} Found\r\nlocation: http://169.254.169.254/evil\r\ncontent-length: 2\r\n\r\n{}`,
    ),
  ),
  ...['gzip', 'gzip, chunked', 'x-gzip', 'deflate', 'chunked, gzip'].map((coding) =>
    error(
      `the transfer coding ${coding}`,
      `${head(json, `transfer-encoding: ${coding}`)}2\r\n{}\r\n0\r\n\r\n`,
    ),
  ),
  ...['text/html', 'Text/HTML; charset=utf-8', 'application/xhtml+xml'].map((type) =>
    error(`a web page as ${type}`, `${head(`content-type: ${type}`, 'content-length: 13')}<html></html>`),
  ),
  ...['Text/Event-Stream', 'text/event-stream ; charset=utf-8', 'TEXT/EVENT-STREAM;charset=utf-8'].flatMap(
    (type) => [
      broken(
        `a stream without its end as ${type}`,
        `${head(`content-type: ${type}`)}data: {"choices":[]}\n\n`,
      ),
      served(`a stream with its end as ${type}`, `${head(`content-type: ${type}`)}${DONE}`, DONE),
    ],
  ),
  ...['application/x-ndjson', 'Application/NDJSON; charset=utf-8', 'application/jsonl'].flatMap((type) => {
    const lines = head(`content-type: ${type}`)
    const chunked = head(`content-type: ${type}`, 'transfer-encoding: chunked')
    return [
      broken(`lines that are cut in one as ${type}`, `${lines}{"a":1}\n{"a":`),
      broken(`lines that are cut between two as ${type}`, `${lines}{"done":false}\n`),
      broken(`chunked lines that are cut in one as ${type}`, `${chunked}d\r\n{"a":1}\n{"a":\r\n0\r\n\r\n`),
      broken(`chunked lines without the last one as ${type}`, `${chunked}f\r\n{"done":false}\n\r\n0\r\n\r\n`),
      served(
        `lines with the last one as ${type}`,
        `${lines}{"done":false}\n{"done":true}\n`,
        '{"done":false}\n{"done":true}\n',
      ),
      served(
        `lines that end in an error as ${type}`,
        `${lines}{"done":false}\n{"error":"x"}\n`,
        '{"done":false}\n{"error":"x"}\n',
      ),
      served(`lines of another kind as ${type}`, `${lines}{"a":1}\n{"a":2}\n`, '{"a":1}\n{"a":2}\n'),
    ]
  }),
  served('an empty answer', 'HTTP/1.1 204 No Content\r\n\r\n', '', 204),
]
