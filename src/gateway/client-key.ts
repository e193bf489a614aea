import { isIPv4, isIPv6 } from 'node:net'

/**
 * One name for each client, however its address is spelled: a mapped IPv4 address is the IPv4 address, all of loopback
 * is `127.0.0.1`, and an IPv6 address counts by its network (`/64`), because one client has all of it.
 */
export function toClientKey(address = ''): string {
  const [plain = ''] = address.toLowerCase().split('%')
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(plain)?.[1] ?? plain
  if (isIPv4(mapped)) return mapped.startsWith('127.') ? '127.0.0.1' : mapped
  if (!isIPv6(mapped)) return 'unknown'
  const groups = toGroups(mapped)
  const [high = 0, low = 0] = groups.slice(6)
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
  if (isMapped) return toClientKey([high >> 8, high & 255, low >> 8, low & 255].join('.'))
  if (groups.slice(0, 7).every((group) => group === 0) && low === 1) return '127.0.0.1'
  return `${groups
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(':')}::/64`
}

/** The eight numbers of an IPv6 address. */
function toGroups(address: string): number[] {
  const hex = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a, b, c, d) =>
    [(Number(a) << 8) | Number(b), (Number(c) << 8) | Number(d)].map((group) => group.toString(16)).join(':'),
  )
  const [head = '', tail] = hex.split('::')
  const parse = (text: string) =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16))
  const before = parse(head)
  const after = tail === undefined ? [] : parse(tail)
  return [...before, ...Array.from({ length: 8 - before.length - after.length }, () => 0), ...after]
}
