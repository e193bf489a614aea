import { BlockList, isIPv4 } from 'node:net'
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
 * Where providers are: a link-local address is refused unless allowed, because there cloud hosts keep credentials for
 * whoever asks; a server that we run is on this host, and is best named so that no name server has a say in it.
 */
export function findAddressProblems(
  providers: readonly ProviderConfig[],
  allowLinkLocal: boolean,
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
