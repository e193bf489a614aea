import type { OutputLine } from '../process/output.ts'
import { loadConfiguration } from './configuration.ts'
import { readLines } from './event-stream.ts'
import { exitCodes } from './exit-codes.ts'
import { connectToGateway, parseAnswerError, readAnswer } from './gateway-client.ts'
import { escapeText, type Terminal } from './terminal.ts'

export interface LogsOptions {
  readonly config?: string
  readonly gateway?: string
  /** Continues with new lines until the process of the service ends. */
  readonly follow?: boolean
  readonly json?: boolean
}

/** `leasehold logs ID`: the last lines of a service; with `--follow` also new ones as they come. */
export async function showLogs(id: string, options: LogsOptions, terminal: Terminal): Promise<number> {
  const config = await loadConfiguration(options.config, terminal.env)
  const gateway = await connectToGateway(config, terminal.env, options.gateway)
  const path = `/api/logs/${encodeURIComponent(id)}`
  const print = (line: OutputLine) => terminal.line(escapeText(line.text))
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
    const logs = (await gateway.ask({ path })) as { readonly lines: readonly OutputLine[] }
    if (options.json) terminal.json(logs)
    else readAnswer(path, () => logs.lines.forEach(print))
    return exitCodes.ok
  } finally {
    gateway.close()
  }
}
