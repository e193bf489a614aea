import { BlockList, isIPv4 } from 'node:net'
import { hostname as hostnameOf, networkInterfaces } from 'node:os'
import type { ProviderConfig } from './config.ts'
import { type Finding, toError, toWarning } from './finding.ts'
import { toProviderPath } from './provider.ts'

/** What cloud hosts call the service that hands out their credentials. */
const METADATA_NAMES: ReadonlySet<string> = new Set([
  'metadata',
  'metadata.google.internal',
  'metadata.goog',
  'metadata.azure.internal',
  'metadata.tencentyun.com',
  'instance-data',
  'instance-data.ec2.internal',
])

/** Metadata services outside of the link-local ranges: Alibaba, Oracle, Azure, EC2 and Google over IPv6. */
const METADATA_ADDRESSES = new BlockList()
METADATA_ADDRESSES.addSubnet('169.254.0.0', 16, 'ipv4')
METADATA_ADDRESSES.addAddress('100.100.100.200', 'ipv4')
METADATA_ADDRESSES.addAddress('192.0.0.192', 'ipv4')
METADATA_ADDRESSES.addAddress('168.63.129.16', 'ipv4')
METADATA_ADDRESSES.addSubnet('fe80::', 10, 'ipv6')
METADATA_ADDRESSES.addAddress('fd00:ec2::254', 'ipv6')
METADATA_ADDRESSES.addAddress('fd20:ce::254', 'ipv6')

/**
 * Checks where providers are. A link-local address is refused unless allowed, because cloud hosts serve credentials
 * there. The gateway's own address is refused, because every request would come back to it. A server that we run is on
 * this host, and a literal address keeps name servers out of it.
 */
export function findAddressProblems(
  providers: readonly ProviderConfig[],
  { allowLinkLocal, ...gateway }: GatewayPlace & { readonly allowLinkLocal: boolean },
): Finding[] {
  return providers.flatMap((provider) => {
    const at = toProviderPath(provider)
    const urls = [
      { path: [...at, 'baseUrl'], url: provider.baseUrl },
      ...(provider.localService === undefined
        ? []
        : [{ path: [...at, 'localService', 'healthUrl'], url: provider.localService.healthUrl }]),
    ]
    return urls.flatMap(({ path, url }) => {
      const { hostname } = new URL(url)
      if (isGatewayAddress(url, gateway)) return [toError(path, describeLoop(url))]
      if (!allowLinkLocal && isLinkLocal(hostname))
        return [
          toError(
            path,
            `${hostname} is where cloud hosts keep their credentials; set leasehold.allowLinkLocal if a model server is there`,
          ),
        ]
      if (provider.localService !== undefined && !isThisHost(hostname))
        return [
          toWarning(path, `${hostname} need not be this host, on which the server will run; use 127.0.0.1`),
        ]
      return []
    })
  })
}

/** Where a gateway listens. */
export interface GatewayPlace {
  readonly host: string
  /** `0`: at any port, so at none that a file could name. */
  readonly port: number
}

/**
 * Whether this URL is the gateway's own: its port, at an address or name of this host where it listens. The name of
 * this host counts wherever the gateway listens, since it may lead to any address here. Other names of this host are
 * found by the hop mark.
 */
export function isGatewayAddress(url: string, { host, port }: GatewayPlace): boolean {
  const { protocol, hostname, port: given } = new URL(url)
  const actual = given === '' ? (protocol === 'https:' ? 443 : 80) : Number(given)
  if (port === 0 || actual !== port) return false
  const name = toPlainHost(hostname)
  const own = toPlainHost(host.includes(':') ? `[${host}]` : host.toLowerCase())
  if (name === own || isOwnName(name)) return true
  const isEverywhere = own === ANY_IPV4 || own === '::'
  const isLocalName = name === 'localhost' || name.endsWith('.localhost')
  // As a destination, the address of every interface is this host.
  if (isLocalName || name === ANY_IPV4 || name === '::')
    return isEverywhere || own === 'localhost' || own === '::1' || own === '127.0.0.1'
  if (own === 'localhost') return name === '127.0.0.1' || name === '::1'
  return isEverywhere && (name === '::1' || name.startsWith('127.') || listOwnAddresses().includes(name))
}

/** The problem that reports a loop. */
export function describeLoop(url: string): string {
  return `${new URL(url).host} is where the gateway itself listens, so that every request would come back to it; set the address of the model server, or another leasehold.port (serve --port)`
}

const ANY_IPV4 = '0.0.0.0'

/** Without brackets and final dots; an IPv4 address that is written as an IPv6 one as itself. */
function toPlainHost(hostname: string): string {
  const name = hostname.replace(/\.+$/, '')
  if (!name.startsWith('[')) return name
  const address = new URL(`http://${name}`).hostname.slice(1, -1)
  return (address.startsWith('::ffff:') && toEmbeddedIPv4(address)) || address
}

/** The name of this host, in full, without its domain, and as multicast DNS has it. */
function isOwnName(name: string): boolean {
  const full = hostnameOf().toLowerCase()
  const short = full.replace(/\..*/, '')
  return short !== '' && (name === full || name === short || name === `${short}.local`)
}

function listOwnAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((found = []) => found.map(({ address }) => address))
}

/** `hostname` as `URL` writes it: every spelling of an IPv4 address is already dotted decimal. */
function isLinkLocal(hostname: string): boolean {
  const name = hostname.replace(/\.+$/, '')
  if (isIPv4(name)) return METADATA_ADDRESSES.check(name, 'ipv4')
  if (!name.startsWith('[')) return METADATA_NAMES.has(name)
  const address = name.slice(1, -1)
  const embedded = toEmbeddedIPv4(address)
  return (
    METADATA_ADDRESSES.check(address, 'ipv6') ||
    (embedded !== undefined && METADATA_ADDRESSES.check(embedded, 'ipv4'))
  )
}

/** The IPv4 address that a gateway reaches by an IPv6 one: mapped, compatible, translated, NAT64, or 6to4. */
function toEmbeddedIPv4(address: string): string | undefined {
  const words = toWords(address)
  const [first, second] = words
  const isNat64 = first === 0x64 && second === 0xff9b
  const isZeroPrefixed = words.slice(0, 4).every((word) => word === 0)
  const pair = first === 0x2002 ? words.slice(1, 3) : isNat64 || isZeroPrefixed ? words.slice(6) : undefined
  return pair?.flatMap((word) => [word >> 8, word & 0xff]).join('.')
}

/** The eight numbers of an IPv6 address. */
function toWords(address: string): number[] {
  const [head = [], tail = []] = address
    .split('::')
    .map((half) => (half === '' ? [] : half.split(':').map((word) => Number.parseInt(word, 16))))
  return [...head, ...Array<number>(8 - head.length - tail.length).fill(0), ...tail]
}

function isThisHost(hostname: string): boolean {
  return (
    hostname === 'localhost' ||
    hostname === '0.0.0.0' ||
    hostname === '[::1]' ||
    hostname === '[::]' ||
    hostname.startsWith('127.')
  )
}
