import { readFile, writeFile } from 'node:fs/promises'
import JSON5 from 'json5'
import { toReasonText } from '../explanation/reason-text.ts'
import { parseRecording, type Recording } from '../testing/recording.ts'
import { type Replay, type ReplayedLife, type ReplayStep, replay } from '../testing/replay.ts'
import { buildScript } from '../testing/replay-script.ts'
import { runScript } from '../testing/run-script.ts'
import { exitCodes, UsageError } from './exit-codes.ts'
import { escapeText, type Terminal } from './terminal.ts'
import { describeState } from './words.ts'

export interface ReplayOptions {
  readonly service?: string
  /** The file that gets the life of one service as an event script. */
  readonly toScript?: string
  readonly json?: boolean
}

/** `leasehold replay`: a recording against the statecharts of this version. Fails at the first difference. */
export async function replayRecording(
  file: string,
  { service, toScript: target, json }: ReplayOptions,
  terminal: Terminal,
): Promise<number> {
  const recording = await readRecording(file)
  const whole = replay(recording)
  const lives = whole.lives.filter((life) => service === undefined || life.service === service)
  if (service !== undefined && lives.length === 0)
    throw new UsageError(`${file} tells nothing of a service "${service}".`)
  if (json) terminal.json({ ...whole, lives })
  else {
    for (const line of tell(lives, terminal)) terminal.line(line)
    terminal.line(describeVerdict(whole, recording, terminal))
  }
  if (target !== undefined) await writeScript(lives, target, terminal)
  return whole.ok ? exitCodes.ok : exitCodes.failed
}

async function readRecording(file: string): Promise<Recording> {
  try {
    return parseRecording(await readFile(file, 'utf8'))
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new UsageError(`The recording ${file} cannot be used: ${why}`, { cause })
  }
}

/** The lives with more than one step, in the order of their events. */
function tell(lives: readonly ReplayedLife[], terminal: Terminal): string[] {
  const told = lives.flatMap((life) => life.steps.map((step) => ({ life, step })))
  return told
    .toSorted((a, b) => a.step.atMs - b.step.atMs)
    .flatMap(({ life, step }) => tellStep(life.service, step, terminal))
}

function tellStep(service: string, { atMs, event, said, why }: ReplayStep, terminal: Terminal): string[] {
  const at = `${String(Math.round(atMs)).padStart(9)} ms  ${escapeText(service)}`
  const changes = said.flatMap((one) => {
    if (one.type === 'service.state')
      return [`${at}  ${describeState(one.to)}: ${escapeText(toReasonText(why)).replaceAll('\n', ' ')}`]
    return 'failure' in one
      ? [terminal.paint('red', `${at}    ${one.type}: ${escapeText(one.failure.message)}`)]
      : []
  })
  const isQuiet = said.length === 0 && (event.type === 'health.verdict' || event.type.startsWith('lease.'))
  if (isQuiet) return []
  return [terminal.paint('dim', `${at}    ${event.type}`), ...changes]
}

function describeVerdict(
  { ok, difference, lives }: Replay,
  { isWhole }: Recording,
  terminal: Terminal,
): string {
  if (ok || difference === null) {
    const steps = lives.reduce((count, life) => count + life.steps.length, 0)
    const cut = isWhole ? '' : '; the recording ends before the supervisor did'
    return terminal.paint('green', `✓ ${steps} steps, every state as it was recorded${cut}`)
  }
  const { seq, service, recorded, replayed } = difference
  return terminal.paint(
    'red',
    escapeText(
      `✗ event ${seq}, ${service}: recorded ${JSON.stringify(recorded)}, but the statechart said ${JSON.stringify(replayed)}`,
    ),
  )
}

async function writeScript(
  lives: readonly ReplayedLife[],
  target: string,
  terminal: Terminal,
): Promise<void> {
  const lived = lives.filter(({ steps }) => steps.length > 0)
  const [life] = lived
  if (life === undefined) throw new UsageError('Nothing happened that a script could tell.')
  if (lived.length > 1)
    terminal.note(
      `the script tells the first of ${lived.length} lives, that of ${life.service}; --service picks`,
    )
  const script = buildScript(life)
  const story = await runScript(script)
  if (!story.ok)
    terminal.note(
      `the script does not pass: ${story.steps.at(-1)?.failures.join('; ')}. Two things happened in one moment, in an order that a script cannot say.`,
    )
  await writeFile(target, `${JSON5.stringify(script, null, 2)}\n`)
}
