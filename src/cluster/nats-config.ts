import type { ClusterConfig } from '../config/cluster.ts'
import { toInboxPrefix, toSubjects } from './subjects.ts'

/** A member, and the public part of its nkey: `U…`. */
export interface NatsUser {
  readonly member: string
  readonly publicKey: string
}

/**
 * A configuration of nats-server for a cluster: each member publishes as itself alone, reads no answers of others, and
 * writes to no bucket but that of the claims.
 */
export function toNatsConfig(users: readonly NatsUser[], { prefix }: Pick<ClusterConfig, 'prefix'>): string {
  return `# nats-server for the leasehold cluster "${prefix}": nats-server -c THIS-FILE
listen: "0.0.0.0:4222"
# On a disk: claims survive a restart. Another folder, if this one is not yours.
jetstream { store_dir: "/var/lib/nats-leasehold" }
# A member whose cable is pulled is noticed in seconds.
ping_interval: "1s"
ping_max: 2
write_deadline: "2s"
# With TLS, members use tls:// and caFile:
# tls { cert_file: "/etc/nats/server.pem", key_file: "/etc/nats/server-key.pem" }
authorization {
  users: [
${users.map((user) => toUserText(user, prefix)).join('\n')}
  ]
}
`
}

function toUserText({ member, publicKey }: NatsUser, prefix: string): string {
  const { publish, subscribe } = toPermissions(member, prefix)
  return `    { # ${member}
      nkey: "${publicKey}"
      permissions: {
        publish: { allow: ${toList(publish)} }
        subscribe: { allow: ${toList(subscribe)} }
        allow_responses: { max: 1, expires: "2s" }
      }
    }`
}

/** What a member may publish and subscribe to. */
export function toPermissions(
  member: string,
  prefix: string,
): { readonly publish: readonly string[]; readonly subscribe: readonly string[] } {
  const subjects = toSubjects(prefix)
  const stream = `KV_${subjects.starts}`
  return {
    publish: [
      subjects.card(member),
      subjects.bye(member),
      subjects.who,
      subjects.run('*', '*'),
      `$KV.${subjects.starts}.>`,
      '$JS.API.INFO',
      `$JS.API.STREAM.INFO.${stream}`,
      `$JS.API.STREAM.CREATE.${stream}`,
      `$JS.API.STREAM.UPDATE.${stream}`,
      `$JS.API.STREAM.MSG.GET.${stream}`,
      `$JS.API.DIRECT.GET.${stream}`,
      `$JS.API.DIRECT.GET.${stream}.>`,
    ],
    subscribe: [
      subjects.card('*'),
      subjects.bye('*'),
      subjects.who,
      subjects.run(member, '*'),
      `${toInboxPrefix(member)}.>`,
    ],
  }
}

function toList(subjects: readonly string[]): string {
  return `[${subjects.map((subject) => `"${subject}"`).join(', ')}]`
}
