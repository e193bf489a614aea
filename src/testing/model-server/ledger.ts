import type { IncomingHttpHeaders } from 'node:http'

/** One request as it arrived. */
export interface RecordedRequest {
  readonly method: string
  /** Path with the query, as sent. */
  readonly path: string
  readonly headers: IncomingHttpHeaders
  /** The body as text, to the letter. */
  readonly body: string
}

/** What the server has seen. Of the requests it keeps the newest 1,000, with at most 64 Mi characters of bodies. */
export interface Ledger {
  readonly requests: readonly RecordedRequest[]
  /** Requests by path without query, counted when their head arrives; under `aborted`, those whose client left early. */
  readonly counts: Readonly<Record<string, number>>
  /** Requests that have begun and not ended. */
  readonly inFlight: number
  begin(path: string): void
  record(request: RecordedRequest): void
  end(outcome: 'answered' | 'aborted' | 'cut'): void
}

const maxRequests = 1000
const maxCharacters = 64 * 2 ** 20
/** Paths are the client's choice, so their number has a limit: further ones count as `other`. */
const maxKeys = 100

/** Creates an empty ledger. */
export function createLedger(): Ledger {
  const requests: RecordedRequest[] = []
  const counts: Record<string, number> = { aborted: 0 }
  let characters = 0
  let inFlight = 0

  const count = (key: string): void => {
    counts[key] = (counts[key] ?? 0) + 1
  }

  return {
    requests,
    counts,
    get inFlight() {
      return inFlight
    },
    begin: (path) => {
      inFlight += 1
      count(Object.hasOwn(counts, path) || Object.keys(counts).length < maxKeys ? path : 'other')
    },
    record: (request) => {
      requests.push(request)
      characters += request.body.length
      while (requests.length > maxRequests || (characters > maxCharacters && requests.length > 1)) {
        characters -= requests.shift()?.body.length ?? 0
      }
    },
    end: (outcome) => {
      inFlight -= 1
      if (outcome === 'aborted') count('aborted')
    },
  }
}
