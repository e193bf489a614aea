import type { ProviderConfig } from './config.ts'
import { type Finding, toError, toWarning } from './finding.ts'
import { toProviderPath } from './provider.ts'

/** What cloud hosts call the service that hands out their credentials. */
const METADATA_NAMES: ReadonlySet<string> = new Set(['metadata.google.internal', 'metadata', 'instance-data'])

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

/** As `URL` writes it: however an address is spelled, here it is spelled in one way. */
function isLinkLocal(hostname: string): boolean {
  return (
    METADATA_NAMES.has(hostname) ||
    hostname.startsWith('169.254.') ||
    /^\[fe[89ab][0-9a-f]:/.test(hostname) ||
    hostname.startsWith('[::ffff:a9fe:') ||
    hostname === '[fd00:ec2::254]'
  )
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
