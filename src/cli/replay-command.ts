import { readFile, writeFile } from 'node:fs/promises'
import JSON5 from 'json5'
import type { ClusterEventBody, SupervisorEvent } from '../events/events.ts'
import { describeClusterEvent } from '../explanation/event-text.ts'
import { describeState } from '../explanation/naming.ts'
import { toReasonText } from '../explanation/reason-text.ts'
import { findClockFaults, type MemberRecording, toOriginMs } from '../testing/joint-history.ts'
import { parseRecording, type Recording } from '../testing/recording.ts'
import { type Replay, type ReplayedLife, type ReplayStep, replay } from '../testing/replay.ts'
import { buildScript } from '../testing/replay-script.ts'
import { runScript } from '../testing/run-script.ts'
import { exitCodes, UsageError } from './exit-codes.ts'
import { escapeText, type Terminal } from './terminal.ts'

export interface ReplayOptions {
  readonly service?: string
  /** The file that gets the life of one service as an event script. */
  readonly toScript?: string
  readonly json?: boolean
  /** By how much the clocks of several members may differ, in milliseconds. */
  readonly clocksDiffer?: number
}

/**
 * `leasehold replay`: recordings against the statecharts of this version. Fails at the first difference. Those of several
 * members are told as one history, in the order of their clocks, and fail as well where these contradict each other.
 */
export async function replayRecordings(
  files: readonly string[],
  { service, toScript: target, json, clocksDiffer = 1000 }: ReplayOptions,
  terminal: Terminal,
): Promise<number> {
  const all = await Promise.all(
    files.map(async (file) => {
      const recording = await readRecording(file)
      const whole = replay(recording)
      const lives = whole.lives.filter((life) => service === undefined || life.service === service)
      return { file, name: recording.header.member ?? file, recording, whole, lives }
    }),
  )
  const lives = all.flatMap((one) => one.lives)
  if (service !== undefined && lives.length === 0)
    throw new UsageError(`${files.join(', ')} tells nothing of a service "${service}".`)
  const faults = findClockFaults(all, clocksDiffer)
  const ok = all.every(({ whole }) => whole.ok) && faults.length === 0
  const isJoint = all.length > 1
  if (json) {
    const told = all.map((one) => ({ ...one.whole, lives: one.lives }))
    const recordings = told.map((one, index) => ({ member: all[index]?.name, file: files[index], ...one }))
    terminal.json(isJoint ? { ok, clockFaults: faults, recordings } : told[0])
  } else {
    for (const line of tell(all, terminal)) terminal.line(line)
    for (const { name, whole, recording } of all)
      terminal.line(describeVerdict(isJoint ? `${name}: ` : '', whole, recording, terminal))
    for (const { cause, effect, earlyMs } of faults)
      terminal.line(
        terminal.paint(
          'red',
          escapeText(
            `✗ the clocks differ: ${effect} saw ${cause} ${earlyMs} ms before ${cause} reached NATS; with --clocks-differ ${earlyMs} the order of their lines may be wrong by as much`,
          ),
        ),
      )
  }
  if (target !== undefined) await writeScript(lives, target, terminal)
  return ok ? exitCodes.ok : exitCodes.failed
}

interface Told extends MemberRecording {
  readonly lives: readonly ReplayedLife[]
}

async function readRecording(file: string): Promise<Recording> {
  try {
    return parseRecording(await readFile(file, 'utf8'))
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new UsageError(`The recording ${file} cannot be used: ${why}`, { cause })
  }
}

/** The steps of all lives, and of several members what each said of the cluster, in the order of their events. */
function tell(all: readonly Told[], terminal: Terminal): string[] {
  const isJoint = all.length > 1
  const origins = all.map(({ recording }) => toOriginMs(recording))
  const firstMs = Math.min(...all.map(({ recording }, index) => (origins[index] ?? 0) + firstAtMs(recording)))
  const told = all.flatMap(({ name, recording, lives }, index) => {
    // Of one recording the times are its own.
    const shiftMs = isJoint ? (origins[index] ?? 0) - firstMs : 0
    const whom = isJoint ? `${name}  ` : ''
    const steps = lives.flatMap((life) =>
      life.steps.map((step) => ({
        atMs: step.atMs + shiftMs,
        lines: (at: string) => tellStep(`${at}${whom}${life.service}`, step, terminal),
      })),
    )
    if (!isJoint) return steps
    const cluster = recording.events.flatMap((event) =>
      isOfCluster(event)
        ? {
            atMs: event.atMs + shiftMs,
            lines: (at: string) => [escapeText(`${at}${whom}cluster  ${describeClusterEvent(event).text}`)],
          }
        : [],
    )
    return [...steps, ...cluster]
  })
  return told
    .toSorted((a, b) => a.atMs - b.atMs)
    .flatMap(({ atMs, lines }) => lines(`${String(Math.round(atMs)).padStart(9)} ms  `))
}

function firstAtMs({ events: [first] }: Recording): number {
  return first?.atMs ?? 0
}

function isOfCluster(event: SupervisorEvent): event is SupervisorEvent & ClusterEventBody {
  return event.type.startsWith('cluster.') || event.type.startsWith('member.')
}

function tellStep(start: string, { event, said, why }: ReplayStep, terminal: Terminal): string[] {
  const at = escapeText(start)
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
  whose: string,
  { ok, difference, lives }: Replay,
  { isWhole }: Recording,
  terminal: Terminal,
): string {
  if (ok || difference === null) {
    const steps = lives.reduce((count, life) => count + life.steps.length, 0)
    const cut = isWhole ? '' : '; the recording ends before the supervisor did'
    return terminal.paint(
      'green',
      `✓ ${escapeText(whose)}${steps} steps, every state as it was recorded${cut}`,
    )
  }
  const { seq, service, recorded, replayed } = difference
  return terminal.paint(
    'red',
    escapeText(
      `✗ ${whose}event ${seq}, ${service}: recorded ${JSON.stringify(recorded)}, but the statechart said ${JSON.stringify(replayed)}`,
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
