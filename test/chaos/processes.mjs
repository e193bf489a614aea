import { readdirSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

/** Living processes in whose environment `NAME=value` stands. Zombies do not live. */
export function listMarked(mark) {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && pid !== process.pid)
    .filter((pid) => read(pid, 'environ').split('\0').includes(mark) && isAlive(pid))
}

/** Living processes in whose arguments a text stands. */
export function listNamed(text) {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && pid !== process.pid)
    .filter((pid) => read(pid, 'cmdline').includes(text) && isAlive(pid))
}

/** Processes that carry a mark, and their living descendants, which may have dropped it: `{ pid, startTicks }`. */
export function listFamily(mark) {
  const all = readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && isAlive(pid))
    .map((pid) => ({ pid, ppid: Number(readStat(pid)[1]), startTicks: readStat(pid)[19] }))
  const family = new Set(listMarked(mark))
  for (let size = -1; size < family.size; ) {
    size = family.size
    for (const { pid, ppid } of all) if (family.has(ppid)) family.add(pid)
  }
  return all.filter(({ pid }) => family.has(pid))
}

/** Whether this very process still runs. */
export function isSameAlive({ pid, startTicks }) {
  return isAlive(pid) && readStat(pid)[19] === startTicks
}

/** Whether a process runs; a zombie does not. */
export function isAlive(pid) {
  const [state] = readStat(pid)
  return state !== '' && state !== 'Z' && state !== 'X'
}

/** What stands in `/proc/PID/stat` behind the name: state, ppid, pgid, sid, …; `['']` when there is none. */
function readStat(pid) {
  const stat = read(pid, 'stat')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

/** What a process was started with, for a report. */
export function describe(pid) {
  return `${pid} (${read(pid, 'cmdline').replaceAll('\0', ' ').slice(0, 160).trim()})`
}

/** Sends a signal to a process, if it still is one that carries the mark: the pid may have been reused. */
export function signalMarked(pid, signal, mark) {
  if (!read(pid, 'environ').split('\0').includes(mark) || !isAlive(pid)) return false
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

/** Whether a process listens there. */
export function isListening(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

/** Looks until something is true, at most so long. Gives what the last look saw. */
export async function lookUntil(isTrue, limitMs, everyMs = 10) {
  const giveUpAtMs = performance.now() + limitMs
  for (;;) {
    const seen = await isTrue()
    if (seen || performance.now() > giveUpAtMs) return seen
    await delay(everyMs)
  }
}

function read(pid, file) {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1')
  } catch {
    // It has ended, or belongs to another user.
    return ''
  }
}
