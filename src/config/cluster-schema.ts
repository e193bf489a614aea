import { z } from 'zod'
import { durationMs, plainText, toUrlFault, wholeNumber } from './fields.ts'

/** How a member may be called: it is a token of a subject, a part of a header and a name that people type. */
export const MEMBER_NAME = /^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/
const MAX_SERVERS = 16

/** `leasehold.cluster`: the other boxes that serve models together with this one. */
export const clusterSchema = z
  .strictObject({
    servers: z
      .array(natsUrl())
      .min(1, 'must name a NATS server')
      .max(MAX_SERVERS)
      .describe(
        'Addresses of the NATS servers: `nats://10.0.0.5:4222`, with TLS `tls://…`. The nearest first: they are tried in this order. Required.',
      ),
    credentialsFile: plainText()
      .optional()
      .describe(
        'File with the nkey seed or the credentials (`.creds`) of this member, readable for its user only. Absolute path. Absent: the NATS servers ask for none.',
      ),
    caFile: plainText()
      .optional()
      .describe(
        'File with the certificate authority of the NATS servers, as PEM. Absolute path. Default: the authorities that Node.js trusts.',
      ),
    secret: z
      .string()
      .describe(
        `Proves members to each other over HTTP: the same for all members, at least 32 characters, for instance \`\${LEASEHOLD_CLUSTER_SECRET}\`. It is never sent. \`leasehold keys new\` makes one. Required.`,
      ),
    member: z
      .string()
      .regex(MEMBER_NAME, 'is not the name of a member: a-z, 0-9 and "-", at most 32, first and last no "-"')
      .optional()
      .describe('Name of this member, unique in the cluster. Default: the name of the host.'),
    address: z
      .string()
      .superRefine((text, context) => {
        const message = toAddressFault(text)
        if (message !== undefined) context.addIssue({ code: 'custom', message })
      })
      .optional()
      .describe(
        'Where the other members reach this gateway: `http://10.0.0.11:4141`. Default: `leasehold.host` and `port`. Required where `host` is every address of this machine. With `https://…` they come by TLS with `secret` as its key, or to a TLS proxy whose certificate Node trusts (`NODE_EXTRA_CA_CERTS`).',
      ),
    prefix: z
      .string()
      .regex(/^[A-Za-z0-9_-]{1,32}$/, 'must be 1 to 32 letters, digits, "_" and "-"')
      .default('leasehold')
      .describe('First part of every subject and bucket: one for each cluster on the same NATS servers.'),
    share: z
      .array(glob())
      .default(['*'])
      .describe('Ids of the providers that other members may use; `*` stands for any characters.'),
    use: z
      .array(glob())
      .default(['*'])
      .describe('Ids of the providers of other members that are used here; `*` stands for any characters.'),
    prefer: z
      .enum(['warm', 'local'])
      .default('warm')
      .describe(
        'Which member is tried first. `warm`: one whose server is up; among equals this one. `local`: this one, even if its server has to be started.',
      ),
    beatMs: durationMs(100)
      .prefault(500)
      .describe('Time between two messages that tell the others about this member, in milliseconds.'),
    lostMs: durationMs(200)
      .prefault(1600)
      .describe(
        'Time without a message after which a member is asked over HTTP whether it is there, in milliseconds.',
      ),
    probeMs: durationMs(50)
      .prefault(400)
      .describe('Longest time for the answer to that, in milliseconds. Without one the member is lost.'),
    claimTimeoutMs: durationMs(100)
      .prefault(700)
      .describe('Longest time that a cold start waits for NATS, in milliseconds.'),
    claimTtlMs: durationMs(3000)
      .prefault(30_000)
      .describe(
        'Time after which the claim on a cold start ends by itself if its holder is gone, in milliseconds.',
      ),
    claimLingerMs: durationMs(0)
      .prefault(2000)
      .describe(
        'Time that the claim is kept after the server is ready, in milliseconds: until then every member has heard of it.',
      ),
    claimReplicas: wholeNumber('', 1, 5)
      .default(1)
      .describe(
        'NATS servers that store the claims: 1, or 3 where the loss of one disk must not delay cold starts.',
      ),
    moveAfterMs: durationMs(0)
      .prefault(1000)
      .describe(
        'Time after which a request that waits in the line of one member moves to a member that serves it sooner, in milliseconds. `0`: never.',
      ),
  })
  .refine(({ beatMs, lostMs }) => lostMs >= 2 * beatMs, {
    path: ['lostMs'],
    error: 'must be at least twice beatMs: a single late message is no loss',
  })
  .describe(
    'Members of a cluster serve the models of all of them; they find each other over NATS. Absent: this machine alone.',
  )

/** `leasehold.cluster` after validation. */
export type ClusterValues = z.output<typeof clusterSchema>

function natsUrl() {
  return z.string().superRefine((text, context) => {
    const message = toServerFault(text)
    if (message !== undefined) context.addIssue({ code: 'custom', message })
  })
}

/** Never repeats the address: it may hold a password. */
function toServerFault(text: string): string | undefined {
  if (!URL.canParse(text) || !/^(?:nats|tls):\/\//.test(text))
    return 'is not the address of a NATS server; expected one like "nats://10.0.0.5:4222" or "tls://…"'
  const url = new URL(text)
  if (url.username !== '' || url.password !== '')
    return 'must not hold a user name or password; use credentialsFile'
  if (url.hostname === '') return 'must name a host'
  return url.search !== '' || url.hash !== '' || !/^\/?$/.test(url.pathname)
    ? 'must be a host and a port, nothing else'
    : undefined
}

function toAddressFault(text: string): string | undefined {
  const fault = toUrlFault(text, false)
  if (fault !== undefined) return fault
  const url = new URL(text)
  if (url.pathname !== '/') return 'must be a host and a port, without a path'
  return ['0.0.0.0', '[::]'].includes(url.hostname) ? 'must be an address that others can reach' : undefined
}

function glob() {
  return z.string().regex(/^[^\s/]+$/, 'must be the id of a provider, which may hold "*"')
}
