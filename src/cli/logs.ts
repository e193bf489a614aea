import type { OwnLogLine } from '../observe/own-log.ts'
import type { OutputLine } from '../process/output.ts'
import { loadConfiguration } from './configuration.ts'
import { readLines } from './event-stream.ts'
import { exitCodes } from './exit-codes.ts'
import { connectToGateway, parseAnswerError, readAnswer } from './gateway-client.ts'
import { escapeText, type Terminal } from './terminal.ts'
import { formatTimeOfDay } from './words.ts'

export interface LogsOptions {
  readonly config?: string
  readonly gateway?: string
  /** Continues with new lines until the process of the service, or the gateway, ends. */
  readonly follow?: boolean
  readonly json?: boolean
}

/**
 * `leasehold logs ID`: the last lines of a service; without an id those of leasehold itself. With `--follow` also new
 * ones as they come.
 */
export async function showLogs(
  id: string | undefined,
  options: LogsOptions,
  terminal: Terminal,
): Promise<number> {
  const config = await loadConfiguration(options.config, terminal.env)
  const gateway = await connectToGateway(config, terminal.env, options.gateway)
  const path = id === undefined ? '/api/logs' : `/api/logs/${encodeURIComponent(id)}`
  const print = (line: OutputLine & OwnLogLine) =>
    terminal.line(id === undefined ? formatOwnLine(line, terminal) : escapeText(line.text))
  try {
    if (options.follow) {
      const response = await gateway.send({ path: `${path}?follow=1` })
      if (response.status !== 200 || response.body === null)
        throw parseAnswerError(response.status, await response.text())
      for await (const text of readLines(response.body)) {
        readAnswer(path, () => (options.json ? terminal.json(JSON.parse(text)) : print(JSON.parse(text))))
      }
      return exitCodes.ok
    }
    const logs = (await gateway.ask({ path })) as { readonly lines: readonly (OutputLine & OwnLogLine)[] }
    if (options.json) terminal.json(logs)
    else readAnswer(path, () => logs.lines.forEach(print))
    return exitCodes.ok
  } finally {
    gateway.close()
  }
}

/** A line of leasehold's own log: time, level, whom it is about, sentence. */
function formatOwnLine(
  { time, level, service, requestId, text }: OwnLogLine,
  { paint }: Pick<Terminal, 'paint'>,
): string {
  const whom = service ?? (requestId === null ? 'leasehold' : `request ${requestId}`)
  const line = escapeText([formatTimeOfDay(new Date(time)), level.padEnd(5), whom, text].join('  '))
  return level === 'error' ? paint('red', line) : level === 'warn' ? paint('yellow', line) : line
}
