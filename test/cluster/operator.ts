import { createHash } from 'node:crypto'
import { nkeys } from '@nats-io/transport-node'

/**
 * An operator with one account: what `nsc` makes, and what `.creds` files are for. The tokens are made by hand, because
 * three claims and a signature need no further package.
 */
export interface Operator {
  /** Lines of a nats-server configuration. */
  config(): string
  /** From the next configuration on, all credentials that were made until now are refused. */
  revoke(): void
  /** The text of a `.creds` file. */
  creds(user: string, options?: { readonly expiresAtMs?: number; readonly permissions?: object }): string
}

const UNLIMITED = { subs: -1, data: -1, payload: -1 }

export function createOperator(): Operator {
  const operator = nkeys.createOperator()
  const [account, system] = [nkeys.createAccount(), nkeys.createAccount()]
  const limits = { ...UNLIMITED, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 }
  const jetstream = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 }
  // A server that runs takes no other token of its operator.
  const own = sign(operator, operator, 'operator', {
    type: 'operator',
    system_account: system.getPublicKey(),
  })
  const others = sign(operator, system, 'system', { type: 'account', limits })
  /** In seconds: credentials of this time or earlier are refused. */
  let revokedAt = 0
  return {
    config: () => {
      const members = {
        type: 'account',
        limits: { ...limits, ...jetstream },
        revocations: revokedAt === 0 ? {} : { '*': revokedAt },
      }
      return `operator: ${own}
resolver: MEMORY
resolver_preload: {
  ${account.getPublicKey()}: ${sign(operator, account, 'members', members)}
  ${system.getPublicKey()}: ${others}
}
`
    },
    revoke: () => {
      revokedAt = Math.max(revokedAt, toSeconds(Date.now()))
    },
    creds: (name, { expiresAtMs, permissions = {} } = {}) => {
      const user = nkeys.createUser()
      const times = {
        iat: Math.max(toSeconds(Date.now()), revokedAt + 1),
        ...(expiresAtMs === undefined ? {} : { exp: toSeconds(expiresAtMs) }),
      }
      const jwt = sign(account, user, name, { ...permissions, ...UNLIMITED, type: 'user' }, times)
      const seed = new TextDecoder().decode(user.getSeed())
      return `-----BEGIN NATS USER JWT-----\n${jwt}\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n${seed}\n------END USER NKEY SEED------\n`
    },
  }
}

function sign(
  issuer: nkeys.KeyPair,
  subject: nkeys.KeyPair,
  name: string,
  nats: object,
  times: object = { iat: toSeconds(Date.now()) },
): string {
  const [iss, sub] = [issuer.getPublicKey(), subject.getPublicKey()]
  const claims = { ...times, iss, sub, name, nats: { ...nats, version: 2 } }
  const jti = createHash('sha256').update(JSON.stringify(claims)).digest('base64url')
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const text = `${encode({ typ: 'JWT', alg: 'ed25519-nkey' })}.${encode({ jti, ...claims })}`
  return `${text}.${Buffer.from(issuer.sign(Buffer.from(text))).toString('base64url')}`
}

function toSeconds(ms: number): number {
  return Math.floor(ms / 1000)
}
