import { X509Certificate } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { checkServerIdentity, type PeerCertificate } from 'node:tls'
import type { Authenticator, NodeConnectionOptions } from '@nats-io/transport-node'
import type { ClusterConfig } from '../config/cluster.ts'
import { ClusterError } from '../errors.ts'
import type { Libraries } from './libraries.ts'

/** Bits of a file's mode that let others than its user read it. */
const READ_BY_OTHERS = 0o077

/**
 * How this member proves itself to the NATS servers, and they themselves to it. Read anew for every connection, so that
 * an exchanged file counts from the next one on.
 * @throws {@link ClusterError} a file cannot be read, can be read by others, or holds no credentials
 */
export async function readCredentials(
  { credentialsFile, caFile, servers }: Pick<ClusterConfig, 'credentialsFile' | 'caFile' | 'servers'>,
  { transport }: Pick<Libraries, 'transport'>,
): Promise<Pick<NodeConnectionOptions, 'authenticator' | 'tls'>> {
  const isTls = caFile !== undefined || servers.some((server) => server.startsWith('tls:'))
  const ca = caFile === undefined ? undefined : await readAuthority(caFile)
  // The library passes on every option of `node:tls`, and its types name some.
  const tls = { ...(ca === undefined ? {} : { ca }), checkServerIdentity: createIdentityCheck(servers) }
  return {
    ...(isTls ? { tls } : {}),
    ...(credentialsFile === undefined
      ? {}
      : { authenticator: await readAuthenticator(credentialsFile, transport) }),
  }
}

/**
 * Whether a certificate is for one of the servers. Where a server is named by its IP address, the library does not tell
 * Node which host it connects to, and Node compares with "localhost".
 */
function createIdentityCheck(servers: readonly string[]) {
  const hosts = servers.map((server) => new URL(server).hostname.replace(/^\[|\]$/g, ''))
  return (_: string, certificate: PeerCertificate): Error | undefined => {
    const faults = hosts.map((host) => checkServerIdentity(host, certificate))
    return faults.includes(undefined) ? undefined : faults[0]
  }
}

/** Without a certificate in it, Node would trust no server, and say that of the server. */
async function readAuthority(file: string): Promise<string> {
  const text = await readText(file, 'caFile')
  try {
    return new X509Certificate(text) && text
  } catch (cause) {
    throw new ClusterError(`${file} holds no certificate in PEM: leasehold.cluster.caFile`, { cause })
  }
}

async function readAuthenticator(
  file: string,
  { credsAuthenticator, nkeyAuthenticator }: Libraries['transport'],
): Promise<Authenticator> {
  await refuseOpenFile(file)
  const text = await readText(file, 'credentialsFile')
  if (text.includes('BEGIN NATS USER JWT')) return credsAuthenticator(new TextEncoder().encode(text))
  const [seed] = /\bSU[A-Z2-7]{56}\b/.exec(text) ?? []
  if (seed === undefined)
    throw new ClusterError(
      `${file} holds neither the seed of an nkey (SU…) nor credentials (.creds): leasehold.cluster.credentialsFile`,
    )
  return nkeyAuthenticator(new TextEncoder().encode(seed))
}

async function refuseOpenFile(file: string): Promise<void> {
  if (process.getuid === undefined) return
  const { mode } = await stat(file).catch((error: unknown) => {
    throw toFileError(file, 'credentialsFile', error)
  })
  if ((mode & READ_BY_OTHERS) === 0) return
  const shown = (mode & 0o777).toString(8).padStart(4, '0')
  throw new ClusterError(`${file} can be read by other users (mode ${shown}): chmod 600 it`)
}

async function readText(file: string, option: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw toFileError(file, option, error)
  }
}

function toFileError(file: string, option: string, cause: unknown): ClusterError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
  return new ClusterError(`${file} cannot be read (${code}): leasehold.cluster.${option}`, { cause })
}
