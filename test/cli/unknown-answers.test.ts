import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { readChatAnswer } from '../../src/cli/chat-answer.ts'
import { startService, stopService } from '../../src/cli/control.ts'
import { showEvents } from '../../src/cli/events-command.ts'
import { AnswerError, formatError } from '../../src/cli/exit-codes.ts'
import { showLogs } from '../../src/cli/logs.ts'
import { showRequests } from '../../src/cli/requests-command.ts'
import { showStatus } from '../../src/cli/status.ts'
import type { Terminal } from '../../src/cli/terminal.ts'
import { explainService } from '../../src/cli/why.ts'

/** A terminal that keeps what is printed. */
function createPaper(): Terminal & { readonly printed: string[] } {
  const printed: string[] = []
  const put = (text = '') => void printed.push(text)
  return {
    printed,
    env: { HOME: '/nonexistent' },
    isOutInteractive: false,
    isErrInteractive: true,
    size: () => ({ columns: 80, rows: 24 }),
    out: put,
    err: put,
    line: put,
    json: (value) => put(JSON.stringify(value)),
    note: put,
    paint: (_, text) => text,
  }
}

/** A program that says of itself that it is a gateway, and answers everything else with this text. */
async function openGateway(answer: string) {
  const events = ['null', '{}', '{"type":7}', '{"type":"service.state"}', answer].map(
    (one) => `data: ${one}\n\n`,
  )
  const server = createServer(({ url = '' }, response) => {
    if (url === '/health') return response.end('{"name":"leasehold"}')
    return response.end(url.startsWith('/api/events') ? events.join('') : answer)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    gateway: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

interface Options {
  readonly gateway: string
  readonly config: string
}

const commands: Readonly<Record<string, (options: Options, terminal: Terminal) => Promise<number>>> = {
  status: showStatus,
  start: (options, terminal) => startService('demo', options, terminal),
  stop: (options, terminal) => stopService('demo', options, terminal),
  why: (options, terminal) => explainService('demo', options, terminal),
  logs: (options, terminal) => showLogs('demo', options, terminal),
  'logs -f': (options, terminal) => showLogs('demo', { ...options, follow: true }, terminal),
  'logs without a service': (options, terminal) => showLogs(undefined, options, terminal),
  events: (options, terminal) => showEvents({ ...options, last: 9 }, terminal),
  requests: (options, terminal) => showRequests({ ...options, last: 9 }, terminal),
}

describe.each(Object.entries(commands))('%s, from a gateway whose answer has an unknown form,', (_, run) => {
  test.each(['null', '7', '"text"', '[7]', '{"services":[{}],"lines":[{}]}', '<html>', '{"cut'])(
    '%s, says so in words',
    async (answer) => {
      await using gateway = await openGateway(answer)
      const terminal = createPaper()
      const options = { gateway: gateway.gateway, config: 'builtin:demo' }
      const error: unknown = await run(options, terminal).catch((caught: unknown) => caught)
      expect(error).toBeInstanceOf(AnswerError)
      expect(formatError(error)).toMatch(/^The gateway's answer to \/api\/\S+ has an unknown form\. /)
      expect(terminal.printed.join('')).not.toMatch(/undefined|TypeError/)
    },
  )
})

test.each(['null', '7', '{"choices":7}', '{"choices":[null]}', '<html>'])(
  'an answer of a model in an unknown form, %s, is told as that',
  async (answer) => {
    await expect(readChatAnswer(new Response(answer), () => {})).rejects.toBeInstanceOf(AnswerError)
  },
)
