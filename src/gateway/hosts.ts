import { isIPv6 } from 'node:net'
import type { NetworkInterfaceInfo } from 'node:os'

/**
 * The `Host` headers by which a gateway that listens at an address may be called: the address and loopback; where it
 * listens at every address, those of this host. A name is never among them: any domain can point to this address.
 */
export function toHosts(
  host: string,
  port: number,
  interfaces: Readonly<Record<string, readonly Pick<NetworkInterfaceInfo, 'address'>[] | undefined>>,
): string[] {
  const isEverywhere = host === '0.0.0.0' || /^[0:]+$/.test(host)
  const own = isEverywhere
    ? Object.values(interfaces).flatMap((found = []) => found.map(({ address }) => address))
    : [host]
  return [...new Set([...own, '127.0.0.1', 'localhost', '::1'])].map((name) => toAuthority(name, port))
}

/** Host and port as a URL writes them. */
export function toAuthority(host: string, port: number): string {
  return `${isIPv6(host) ? `[${host}]` : host}:${port}`
}
