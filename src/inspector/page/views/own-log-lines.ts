import { useEffect, useState } from 'preact/hooks'
import type { OwnLogLine } from '../../../observe/own-log.ts'
import type { App, PrintedLine } from '../app.ts'
import { ask, readLines } from '../stream.ts'

/** Lines that are kept. */
const MAX_LINES = 2_000
const RETRY_MS = 2_000

const levels = { info: 'all', warn: 'warn', error: 'bad' } as const

/** Follows leasehold's own log while its view is shown. Empty for a recording, which holds none. */
export function useOwnLog({ state }: App): readonly PrintedLine[] {
  const [lines, show] = useState<readonly PrintedLine[]>([])
  const isWanted = state.recording === null && state.connection === 'open'
  const instance = state.status?.instance
  useEffect(() => show([]), [instance, state.recording])
  useEffect(() => {
    if (!isWanted) return
    const leaving = new AbortController()
    void follow(leaving.signal, (added) => {
      show((before) => {
        const last = before.at(-1)?.number ?? 0
        return [...before, ...added.filter(({ number }) => number > last)].slice(-MAX_LINES)
      })
    })
    return () => leaving.abort()
  }, [isWanted, instance])
  return lines
}

/** Reads the log until it is not wanted; each time it begins with the lines that are kept there. */
async function follow(signal: AbortSignal, tell: (added: readonly PrintedLine[]) => void): Promise<void> {
  while (!signal.aborted) {
    let heard: PrintedLine[] = []
    const flush = () => {
      if (!signal.aborted) tell(heard)
      heard = []
    }
    try {
      await readLines(await ask('/api/logs?follow=1', { signal }), (line) => {
        heard.push(toPrinted(JSON.parse(line)))
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
function toPrinted({ seq, atMs, level, service, requestId, text }: OwnLogLine): PrintedLine {
  const subject = service ?? (requestId === null ? 'leasehold' : `request ${requestId.split('-').at(-1)}`)
  return {
    number: seq,
    stream: 'own',
    text: `${subject}  ${text}`,
    styles: [[0, subject.length, 'bold']],
    level: levels[level],
    atMs,
  }
}
