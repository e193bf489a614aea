import type { ClusterConfig } from '../config/cluster.ts'

/** Why a connection to NATS cannot be had or is of no use, in a sentence that says what to do. */
export interface NatsFault {
  /** Time alone does not mend it: a certificate, credentials, permissions, a file. */
  readonly isRefusal: boolean
  readonly message: string
}

type Names = Pick<ClusterConfig, 'caFile' | 'credentialsFile' | 'servers'>

/** Codes of OpenSSL and Node for a certificate whose issuer is not known. */
const UNKNOWN_AUTHORITY: ReadonlySet<string> = new Set([
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'INVALID_CA',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
])

export function explainNatsFault(error: unknown, names: Names): NatsFault {
  const said = error instanceof Error ? error.message : String(error)
  const name = error instanceof Error ? error.name : ''
  const tlsFault = describeTlsFault(error, said, names)
  if (tlsFault !== undefined) return { isRefusal: true, message: tlsFault }
  if (name === 'ClusterError') return { isRefusal: true, message: said }
  if (name === 'PermissionViolationError')
    return { isRefusal: true, message: describeForbidden(Object(error)) }
  if (isAuthFault(error)) return { isRefusal: true, message: describeAuthFault(said, names) }
  if (said.includes('max_payload'))
    return {
      isRefusal: true,
      message:
        'the card of this member is longer than the NATS server takes: raise max_payload in its configuration, or share fewer models',
    }
  if (name === 'TimeoutError' && isTls(names))
    return {
      isRefusal: false,
      message: 'NATS does not answer (timeout); if its tls block has handshake_first, remove that line',
    }
  return { isRefusal: false, message: said }
}

/** The server does not take the credentials. */
export function isAuthFault(error: unknown): boolean {
  // The library knows a revocation as a fault of the protocol.
  return (
    error instanceof Error &&
    (/^(?:Authorization|UserAuthentication)/.test(error.name) ||
      /authentication revoked/i.test(error.message))
  )
}

/** Without the number of the subscription: a second attempt is the same fault. */
function describeForbidden({ operation, subject }: Readonly<Record<string, unknown>>): string {
  const verb = operation === 'subscription' ? 'subscribe' : 'publish'
  return `NATS forbids this member to ${verb} to "${subject}": "leasehold cluster nats-config MEMBER…" prints the permissions that it needs`
}

function describeAuthFault(said: string, { credentialsFile }: Names): string {
  if (credentialsFile === undefined)
    return `NATS wants credentials (${said}): set leasehold.cluster.credentialsFile`
  return `NATS refuses the credentials in ${credentialsFile} (${said}): ${
    /expired/i.test(said)
      ? 'replace the file'
      : 'use the file of a user of these NATS servers, or add its key there'
  }; it is tried again`
}

function describeTlsFault(error: unknown, said: string, names: Names): string | undefined {
  const code = codeOf(error)
  if (UNKNOWN_AUTHORITY.has(code))
    return names.caFile === undefined
      ? `the certificate of the NATS server is not from an authority that Node.js trusts (${code}): set leasehold.cluster.caFile to the certificate of its authority`
      : `the certificate of the NATS server is not from the authority in ${names.caFile} (${code}): leasehold.cluster.caFile must hold the certificate of the authority that issued it`
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return `the certificate of the NATS server is for ${toHosts(error)}, not for ${names.servers.join(' or ')}: name such a host in leasehold.cluster.servers, or give the server a certificate for this one`
  if (code === 'CERT_HAS_EXPIRED')
    return `the certificate of the NATS server, or of its authority, has expired (${code}): renew it`
  if (code === 'CERT_NOT_YET_VALID')
    return `the certificate of the NATS server is not valid yet (${code}): compare the clocks of both machines`
  if (/^ERR_SSL_.*(?:CERTIFICATE_REQUIRED|BAD_CERTIFICATE)$/.test(code))
    return 'the NATS server wants a certificate of this member ("verify" in its tls block), which leasehold does not have: remove that line, and use credentialsFile'
  if (/^ERR_(?:SSL|TLS)_|^EPROTO$/.test(code))
    return `TLS with the NATS server fails (${code}): compare its tls block with leasehold.cluster.servers and caFile`
  if (/does not support 'tls'|^'tls' is not available/.test(said))
    return 'the NATS server has no TLS, and tls:// or caFile asks for it: give the server a tls block, or use nats:// without caFile'
  return undefined
}

function isTls({ caFile, servers }: Names): boolean {
  return caFile !== undefined || servers.some((server) => server.startsWith('tls:'))
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/** The hosts that a certificate is for: `DNS:nats.lan, IP Address:10.0.0.5`. */
function toHosts(error: unknown): string {
  const cert: unknown = Object(error).cert
  const names: unknown = Object(cert).subjectaltname
  return typeof names === 'string' && names !== '' ? names : 'no host'
}
