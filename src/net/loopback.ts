import { isIPv4 } from 'node:net'

/** Whether only this host can reach what listens at an address: `127.0.0.0/8`, `::1`, or `localhost`. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'))
}

/** Whether only this host can reach what a URL names. */
export function isLoopbackUrl(url: string): boolean {
  return isLoopback(new URL(url).hostname.replaceAll(/^\[|\]$/g, ''))
}
