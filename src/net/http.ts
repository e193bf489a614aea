const http = process.getBuiltinModule('node:http')

/**
 * The used parts of `node:http`. An import of that module would also load its lazy exports: since Node 22 a whole
 * HTTP client, 90 of 140 ms of a process's start.
 */
export const { createServer, request } = http

/** An answer as it is read. */
export type IncomingMessage = InstanceType<typeof http.IncomingMessage>

/** `request` of `node:https`, which loads all of TLS. */
export function loadSecureRequest(): typeof request {
  return process.getBuiltinModule('node:https').request
}
