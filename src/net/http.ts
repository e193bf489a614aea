const http = process.getBuiltinModule('node:http')

/**
 * What is used of `node:http`. An import of that module would load all that it exports lazily too: from Node 22 on
 * that is a whole HTTP client, which took 90 ms of 140 of a process's start where it was measured.
 */
export const { createServer, request } = http

/** An answer as it is read. */
export type IncomingMessage = InstanceType<typeof http.IncomingMessage>

/** `request` of `node:https`, which loads all of TLS. */
export function loadSecureRequest(): typeof request {
  return process.getBuiltinModule('node:https').request
}
