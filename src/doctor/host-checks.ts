import { constants } from 'node:fs'
import { access, open, readFile, stat, statfs } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { basename, dirname } from 'node:path'
import type { Clock } from '../clock.ts'
import type { Config } from '../config/config.ts'
import { engines } from '../config/engines.ts'
import { StateDirectoryError } from '../errors.ts'
import { isLoopback } from '../net/loopback.ts'
import { buildChildEnvironment } from '../process/environment.ts'
import { checkExecutable } from '../process/executable.ts'
import { readGpus } from '../process/gpus.ts'
import { readProgramVersion } from '../process/program-version.ts'
import { openStateDirectory, toStateDirectoryPath } from '../process/state-directory.ts'
import { type Address, describeHolder, findOtherUser, isPortFree, toAddress } from '../process/tcp-ports.ts'
import type { Service } from '../service/services.ts'
import type { DoctorFinding, HostFacts, ProgramFacts } from './doctor-report.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** Facts, and what is wrong with them. */
interface Checked<Facts> {
  readonly facts: Facts
  readonly findings: readonly DoctorFinding[]
}

const BYTES_PER_MIB = 1_048_576
/** Below this the state directory and the models' logs soon have no room. */
const LEAST_DISK_MIB = 200
/** Each request holds two connections, and each service some files. */
const LEAST_OPEN_FILES = 1_024

/** Memory, GPUs, the state directory and the limits of this host. Without a configuration the usual programs are asked. */
export async function checkHost(
  config: Config | undefined,
  { env, gatewayUrl }: { readonly env: Environment; readonly gatewayUrl: string | null },
): Promise<Checked<HostFacts>> {
  const [memory, gpus, directory, openFiles, gatewayPort] = await Promise.all([
    readMemory(),
    readGpus(config?.leasehold.nvidiaSmi ?? 'nvidia-smi'),
    checkStateDirectory(env),
    readOpenFiles(),
    gatewayUrl === null && config !== undefined ? checkGatewayPort(config) : [],
  ])
  const isShort = openFiles !== null && openFiles < LEAST_OPEN_FILES
  return {
    facts: { memory, gpus, stateDirectory: directory.facts, openFiles, gateway: gatewayUrl },
    findings: [
      ...directory.findings,
      ...gatewayPort,
      ...(isShort
        ? [
            warn(
              'open-files',
              `a process may hold ${openFiles} files open, and each request takes two: raise the limit (ulimit -n ${LEAST_OPEN_FILES})`,
            ),
          ]
        : []),
    ],
  }
}

/** The programs of some services: whether each can be executed, and its version. */
export async function checkPrograms(
  services: readonly Service[],
  { env, clock, signal }: { readonly env: Environment; readonly clock: Clock; readonly signal: AbortSignal },
): Promise<Checked<readonly ProgramFacts[]>> {
  const byCommand = new Map<string, Service[]>()
  for (const service of services) {
    const command = service.localService?.command
    if (command !== undefined && service.localService?.daemon === undefined)
      byCommand.set(command, [...(byCommand.get(command) ?? []), service])
  }
  const findings: DoctorFinding[] = []
  const facts: ProgramFacts[] = []
  for (const [command, users] of byCommand) {
    const check = await checkExecutable(command)
    const names = users.map(({ name }) => name)
    if (!check.ok)
      findings.push({ level: 'error', code: 'program', about: names.join(', '), text: check.reason })
    const local = users[0]?.localService
    const isAsked = check.ok && (await tellsVersion(check.path, command))
    const version =
      isAsked && local !== undefined
        ? await readProgramVersion(command, {
            env: buildChildEnvironment({
              host: env,
              env: local.env,
              inheritEnv: local.inheritEnv,
              markers: {},
            }),
            cwd: local.cwd,
            clock,
            signal,
          })
        : undefined
    facts.push({ command, services: names, version: version ?? null })
  }
  return { facts, findings }
}

/** Who holds the port of a service, in words. `null`: it is free, or elsewhere. */
export async function findPortHolderOf({ providers, name, healthUrl }: Service): Promise<{
  readonly holder: string | null
  readonly findings: readonly DoctorFinding[]
}> {
  const address = toAddress(providers[0]?.baseUrl ?? healthUrl)
  if (!isLoopback(address.host)) return { holder: null, findings: [] }
  const uid = findOtherUser(address)
  if (uid !== undefined)
    return {
      holder: `another user (uid ${uid})`,
      findings: [
        {
          level: 'error',
          code: 'port',
          about: name,
          text: `its port ${address.port} is held by another user of this host (uid ${uid})`,
        },
      ],
    }
  const fault = await findPortFault(address)
  return fault === undefined
    ? { holder: null, findings: [] }
    : fault.isTaken
      ? { holder: fault.text, findings: [] }
      : { holder: null, findings: [{ level: 'error', code: 'port', about: name, text: fault.text }] }
}

/** Why a port cannot be listened on. */
async function findPortFault(
  address: Address,
): Promise<{ readonly isTaken: boolean; readonly text: string } | undefined> {
  try {
    if (await isPortFree(address.host, address.port)) return undefined
    return { isTaken: true, text: describeHolder(address) || 'a process that cannot be seen' }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
    const why = code === 'EACCES' ? 'this user may not open it' : code
    return { isTaken: false, text: `its port ${address.port} cannot be opened: ${why}` }
  }
}

async function checkGatewayPort({ leasehold: { host, port } }: Config): Promise<DoctorFinding[]> {
  if (port === 0) return []
  const fault = await findPortFault({ host, port })
  if (fault === undefined) return []
  const text = fault.isTaken
    ? `the gateway's port ${port} is held by ${fault.text}`
    : fault.text.replace('its port', "the gateway's port")
  return [warn('gateway-port', `${text}: leasehold serve cannot listen there`)]
}

/** Scripts may take no notice of `--version` and start a server: only those of known engines are asked. */
async function tellsVersion(path: string, command: string): Promise<boolean> {
  const start = await readStart(path).catch(() => '')
  const known = Object.values(engines).flatMap(({ programs }) => programs.map((name) => basename(name)))
  return start !== '#!' || known.includes(basename(command))
}

async function readStart(path: string): Promise<string> {
  const file = await open(path)
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(2), 0, 2, 0)
    return buffer.toString('latin1', 0, bytesRead)
  } finally {
    await file.close()
  }
}

async function readMemory(): Promise<HostFacts['memory']> {
  const text = await readFile('/proc/meminfo', 'latin1').catch(() => '')
  const available = /^MemAvailable:\s*(\d+) kB/m.exec(text)?.[1]
  // A container may have less than its host.
  const limit = process.constrainedMemory()
  const total = limit > 0 ? Math.min(limit, totalmem()) : totalmem()
  return {
    totalMiB: Math.round(total / BYTES_PER_MIB),
    availableMiB: available === undefined ? null : Math.round(Number(available) / 1_024),
  }
}

async function readOpenFiles(): Promise<number | null> {
  const text = await readFile('/proc/self/limits', 'latin1').catch(() => '')
  const soft = /^Max open files\s+(\d+|unlimited)/m.exec(text)?.[1]
  return soft === undefined || soft === 'unlimited' ? null : Number(soft)
}

async function checkStateDirectory(env: Environment): Promise<Checked<HostFacts['stateDirectory']>> {
  let path = ''
  try {
    path = toStateDirectoryPath(env)
    const { folder, isThere } = await findExisting(path)
    const freeMiB = await readFreeMiB(folder)
    // One that is not there yet is made by the first start, not by a look.
    if (isThere) openStateDirectory(path)
    else await access(folder, constants.W_OK)
    const isFull = freeMiB !== null && freeMiB < LEAST_DISK_MIB
    return {
      facts: { path, freeMiB },
      findings: isFull
        ? [warn('disk', `the disk of the state directory ${path} has ${freeMiB} MiB left`)]
        : [],
    }
  } catch (error) {
    const text =
      error instanceof StateDirectoryError
        ? error.message
        : `the state directory ${path} cannot be made, so that nothing can be started: set LEASEHOLD_STATE_DIR to a directory that you can write to`
    return {
      facts: { path, freeMiB: null },
      findings: [{ level: 'error', code: 'state-directory', about: 'host', text }],
    }
  }
}

async function findExisting(path: string): Promise<{ readonly folder: string; readonly isThere: boolean }> {
  for (let folder = path; ; folder = dirname(folder)) {
    const found = await stat(folder).catch(() => undefined)
    if (found !== undefined || folder === dirname(folder)) return { folder, isThere: folder === path }
  }
}

async function readFreeMiB(folder: string): Promise<number | null> {
  try {
    const { bavail, bsize } = await statfs(folder)
    return Math.floor((bavail * bsize) / BYTES_PER_MIB)
  } catch {
    return null
  }
}

function warn(code: DoctorFinding['code'], text: string): DoctorFinding {
  return { level: 'warning', code, about: 'host', text }
}
