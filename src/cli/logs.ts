import type { JointLine } from '../observe/joint-log.ts'
import type { OutputLine } from '../process/output.ts'
import { loadConfiguration } from './configuration.ts'
import { readLines } from './event-stream.ts'
import { exitCodes, UsageError } from './exit-codes.ts'
import { connectToGateway, parseAnswerError, readAnswer } from './gateway-client.ts'
import { escapeText, type Terminal } from './terminal.ts'
import { formatTimeOfDay } from './words.ts'

export interface LogsOptions {
  readonly config?: string
  readonly gateway?: string
  /** leasehold's own log and the output of every service. */
  readonly all?: boolean
  /** Continues with new lines until the process of the service, or the gateway, ends. */
  readonly follow?: boolean
  readonly json?: boolean
}

/**
 * `leasehold logs ID`: the last lines of a service; without an id those of leasehold itself, with `--all` those of both.
 * With `--follow` also new ones as they come.
 */
export async function showLogs(
  id: string | undefined,
  options: LogsOptions,
  terminal: Terminal,
): Promise<number> {
  if (id !== undefined && options.all)
    throw new UsageError('Say a service or --all, not both: leasehold logs --all')
  const config = await loadConfiguration(options.config, terminal.env)
  const gateway = await connectToGateway(config, terminal.env, options.gateway)
  const path = id === undefined ? '/api/logs' : `/api/logs/${encodeURIComponent(id)}`
  const query = [...(options.all ? ['servers=1'] : []), ...(options.follow ? ['follow=1'] : [])].join('&')
  const print = (line: OutputLine | JointLine) =>
    terminal.line('time' in line ? formatJointLine(line, terminal) : escapeText(line.text))
  try {
    if (options.follow) {
      const response = await gateway.send({ path: `${path}?${query}` })
      if (response.status !== 200 || response.body === null)
        throw parseAnswerError(response.status, await response.text())
      for await (const text of readLines(response.body)) {
        readAnswer(path, () => (options.json ? terminal.json(JSON.parse(text)) : print(JSON.parse(text))))
      }
      return exitCodes.ok
    }
    const logs = (await gateway.ask({ path: `${path}?${query}` })) as {
      readonly lines: readonly (OutputLine | JointLine)[]
    }
    if (options.json) terminal.json(logs)
    else readAnswer(path, () => logs.lines.forEach(print))
    return exitCodes.ok
  } finally {
    gateway.close()
  }
}

/** Time, level, whom it is about, sentence; of a server its stream instead of a level. */
function formatJointLine(line: JointLine, { paint }: Pick<Terminal, 'paint'>): string {
  const { time, service, text } = line
  const level = 'stream' in line ? '' : line.level
  const whom =
    service ?? ('stream' in line || line.requestId === null ? 'leasehold' : `request ${line.requestId}`)
  const said = 'stream' in line ? `| ${text}` : text
  const words = escapeText([formatTimeOfDay(new Date(time)), level.padEnd(5), whom, said].join('  '))
  return level === 'error' ? paint('red', words) : level === 'warn' ? paint('yellow', words) : words
}
