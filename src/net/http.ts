const http = process.getBuiltinModule('node:http')

/**
 * The used parts of `node:http`. An import of that module would also load its lazy exports: since Node 22 a whole
 * HTTP client, 90 of 140 ms of a process's start.
 */
export const { createServer, request, STATUS_CODES } = http

/**
 * A request message for `createServer` whose protocol changes only where `isTunnel` says so. With a listener for
 * `upgrade` Node would take the connection of every client that offers another protocol, and Java's HTTP client offers
 * HTTP/2 with each of its requests.
 */
export function toMessageClass(isTunnel: (message: IncomingMessage) => boolean): typeof http.IncomingMessage {
  return class extends http.IncomingMessage {
    declare isUpgradeOffered: unknown
    get upgrade(): unknown {
      return Boolean(this.isUpgradeOffered) && isTunnel(this)
    }
    // Node sets it before the headers are there, and asks for it after.
    set upgrade(isOffered: unknown) {
      this.isUpgradeOffered = isOffered
    }
  }
}

/** An answer as it is read. */
export type IncomingMessage = InstanceType<typeof http.IncomingMessage>

/** `request` of `node:https`, which loads all of TLS. */
export function loadSecureRequest(): typeof request {
  return process.getBuiltinModule('node:https').request
}
