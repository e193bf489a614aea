import { createHmac } from 'node:crypto'
import type { ConnectionOptions, TlsOptions } from 'node:tls'

/** Both ends of a TLS connection between two members. */
export interface MemberTls {
  /**
   * For the member that connects: it offers the key. A server that does not have it must show a certificate that is
   * trusted, as that of a TLS proxy does.
   */
  readonly connect: Pick<ConnectionOptions, 'pskCallback'>
  /** For the member that is connected to: it has no certificate, and takes who has the key. */
  readonly accept: TlsOptions
}

const IDENTITY = 'leasehold'

/**
 * Makes TLS of the secret of a cluster, which is the pre-shared key of TLS 1.3 (RFC 8446 §4.2.11): each end proves it to
 * the other, a Diffie-Hellman exchange is part of it, and no certificate is needed.
 */
export function createMemberTls(secret: string): MemberTls {
  const psk = createHmac('sha256', secret).update('leasehold member tls v1').digest()
  return {
    connect: { pskCallback: () => ({ psk, identity: IDENTITY }) },
    accept: {
      pskCallback: (_, identity) => (identity === IDENTITY ? psk : null),
      minVersion: 'TLSv1.3',
      // The key of OpenSSL's callback is for SHA-256 alone.
      ciphers: 'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256',
    },
  }
}

/** Why a TLS connection to a member could not be made, and what to do; `undefined`: the error is of another kind. */
export function explainMemberTls(error: unknown): string | undefined {
  if (!(error instanceof Error && 'code' in error)) return undefined
  const { code, message } = error
  const reason = 'reason' in error ? String(error.reason) : message
  if (!/^(ERR_SSL|ERR_TLS|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|EPROTO$)/.test(String(code)))
    return undefined
  return `its TLS proves neither leasehold.cluster.secret nor a certificate that is trusted here (${reason})`
}
