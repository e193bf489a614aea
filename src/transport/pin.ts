import { isIPv6, type LookupFunction } from 'node:net'

/**
 * A DNS lookup that always returns one address: where the server was found. A name such as `localhost` has an address
 * of each family, and another program may listen on the one that the server does not use.
 */
export function pinLookup(address: string): LookupFunction {
  const family = isIPv6(address) ? 6 : 4
  return (_hostname, options, found) => {
    if (options.all) found(null, [{ address, family }])
    else found(null, address, family)
  }
}
