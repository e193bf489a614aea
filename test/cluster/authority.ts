import { execFileSync, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

export const hasOpenssl = spawnSync('openssl', ['version']).status === 0

/** A certificate authority in a folder: its own certificate, and the certificates of servers. */
export interface Authority {
  readonly caFile: string
  /** Writes `server.pem` and `server-key.pem`. `hosts`: `IP:127.0.0.1`, `DNS:nats.lan`. `days: 0`: expired at once. */
  issue(hosts: string, days?: number): { readonly certFile: string; readonly keyFile: string }
}

export function createAuthority(folder: string, name = 'ca'): Authority {
  const file = (suffix: string) => join(folder, `${name}${suffix}`)
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' })
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  openssl(
    'req',
    '-x509',
    ...newKey,
    '-days',
    '2',
    '-subj',
    `/CN=${name}`,
    '-keyout',
    file('-key.pem'),
    '-out',
    file('.pem'),
  )
  return {
    caFile: file('.pem'),
    issue: (hosts, days = 2) => {
      const [keyFile, certFile] = [join(folder, 'server-key.pem'), join(folder, 'server.pem')]
      openssl('req', ...newKey, '-subj', '/CN=nats', '-keyout', keyFile, '-out', file('.csr'))
      writeFileSync(file('.ext'), `subjectAltName=${hosts}\n`)
      const signed = [
        '-CA',
        file('.pem'),
        '-CAkey',
        file('-key.pem'),
        '-CAcreateserial',
        '-days',
        String(days),
      ]
      openssl('x509', '-req', '-in', file('.csr'), ...signed, '-extfile', file('.ext'), '-out', certFile)
      return { certFile, keyFile }
    },
  }
}
