/** `NAME: value` pairs put into a child's environment, by which its whole tree can be recognised later. */
export type Markers = Readonly<Record<string, string>>

/** What a child's environment is made from. */
export interface ChildEnvironmentOptions {
  /** The host's environment, handed in by the caller. */
  readonly host: Readonly<Record<string, string | undefined>>
  /** Variables to set. They win over the host's. @default {} */
  readonly env?: Readonly<Record<string, string>>
  /** Exact names of further host variables to pass on; a name the host does not have is skipped. @default [] */
  readonly inheritEnv?: readonly string[]
  /** They win over everything. */
  readonly markers: Markers
}

const ALLOWED_NAMES: ReadonlySet<string> = new Set([
  ...['PATH', 'HOME', 'USER', 'LOGNAME', 'SHELL', 'LANG', 'TZ', 'TMPDIR', 'TMP', 'TEMP'],
  ...['LD_LIBRARY_PATH', 'HF_HOME', 'CONTAINER_HOST', 'DBUS_SESSION_BUS_ADDRESS'],
])
const ALLOWED_PREFIXES: readonly string[] = [
  'LC_',
  'XDG_',
  'CUDA_',
  'NVIDIA_',
  'HIP_',
  'ROCR_',
  'HSA_',
  'HF_HUB_',
  'DOCKER_',
]
/** Without these a Windows program may not even load its libraries. Names are compared without case there. */
const ALLOWED_WINDOWS_NAMES: ReadonlySet<string> = new Set([
  ...[
    'SYSTEMROOT',
    'SYSTEMDRIVE',
    'WINDIR',
    'COMSPEC',
    'PATHEXT',
    'PROGRAMDATA',
    'PROGRAMFILES',
    'PROGRAMFILES(X86)',
  ],
  ...['USERPROFILE', 'USERNAME', 'APPDATA', 'LOCALAPPDATA', 'HOMEDRIVE', 'HOMEPATH', 'NUMBER_OF_PROCESSORS'],
])
const SECRET_WORD = /(^|_)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)/i

/**
 * The whole environment of a child: of the host's variables only those a model server needs to find its
 * files, libraries and devices, then `env`, then the markers. A host variable that looks like a secret
 * is passed on only when `inheritEnv` names it, whatever else its name matches (`NVIDIA_API_KEY`).
 */
export function buildChildEnvironment({
  host,
  env = {},
  inheritEnv = [],
  markers,
}: ChildEnvironmentOptions): Record<string, string> {
  const inherited = new Set(inheritEnv)
  const passed = Object.entries(host).flatMap(([name, value]) =>
    value !== undefined && (inherited.has(name) || isAllowed(name)) ? [[name, value] as const] : [],
  )
  return Object.fromEntries([...passed, ...Object.entries(env), ...Object.entries(markers)])
}

function isAllowed(name: string): boolean {
  if (SECRET_WORD.test(name)) return false
  if (ALLOWED_NAMES.has(name) || ALLOWED_PREFIXES.some((prefix) => name.startsWith(prefix))) return true
  return (
    process.platform === 'win32' &&
    (name.toUpperCase() === 'PATH' || ALLOWED_WINDOWS_NAMES.has(name.toUpperCase()))
  )
}
