import { useEffect, useState } from 'preact/hooks'
import type { JointLine } from '../../../observe/joint-log.ts'
import type { App, PrintedLine } from '../app.ts'
import { ask, readLines } from '../stream.ts'

/** Lines that are kept. */
const MAX_LINES = 2_000
const RETRY_MS = 2_000

const levels = { info: 'all', warn: 'warn', error: 'bad' } as const

/**
 * Follows leasehold's own log while its view is shown, `withServers` also what the servers print. Empty for a recording,
 * which holds none.
 */
export function useOwnLog({ state }: App, withServers: boolean): readonly PrintedLine[] {
  const [lines, show] = useState<readonly PrintedLine[]>([])
  const isWanted = state.recording === null && state.connection === 'open'
  const instance = state.status?.instance
  useEffect(() => show([]), [instance, state.recording, withServers])
  useEffect(() => {
    if (!isWanted) return
    const leaving = new AbortController()
    void follow(`/api/logs?follow=1${withServers ? '&servers=1' : ''}`, leaving.signal, (added, isAnew) => {
      show((before) => [...(isAnew ? [] : before), ...added].slice(-MAX_LINES))
    })
    return () => leaving.abort()
  }, [isWanted, instance, withServers])
  return lines
}

/** Reads a log until it is not wanted; each time it begins anew with the lines that are kept there. */
async function follow(
  path: string,
  signal: AbortSignal,
  tell: (added: readonly PrintedLine[], isAnew: boolean) => void,
): Promise<void> {
  while (!signal.aborted) {
    let number = 0
    let isAnew = true
    let heard: PrintedLine[] = []
    const flush = () => {
      if (!signal.aborted) tell(heard, isAnew)
      isAnew = false
      heard = []
    }
    try {
      await readLines(await ask(path, { signal }), (line) => {
        number += 1
        heard.push(toPrinted(JSON.parse(line), number))
        // Lines come in bursts: one change of the page for all of them.
        if (heard.length === 1) queueMicrotask(flush)
      })
    } catch {
      // It is asked for again.
    }
    if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
  }
}

/** A line that begins with whom it is about. */
function toPrinted(line: JointLine, number: number): PrintedLine {
  const isPrinted = 'stream' in line
  const { service, atMs, text } = line
  const subject =
    service ??
    (isPrinted || line.requestId === null ? 'leasehold' : `request ${line.requestId.split('-').at(-1)}`)
  return {
    number,
    stream: isPrinted ? line.stream : 'own',
    text: `${subject}  ${isPrinted ? '| ' : ''}${text}`,
    styles: [[0, subject.length, 'bold']],
    ...(isPrinted ? {} : { level: levels[line.level] }),
    atMs,
  }
}
