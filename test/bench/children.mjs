import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { delimiter, join } from 'node:path'

/**
 * Starts a program of `children/` and waits until it says that it is up. It ends when we do.
 * @returns a handle: `pid`, what it said (`port`), `ask` for one answer to one message, `end`
 */
export async function startChild(name, options = {}) {
  const child = fork(new URL(`children/${name}.mjs`, import.meta.url), [JSON.stringify(options)], {
    execArgv: ['--expose-gc'],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const exited = once(child, 'exit')
  const next = async () => {
    const [answer] = await Promise.race([
      once(child, 'message'),
      exited.then(([code]) => [{ error: `${name} ended with ${code}` }]),
    ])
    if (answer.error !== undefined) throw new Error(answer.error)
    return answer
  }
  const ask = (question) => {
    const answer = next()
    child.send(question)
    return answer
  }
  const end = async () => {
    if (child.connected) child.disconnect()
    await exited
  }
  return { pid: child.pid, ...(await next()), ask, end }
}

/** Starts a program of this machine and waits until its port takes connections. */
export async function startProgram(command, args, port, options = {}) {
  const child = spawn(command, args, { stdio: 'ignore', ...options })
  const exited = new Promise((resolve) => child.once('exit', resolve).once('error', resolve))
  let isOver = false
  exited.then(() => {
    isOver = true
  })
  while (!(await isListening(port)))
    if (isOver) throw new Error(`${command} ended before it listened on ${port}`)
  const end = async () => {
    child.kill('SIGTERM')
    await exited
  }
  return { pid: child.pid, port, end }
}

/** Where a program is, or `undefined`. System programs are looked for too: not every PATH has `/usr/sbin`. */
export function findProgram(name) {
  return [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path))
}

/** A port that was free a moment ago. */
export async function toFreePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** CPU time of a process and all its threads so far, in µs, in steps of 10 ms. NaN where there is no /proc. */
export function toCpuUs(pid) {
  const stat = readProc(pid, 'stat')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10_000
}

/** Resident memory of a process, in bytes. NaN where there is no /proc. */
export function toRssBytes(pid) {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readProc(pid, 'status'))?.[1] ?? Number.NaN) * 1024
}

function readProc(pid, file) {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1')
  } catch {
    return ''
  }
}

function isListening(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => setTimeout(resolve, 5, false))
    socket.once('connect', () => socket.destroy())
  })
}
