/** Stands in place of a program for our own one that sends requests to a running daemon. */
export const REQUESTS = 'leasehold:requests'

/** The variable in which that program gets the headers of its requests: its arguments can be read by every user. */
export const REQUEST_HEADERS = 'LEASEHOLD_REQUEST_HEADERS'

/** What that program does. */
export type RequestsAction = 'load' | 'unload' | 'status'

/** Its second argument, as JSON. */
export interface DaemonRequests {
  /** Where the daemon listens. */
  readonly origin: string
  /** Sent in this order. Of `status` it is one. */
  readonly requests: readonly {
    readonly method: string
    readonly path: string
    readonly body?: unknown
  }[]
  /** Of `status`: what tells from the answer that the model is loaded. */
  readonly sign?: { readonly field: string; readonly equals: unknown }
}
