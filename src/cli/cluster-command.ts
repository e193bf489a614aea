import { resolve } from 'node:path'
import { systemClock } from '../clock.ts'
import type { CheckResult } from '../cluster/cluster-check.ts'
import { MEMBER_NAME } from '../config/cluster-schema.ts'
import { loadConfiguration } from './configuration.ts'
import { exitCodes, UsageError } from './exit-codes.ts'
import { escapeText, type Style, type Terminal } from './terminal.ts'

export interface ClusterCommandOptions {
  readonly config?: string
  readonly json?: boolean
}

/** `leasehold cluster check`: what keeps this machine and the others apart. */
export async function showClusterCheck(options: ClusterCommandOptions, terminal: Terminal): Promise<number> {
  const { leasehold } = await loadConfiguration(options.config, terminal.env)
  if (leasehold.cluster === undefined)
    throw new UsageError('leasehold.cluster is not configured: this machine is in no cluster.')
  const { checkCluster } = await import('../cluster/cluster-check.ts')
  const results = await checkCluster(leasehold.cluster, systemClock)
  const isOk = results.every(({ verdict }) => verdict === 'ok')
  if (options.json) terminal.json({ ok: isOk, results })
  else for (const result of results) terminal.line(describeResult(result, terminal))
  return isOk ? exitCodes.ok : exitCodes.failed
}

const STYLES: Readonly<Record<CheckResult['verdict'], Style>> = {
  ok: 'green',
  warning: 'yellow',
  error: 'red',
}

function describeResult({ about, verdict, text }: CheckResult, terminal: Terminal): string {
  return terminal.paint(
    STYLES[verdict],
    `${verdict.padEnd(8)}${escapeText(about)}: ${escapeText(text).replaceAll('\n', ' ')}`,
  )
}

/** `leasehold cluster nats-config MEMBER…`: makes the keys of members, and prints the configuration of nats-server. */
export async function printNatsConfig(
  members: readonly string[],
  { keys, prefix, json }: { readonly keys: string; readonly prefix: string; readonly json?: boolean },
  terminal: Terminal,
): Promise<number> {
  for (const member of members)
    if (!MEMBER_NAME.test(member))
      throw new UsageError(
        `"${member}" is not the name of a member: a-z, 0-9 and "-", at most 32, first and last no "-".`,
      )
  const { loadLibraries } = await import('../cluster/libraries.ts')
  const { makeMemberKeys } = await import('../cluster/member-keys.ts')
  const { toNatsConfig } = await import('../cluster/nats-config.ts')
  const made = await makeMemberKeys([...new Set(members)], resolve(keys), await loadLibraries())
  const config = toNatsConfig(made, { prefix })
  if (json) {
    terminal.json({ ok: true, config, members: made })
    return exitCodes.ok
  }
  for (const { member, file, isOld } of made)
    terminal.note(
      `${member}: ${isOld ? 'its key is in' : 'a new key is in'} ${file}; on that machine leasehold.cluster.credentialsFile names it`,
    )
  terminal.out(config)
  return exitCodes.ok
}
