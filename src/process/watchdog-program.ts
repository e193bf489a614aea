import type { RecordedOwner, RecordedProcess } from './owner-record.ts'

/**
 * The watchdog's whole program: it is not called here but handed to a Node of its own as text, so it uses nothing
 * from outside its own braces. Its arguments are the owner's id and the session of the supervisor.
 *
 * It writes a line to stdout when it begins, which proves that its Node did not hang. It reads `+pid startTicks`,
 * `-pid`, `!{generation, stop, status, env, cwd, record}` (JSON), `~generation` and `done` from stdin, one per line. When stdin ends
 * without a `done`, the supervisor is gone. Then it stops every armed group and every process with the owner's marker, with their
 * relatives, until no process is left that could fork, kills them all, and repeats until four looks in a row find nothing. A child
 * between fork and exec still shows the environment of its parent, which is why one quiet look proves nothing. Without `/proc` it
 * can only kill the armed groups. Meanwhile it runs the stop commands of every armed server, for at most 30 seconds. A client that
 * was killed may have ordered a server that comes later, so the servers count as gone when their status commands said so for two
 * seconds; one that comes is ended again where its name holds the id of its run. When nothing is left of what the record of
 * the supervisor names, the record goes, too: the next one need not ask again.
 */
export function watchSupervisor(): void {
  const { readdirSync, readFileSync, readSync, rmSync, writeSync } = process.getBuiltinModule('node:fs')
  const { spawn } = process.getBuiltinModule('node:child_process')
  const [, owner = '', supervisorSid = ''] = process.argv
  const LOOK_MS = 10
  const QUIET_LOOKS = 4
  /** A process that survives SIGKILL for this many looks waits in the kernel and cannot be ended. */
  const MAX_LOOKS = 1_000
  /** Who does not stand still after so many looks waits in the kernel, and forks no more either. */
  const MAX_FREEZE_LOOKS = 50
  /** The longest that all stop and status commands may take, in milliseconds. */
  const COMMANDS_MS = 30_000
  /** How long a server must be gone, in milliseconds, and the pause between two questions. */
  const GONE_MS = 2_000
  const ASK_MS = 250
  const LAST_WORDS_MS = 50
  interface Server {
    readonly generation: string
    readonly stop: readonly (readonly string[])[]
    readonly status?: readonly string[]
    /** The supervisor's record, which names this server. */
    readonly record?: string
    readonly env: Readonly<Record<string, string>>
    readonly cwd?: string
  }
  interface Found {
    readonly pid: number
    readonly state: string
    readonly ppid: string
    readonly pgid: string
    readonly sid: string
    readonly startTicks: string
  }
  /** Start in ticks by pid. */
  const armed = new Map<string, string>()
  const servers = new Map<string, Server>()

  const readProc = (pid: number | string, name: string): string => {
    try {
      return readFileSync(`/proc/${pid}/${name}`, 'latin1')
    } catch {
      return ''
    }
  }
  const find = (pid: number): Found | undefined => {
    const stat = readProc(pid, 'stat')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const [state = '', ppid = '', pgid = '', sid = ''] = fields
    if (state === '' || state === 'Z' || state === 'X') return undefined
    return { pid, state, ppid, pgid, sid, startTicks: fields[19] ?? '' }
  }
  const own = find(process.pid)
  const hasProcfs = own !== undefined

  const isOffLimits = ({ pid, sid }: Found) =>
    pid <= 1 || pid === process.pid || sid === '0' || sid === own?.sid || sid === supervisorSid
  const isOwnUser = ({ pid }: Found) =>
    /^Uid:\t(\d+)/m.exec(readProc(pid, 'status'))?.[1] === String(process.getuid?.())
  const isMarked = ({ pid }: Found) =>
    `\0${readProc(pid, 'environ')}\0`.includes(`\0LEASEHOLD_OWNER=${owner}\0`)
  const isArmed = ({ pid, startTicks }: Found) => armed.get(String(pid)) === startTicks

  const findTrees = (): readonly Found[] => {
    const candidates = readdirSync('/proc')
      .map(Number)
      .flatMap((pid) => (Number.isInteger(pid) ? (find(pid) ?? []) : []))
      .filter((found) => !isOffLimits(found) && isOwnUser(found))
    const members = new Set(candidates.filter((found) => isArmed(found) || isMarked(found)))
    for (let size = -1; size < members.size; ) {
      size = members.size
      const pids = new Set([...members].map(({ pid }) => String(pid)))
      const sids = new Set([...members].map(({ sid }) => sid))
      for (const found of candidates) if (pids.has(found.ppid) || sids.has(found.sid)) members.add(found)
    }
    return [...members]
  }
  const signal = (pid: number, name: NodeJS.Signals) => {
    try {
      process.kill(pid, name)
    } catch {
      // Gone in this instant: the next look tells.
    }
  }
  const isSame = ({ pid, startTicks }: Found) => find(pid)?.startTicks === startTicks
  /**
   * Every process, stopped. A process that is killed while it forks leaves a child of which nothing tells whose it
   * is, when that has a session of its own and another environment.
   */
  const freeze = (): readonly Found[] => {
    const asked = new Set<string>()
    for (let looks = 1; ; looks += 1) {
      const trees = findTrees()
      const isStill = trees.every(({ pid, state }) => asked.has(String(pid)) && state === 'T')
      if (isStill || looks === MAX_FREEZE_LOOKS) return trees
      for (const found of trees) {
        if (!asked.has(String(found.pid)) && isSame(found)) signal(found.pid, 'SIGSTOP')
        asked.add(String(found.pid))
      }
    }
  }
  /** Whether nothing is left. */
  const sweep = (): boolean => {
    const pause = new Int32Array(new SharedArrayBuffer(4))
    let quietLooks = 0
    for (let looks = 0; looks < MAX_LOOKS && quietLooks < QUIET_LOOKS; looks += 1) {
      const trees = freeze()
      quietLooks = trees.length === 0 ? quietLooks + 1 : 0
      for (const found of trees) {
        const { pid, pgid } = found
        if (isSame(found)) signal(pgid === String(pid) ? -pid : pid, 'SIGKILL')
      }
      Atomics.wait(pause, 0, 0, LOOK_MS)
    }
    return quietLooks === QUIET_LOOKS
  }
  const addServer = (json: string) => {
    const server: Server = JSON.parse(json)
    servers.set(server.generation, server)
  }
  const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
  /** What it printed; `undefined`: it did not end with 0. Its children are in our session: the sweep leaves them alone. */
  const execute = ([program = '', ...args]: readonly string[], { env, cwd }: Server) =>
    new Promise<string | undefined>((resolve, reject) => {
      const options = { env, ...(cwd === undefined ? {} : { cwd }) }
      const child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'ignore'] })
      let output = ''
      // Without a file descriptor left it has none.
      child.stdout?.on('data', (data) => {
        output = `${output}${data}`.slice(0, 1_000)
      })
      child.once('error', reject)
      child.once('exit', (code) => {
        // What it printed may arrive after its exit; a process that it left in the background may hold the pipe open.
        setTimeout(() => resolve(code === 0 ? output.trim() : undefined), LAST_WORDS_MS)
      })
    }).catch(() => undefined)
  const endServer = async (server: Server): Promise<void> => {
    for (const command of server.stop) await execute(command, server)
  }
  /** Whether its stop commands can end no other run: the next supervisor may have started a server of the same name. */
  const hasOwnName = ({ stop, generation }: Server) =>
    stop.every((command) => command.some((text) => text.includes(generation)))
  /** Ends all servers. Settles with `true` when they are gone at the same time, with `false` when one cannot be asked. */
  const endServers = async (): Promise<boolean> => {
    const ended = [...servers.values()]
    await Promise.all(ended.map(endServer))
    if (ended.length === 0 || ended.some(({ status }) => status === undefined)) return false
    for (let quietMs = 0; quietMs < GONE_MS; quietMs += ASK_MS) {
      const seen = await Promise.all(ended.map((server) => execute(server.status ?? [], server)))
      if (seen.some((output) => output !== '')) quietMs = 0
      const late = ended.filter((server, index) => Boolean(seen[index]) && hasOwnName(server))
      await Promise.all(late.map(endServer))
      await sleep(ASK_MS)
    }
    return true
  }
  /** Whether nothing that the record names is left. It may name more than we know: our last lines may be lost. */
  const isDone = (record: string): boolean => {
    try {
      const { body } = JSON.parse(readFileSync(record, 'utf8'))
      const named: Pick<RecordedOwner, 'runs' | 'servers'> = JSON.parse(body)
      const isGone = ({ pid, startTicks }: RecordedProcess) =>
        pid === process.pid || find(pid)?.startTicks !== String(startTicks)
      return named.servers.every(({ generation }) => servers.has(generation)) && named.runs.every(isGone)
    } catch {
      return false
    }
  }
  /** Whether the supervisor said goodbye. */
  const obey = (line: string): boolean => {
    const [pid = '', startTicks = ''] = line.slice(1).split(' ')
    if (line.startsWith('+') && Number(pid) > 1) armed.set(pid, startTicks)
    if (line.startsWith('-')) armed.delete(pid)
    if (line.startsWith('!')) addServer(line.slice(1))
    if (line.startsWith('~')) servers.delete(line.slice(1))
    return line === 'done'
  }

  process.title = `leasehold-watchdog ${owner}`
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => {})
  try {
    writeSync(1, 'watching\n')
  } catch {
    // The supervisor is gone already: the end of stdin tells.
  }
  // One blocking read after the other costs no event loop, no stream and no memory.
  const chunk = Buffer.alloc(4_096)
  let rest = ''
  for (let bytes = readSync(0, chunk); bytes > 0; bytes = readSync(0, chunk)) {
    const lines = (rest + chunk.toString('latin1', 0, bytes)).split('\n')
    rest = lines.pop() ?? ''
    if (lines.some(obey)) process.exit(0)
  }
  const ended = endServers()
  let isSwept = false
  if (hasProcfs) isSwept = sweep()
  else for (const pid of armed.keys()) signal(-Number(pid), 'SIGKILL')
  setTimeout(() => process.exit(0), COMMANDS_MS)
  void ended.then((areGone) => {
    const records = new Set([...servers.values()].flatMap(({ record }) => record ?? []))
    if (isSwept && areGone) for (const record of records) if (isDone(record)) rmSync(record, { force: true })
    process.exit(0)
  })
}
