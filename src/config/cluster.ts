import { hostname } from 'node:os'
import { isAbsolute } from 'node:path'
import { isLoopbackUrl } from '../net/loopback.ts'
import { type ClusterValues, MEMBER_NAME } from './cluster-schema.ts'
import type { Frozen } from './config.ts'
import { type Finding, toError, toWarning } from './finding.ts'
import { type Environment, substituteVariables } from './secrets.ts'

/** `leasehold.cluster`, complete: `secret` has its final value. */
export interface ClusterConfig extends Frozen<Omit<ClusterValues, 'member' | 'address'>> {
  readonly member: string
  /** Where the other members reach this gateway, without a trailing slash. */
  readonly address: string
}

/** Where the gateway will listen. */
interface Listening {
  readonly host: string
  readonly port: number
}

const AT = ['leasehold', 'cluster']
/** A shorter one can be guessed from a single request that someone else has seen. */
const LEAST_SECRET_LENGTH = 32

/** Fills in what the values leave out: the secret, the name and the address. */
export function completeCluster(
  values: ClusterValues,
  env: Environment,
  listening: Listening,
): { readonly cluster: ClusterConfig; readonly findings: readonly Finding[] } {
  const findings: Finding[] = []
  const { text: secret, missing } = substituteVariables(values.secret, env)
  for (const name of missing) findings.push(toError([...AT, 'secret'], `\${${name}} is not set`))
  if (missing.length === 0 && secret.length < LEAST_SECRET_LENGTH)
    findings.push(toError([...AT, 'secret'], `is shorter than ${LEAST_SECRET_LENGTH} characters`))
  for (const option of ['credentialsFile', 'caFile'] as const) {
    const path = values[option]
    if (path !== undefined && !isAbsolute(path))
      findings.push(toError([...AT, option], `${JSON.stringify(path)} must be an absolute path`))
  }
  const member = values.member ?? toMemberName(hostname())
  if (!MEMBER_NAME.test(member))
    findings.push(
      toError([...AT, 'member'], 'is required: the name of this host holds nothing that is one for a member'),
    )
  const address = values.address ?? toAddress(listening)
  if (address === undefined)
    findings.push(
      toError(
        [...AT, 'address'],
        `is required: members cannot tell from leasehold.host "${listening.host}" and port ${listening.port} where this gateway is`,
      ),
    )
  else if (isLoopbackUrl(address) && !values.servers.every(isLoopbackUrl))
    findings.push(
      toWarning([...AT, 'address'], `${address} is this machine for every member: others cannot reach it`),
    )
  return {
    cluster: { ...values, secret, member, address: (address ?? '').replace(/\/$/, '') },
    findings,
  }
}

/** `tower.lan` is `tower`; `Bob's_PC` is `bob-s-pc`. */
function toMemberName(host: string): string {
  const [first = ''] = host.toLowerCase().split('.')
  return first
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 32)
    .replaceAll(/^-+|-+$/g, '')
}

function toAddress({ host, port }: Listening): string | undefined {
  if (port === 0 || host === '0.0.0.0' || host === '::') return undefined
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}
