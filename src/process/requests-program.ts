import { findSign } from '../json/sign.ts'
import type { DaemonRequests } from '../text/requests-mark.ts'

/**
 * A whole program: it is not called here but handed to a Node of its own as text, so it uses nothing from outside its own
 * braces. Its arguments are what it does and the requests for that as JSON; their headers are in its environment.
 *
 * `load` and `unload` send the requests in their order and end with 0 when each was answered well. `status` prints one line
 * when the answer says that the model is loaded, nothing when it is not, and ends with 1 when that cannot be told. A
 * daemon that does not listen has no model loaded.
 */
function sendRequests(find: typeof findSign): void {
  const http = process.getBuiltinModule('node:http')
  const https = process.getBuiltinModule('node:https')
  const [, action = '', json = ''] = process.argv
  const { origin, requests, sign }: DaemonRequests = JSON.parse(json)
  const { common = {}, own = {} } = JSON.parse(process.env.LEASEHOLD_REQUEST_HEADERS ?? '{}')
  /** Of an answer so much is read, in bytes. */
  const MAX_BYTES = 1_048_576
  /** How long the daemon may stay silent, in milliseconds. A load takes as long as its caller allows. */
  const SILENCE_MS: Readonly<Record<string, number>> = { status: 4_000, unload: 300_000 }

  const fail = (reason: string) => {
    process.stderr.write(`${reason}\n`, () => process.exit(1))
  }
  const explain = (text: string): string => {
    try {
      const { error = text, message = error } = JSON.parse(text)
      return String(typeof error === 'object' ? (error?.message ?? text) : (message ?? text))
    } catch {
      return text
    }
  }
  const isAbsent = ({ code }: NodeJS.ErrnoException) => code === 'ECONNREFUSED'
  const send = ({ method, path, body }: DaemonRequests['requests'][number], index: number) =>
    new Promise<{ status: number; text: string }>((resolve, reject) => {
      const content = body === undefined ? undefined : JSON.stringify(body)
      const options = {
        method,
        agent: false as const,
        headers: {
          accept: 'application/json',
          ...(content === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(content)) }),
          ...common,
          ...own[action]?.[index],
        },
      }
      const request = (origin.startsWith('https:') ? https : http).request(origin + path, options)
      request.once('error', reject)
      request.once('response', (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (piece: string) => {
          if (text.length < MAX_BYTES) text += piece
        })
        response.once('error', reject)
        response.once('end', () => resolve({ status: response.statusCode ?? 0, text }))
      })
      const silenceMs = SILENCE_MS[action]
      if (silenceMs !== undefined)
        request.setTimeout(silenceMs, () => request.destroy(new Error('no answer in time')))
      request.end(content)
    })
  const run = async () => {
    for (const [index, request] of requests.entries()) {
      const { status, text } = await send(request, index)
      const name = `${request.method} ${request.path}`
      if (status < 200 || status >= 300) {
        const words = explain(text).replace(/\s+/g, ' ').trim().slice(0, 300)
        return fail(`${name} answered ${status}${words === '' ? '' : `: ${words}`}`)
      }
      if (sign === undefined) continue
      const seen = find(text, sign.field, sign.equals)
      if (seen === undefined) return fail(`the answer to ${name} has no field ${sign.field}`)
      if (seen) process.stdout.write(`${JSON.stringify(sign.equals)}\n`)
    }
  }
  run().catch((error: NodeJS.ErrnoException) => {
    if (isAbsent(error) && action !== 'load') return
    fail(isAbsent(error) ? `nothing listens at ${origin}` : `${origin}: ${error.message}`)
  })
}

/** The text of the program. */
export const requestsProgram = `(${sendRequests})(${findSign})`
