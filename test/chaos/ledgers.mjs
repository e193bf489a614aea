import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { toServiceNames } from './services.mjs'

/**
 * How long before we noted what we did its effect may have been noted by another process, in milliseconds: a gateway
 * that was killed, a stop that was asked.
 */
const SAME_MOMENT_MS = 50

/** Every line of the files of a directory's services; half a line, of a process that was killed, is none. */
export function readJournals(directory, services) {
  return services.flatMap((service) =>
    list(join(directory, service)).flatMap((file) =>
      readLines(join(directory, service, file)).map((line) => ({ service, file, ...line })),
    ),
  )
}

/** The client's records. */
export function readLedger(file) {
  return readLines(file)
}

/**
 * Lays the client's ledger beside those of the servers.
 * @param records what the client says of each request
 * @param lines what the servers' journals say
 * @param ends by round, when its gateway was told to end (wall clock), or undefined if it was not
 * @param forcedStops `{ service, askedAt, answeredAt }` of each stop that cuts off what is under way
 * @returns counts of what happened, and a sentence for each thing that must not have
 */
export function joinLedgers(records, lines, ends, forcedStops) {
  const counts = {}
  const violations = []
  const count = (name, by = 1) => {
    counts[name] = (counts[name] ?? 0) + by
  }
  const executionsOf = toExecutions(lines)
  const seen = new Set()
  for (const record of records) {
    const { nonce, outcome, reason } = record
    const blame = (text) => violations.push(`request ${nonce} (${record.model}): ${text}`)
    const executions = inOrderOfTries(executionsOf.get(nonce) ?? [], toServiceNames(record.model))
    if (seen.has(nonce)) blame('the client has two records of it')
    seen.add(nonce)
    count(outcome)
    if (outcome === 'refused' || outcome === 'broken') count(`${outcome}: ${reason}`)
    if (outcome === 'wrong') blame(reason)
    if (outcome === 'complete') judgeComplete(record, executions, { blame, count })
    if (outcome === 'cut') judgeCut(record, ends.get(record.round), { blame, count })
    judgeExecutions(record, executions, forcedStops, { blame, count })
  }
  for (const nonce of executionsOf.keys())
    if (!seen.has(nonce)) violations.push(`request ${nonce}: a server executed it, and no client knows of it`)
  return { counts, violations }
}

export function judgeComplete({ sha256, asksUsage }, executions, { blame, count }) {
  const last = executions.at(-1)
  if (last === undefined) return blame('complete, although no server executed it')
  // A server that is killed does not get to say what it sent; the client has read the text itself.
  if (last.end === undefined) return count('complete, its server killed before it could note that')
  // Of a client that did not ask for it, the gateway keeps the usage chunk to itself; every other byte is the server's.
  const toSent = (end) => (asksUsage ? end?.sha256 : end?.sha256WithoutUsage)
  if (!executions.some(({ end }) => toSent(end) === sha256))
    blame(`complete with the digest ${sha256.slice(0, 8)}, and no server sent that`)
}

function judgeCut({ endedAt, reason, isReused, halfClosed, isEventStream }, endAt, { blame, count }) {
  if (endAt !== undefined && endedAt >= endAt - SAME_MOMENT_MS) return count('cut with its gateway')
  // A kept connection that its server closes in the moment we choose it is a client's own affair.
  if (isReused) return count('cut: a kept connection was closed')
  if (halfClosed) return count('cut: its client had half-closed')
  if (isEventStream) return blame('a stream that was cut without an error event, by a gateway that lives')
  if (isEventStream === false) return count('cut: in a document')
  blame(`cut without a word (${reason}) by a gateway that lives`)
}

/** Executed once, but for the second tries that are allowed: those are counted, and shown. */
function judgeExecutions({ model, outcome }, executions, forcedStops, { blame, count }) {
  const chain = toServiceNames(model)
  const names = executions.map(({ service }) => service)
  for (const name of names)
    if (!chain.includes(name)) blame(`executed by ${name}, which has nothing to do with it`)
  for (const [index, execution] of executions.entries()) {
    if (index === 0) continue
    const before = executions[index - 1]
    // A server that lives may still execute what was cut off, without a client.
    const isCutOff = forcedStops.some(
      ({ service, askedAt, answeredAt }) =>
        service === before.service &&
        before.beganAt <= answeredAt + SAME_MOMENT_MS &&
        askedAt <= execution.beganAt &&
        askedAt - SAME_MOMENT_MS <= (before.end?.endedAt ?? Number.POSITIVE_INFINITY),
    )
    if (isCutOff && before.service !== execution.service)
      count('executed again: by a fallback, after a forced stop')
    else if (before.end?.outcome === 'answered')
      blame(`executed again by ${execution.service} after ${before.service} had answered`)
    else if (before.service !== execution.service) count('executed again: by a fallback')
    else if (
      execution.isLastOnConnection &&
      execution.earlierOnConnection === 0 &&
      (before.end?.bytes ?? 0) === 0
    )
      count('executed again: on a fresh connection')
    else blame(`executed twice by ${execution.service}`)
  }
  if (executions.length > 0 && (outcome === 'refused' || outcome === 'broken'))
    count(`executed, then ${outcome}`)
}

/**
 * A request goes along its chain, never back. By the clock alone a fallback may have been first: a server that is being
 * stopped reads late what it was sent before.
 */
function inOrderOfTries(executions, chain) {
  return executions.toSorted(
    (one, other) => chain.indexOf(one.service) - chain.indexOf(other.service) || one.beganAt - other.beganAt,
  )
}

/** By nonce. */
export function toExecutions(lines) {
  const executions = new Map()
  const open = new Map()
  for (const line of lines) {
    const id = `${line.file} ${line.execution}`
    if (line.at === 'begin') {
      const all = executions.get(line.nonce) ?? []
      executions.set(line.nonce, [...all, line])
      open.set(id, line)
    } else {
      const begin = open.get(id)
      if (begin !== undefined) begin.end = line
    }
  }
  return executions
}

function list(directory) {
  try {
    return readdirSync(directory)
  } catch {
    // A service that never ran has no journal.
    return []
  }
}

/** The lines of a file; none when it was never written to. */
function readLines(file) {
  if (!existsSync(file)) return []
  return readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line) => {
      try {
        return [JSON.parse(line)]
      } catch {
        return []
      }
    })
}
