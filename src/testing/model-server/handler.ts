import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Call } from './call.ts'
import type { Controls } from './control-reply.ts'
import { buildControlReply, controlPath } from './control-reply.ts'
import { findObstacle } from './faults.ts'
import type { Journal, JournalEnd } from './journal.ts'
import type { Ledger } from './ledger.ts'
import { findOnceReply } from './once.ts'
import type { ModelServerSettings } from './options.ts'
import { pauseForEver } from './pace.ts'
import { buildErrorReply } from './reply.ts'
import { findReply } from './reply-routes.ts'
import { sendReply } from './send.ts'

/** What the handler sees of the server it works for, as it is at the moment of asking. */
export interface HandlerContext {
  readonly settings: ModelServerSettings
  readonly isLoaded: boolean
  /** Whether the server is closing, so that a connection that ends is not a client that left. */
  readonly isClosing: boolean
  readonly ledger: Ledger
  /** Absent: what is executed is not written down. */
  readonly journal?: Journal
  readonly controls: Controls
  /** Ends the process; absent when only the connection shall end. */
  readonly crash?: (signal: NodeJS.Signals) => void
}

/** A response that is followed to its end. */
interface Watched {
  /** Aborted when its connection is gone. */
  readonly signal: AbortSignal
  /** Ends the process, or the connection. */
  readonly crash: () => void
  /** Told how it ended. */
  onEnd: ((outcome: JournalEnd['outcome']) => void) | undefined
}

/** Larger bodies get 413. */
const maxBodyBytes = 128 * 2 ** 20

/** Creates the function that answers every request of a server. It never throws and never rejects. */
export function createHandler(
  context: HandlerContext,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  const { ledger, controls } = context
  let received = 0

  return async (request, response) => {
    const { url = '/', method = 'GET', headers } = request
    const path = url.split('?')[0] ?? url
    const isControl = context.settings.control && path === controlPath
    const watched = watch(response, isControl)
    const { signal, crash } = watched
    if (!isControl) ledger.begin(path)
    try {
      const body = await readBody(request)
      const { settings } = context
      const exchange = { request, response, settings, signal, crash }
      if (body === undefined) return await sendReply(buildErrorReply(413, 'The body is too large'), exchange)
      const nonce = String(headers['x-demo-nonce'] ?? ++received)
      const call: Call = { method, path, headers, body, settings, nonce, receivedAtMs: Date.now() }
      if (isControl) return await sendReply(buildControlReply(call, controls), exchange)
      ledger.record({ method, path: url, headers, body: body.toString() })
      const obstacle = findObstacle(call, context.isLoaded)
      const once = obstacle === undefined ? findOnceReply(call) : undefined
      // What is refused was not executed; what crashes or hangs was about to be.
      if (method === 'POST' && once === undefined && typeof obstacle !== 'object')
        watched.onEnd = context.journal?.begin(request, response, nonce)
      if (obstacle === 'crash') crash()
      if (obstacle === 'crash' || obstacle === 'hang') return await pauseForEver(signal)
      if (once !== undefined) controls.set(once.change)
      await sendReply(obstacle ?? once?.reply ?? (await findReply(call)), exchange)
    } catch (error) {
      if (signal.aborted || request.socket.destroyed) return
      if (response.headersSent) response.destroy()
      else response.writeHead(500).end(String(error))
    }
  }

  /** Follows a response to its end. */
  function watch(response: ServerResponse, isControl: boolean): Watched {
    const leaving = new AbortController()
    let isCut = false
    response.once('close', () => {
      leaving.abort()
      if (isControl) return
      const outcome = response.writableFinished ? 'answered' : isCut || context.isClosing ? 'cut' : 'aborted'
      ledger.end(outcome)
      watched.onEnd?.(outcome)
    })
    const crash = (): void => {
      isCut = true
      if (context.crash === undefined) response.destroy()
      else context.crash('SIGKILL')
    }
    const watched: Watched = { signal: leaving.signal, crash, onEnd: undefined }
    return watched
  }
}

/** Absent when the body is too large; it is read to its end even so, because clients write before they read. */
async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request) {
    bytes += chunk.length
    if (bytes <= maxBodyBytes) chunks.push(chunk)
  }
  return bytes <= maxBodyBytes ? Buffer.concat(chunks) : undefined
}
