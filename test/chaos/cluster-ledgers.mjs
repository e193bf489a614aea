import { judgeComplete, toExecutions } from './ledgers.mjs'

/** How long before we noted a deed its effect may have been noted by another process, in milliseconds. */
const SAME_MOMENT_MS = 100
/** A second server of a service that lives shorter than this beside the first is one that is being stopped. */
const STOPPING_MS = 1_000
/** How long after a fault members may not have come together again. */
const TOGETHER_MS = 3_000
/** How long the members take at most to find out what happened to one of them, and to send its requests elsewhere. */
const FOUND_OUT_MS = 6_000

/** Providers that every machine has. */
const SHARED = ['llama', 'quick', 'drowsy']
/** Those of them that take any number of requests, so that one server is enough. */
const SINGLE = ['llama', 'drowsy']

/** Deeds that keep what was sent to a machine from it until they are over. */
const DELAYS = ['machine stood still', 'server stood still', 'cable pulled']

/** Deeds that end the connections of a machine's own clients. */
const CUTS_CLIENTS = ['machine killed', 'machine ended and started']

/**
 * Lays what the clients of all machines say beside what the servers of all machines executed.
 * @param records what the clients say of each request; `box`: the machine they asked
 * @param lines what the servers' journals say; `service` is `MACHINE/PROVIDER`
 * @param runs every run of a server
 * @param harms what was done when, and to which machine
 * @param sent how many requests the clients of each machine have sent: `{ MACHINE: number }`
 * @returns counts of what happened, and a sentence for each thing that must not have
 */
export function joinClusterLedgers({ records, lines, runs, harms, sent, isVerbose = false }) {
  const counts = { requests: records.length, 'servers started': runs.length }
  const violations = []
  const count = (name, by = 1) => {
    counts[name] = (counts[name] ?? 0) + by
  }
  const executionsOf = toExecutions(lines)
  const seen = new Set()
  const wasHarmed = (target, from, to, fits = () => true) =>
    harms.some((harm) => harm.target === target && harm.from <= to && harm.to >= from && fits(harm))
  for (const record of records) {
    const { nonce, box, model, outcome, reason, startedAt, endedAt } = record
    const executions = (executionsOf.get(nonce) ?? []).toSorted((one, other) => one.beganAt - other.beganAt)
    const blame = (text) =>
      violations.push(`request ${nonce} for ${model} (${toTime(startedAt)} to ${toTime(endedAt)}): ${text}`)
    if (seen.has(nonce)) blame('the client has two records of it')
    seen.add(nonce)
    count(outcome)
    if (outcome === 'refused' || outcome === 'broken') count(`${outcome}: ${reason}`)
    if (outcome === 'wrong') blame(reason)
    if (outcome === 'refused' && /^the server said/.test(reason)) blame(`refused without a code: ${reason}`)
    const isAnywhere = SHARED.includes(model)
    // Its own machine can serve it, whatever happens to the others.
    if (
      (outcome === 'refused' || outcome === 'broken') &&
      isAnywhere &&
      !executions.some(({ end }) => (end?.bytes ?? 1) > 0) &&
      !wasHarmed(box, startedAt - FOUND_OUT_MS, endedAt)
    )
      blame(`${outcome} (${reason}) before its first byte, by a machine to which nothing was done`)
    if (outcome === 'complete') judgeComplete(record, executions, { blame, count })
    if (outcome === 'cut') {
      const isOver = wasHarmed(box, startedAt - SAME_MOMENT_MS, endedAt + SAME_MOMENT_MS, ({ deed }) =>
        CUTS_CLIENTS.includes(deed),
      )
      if (isOver) count('cut with its gateway')
      else if (record.isReused) count('cut: a kept connection was closed')
      else if (record.halfClosed) count('cut: its client had half-closed')
      else if (record.isEventStream === false) count('cut: in a document')
      else blame(`cut without a word (${reason}) by a gateway that lives`)
    }
    judgeExecutions(record, executions, { blame, count, wasHarmed })
  }
  for (const [box, number] of Object.entries(sent))
    for (let index = 1; index <= number; index += 1)
      if (!seen.has(`${box}-${index}`))
        violations.push(`request ${box}-${index}: its client has no record of it`)
  for (const nonce of executionsOf.keys())
    if (!seen.has(nonce)) violations.push(`request ${nonce}: a server executed it, and no client knows of it`)
  violations.push(...findSecondStarts({ runs, harms, isVerbose }, wasHarmed, count))
  return { counts, violations }
}

/** Executed once, but where a machine, or its server, was harmed in between. */
function judgeExecutions({ model, box, outcome, startedAt }, executions, { blame, count, wasHarmed }) {
  const [, member, provider] = /^(?:(.*):)?(.*)$/.exec(model)
  for (const { service } of executions) {
    const [at, of] = service.split('/')
    if (of !== provider || (member !== undefined && at !== member)) blame(`executed by ${service}`)
  }
  for (const [index, execution] of executions.entries()) {
    if (index === 0) continue
    const before = executions[index - 1]
    const [former] = before.service.split('/')
    const isExcused = [former, box].some((target) =>
      wasHarmed(target, before.beganAt - FOUND_OUT_MS, execution.beganAt + SAME_MOMENT_MS),
    )
    const [latter] = execution.service.split('/')
    // What was sent there before is read when that is over, with the end of the connection behind it.
    const isLate = wasHarmed(latter, startedAt, execution.beganAt, ({ deed }) => DELAYS.includes(deed))
    if (isExcused) count('executed again: after a fault')
    else if (isLate) count('executed again: late, by a machine that a request had left')
    // A request that waits there is moved to a machine with room; its turn may come in the same moment.
    else if (before.end?.outcome === 'aborted' && before.service !== execution.service)
      count('executed again: moved as its turn came')
    else if (
      execution.isLastOnConnection &&
      execution.earlierOnConnection === 0 &&
      (before.end?.bytes ?? 0) === 0
    )
      count('executed again: on a fresh connection')
    else
      blame(
        `executed by ${execution.service} after ${before.service} (${before.end?.outcome ?? 'no end'}, ${Math.round(execution.beganAt - before.beganAt)} ms before)`,
      )
  }
  const machines = new Set(executions.map(({ service }) => service.split('/')[0]))
  if (executions.length > 0 && !machines.has(box)) count('executed on another machine')
  if (executions.length > 0 && (outcome === 'refused' || outcome === 'broken'))
    count(`executed, then ${outcome}`)
}

/** A second server is of no use while NATS is there, also where the first one sleeps. */
function findSecondStarts({ runs, harms, isVerbose }, wasHarmed, count) {
  const violations = []
  for (const service of SINGLE) {
    const its = runs.filter((run) => run.service === service)
    for (const second of its)
      for (const first of its) {
        const { to: end = Number.POSITIVE_INFINITY } = first
        if (first === second || first.from > second.from || end < second.from) continue
        if (Math.min(end, second.to ?? Number.POSITIVE_INFINITY) - second.from < STOPPING_MS) continue
        count('second servers')
        const isExcused = ['NATS', first.box, second.box].some((target) =>
          wasHarmed(target, second.from - TOGETHER_MS, second.from + SAME_MOMENT_MS),
        )
        if (isVerbose)
          console.log(
            `second server: ${service} ${second.box} at ${toTime(second.from)} beside ${first.box} since ${toTime(first.from)}; ${harms
              .filter(({ from, to }) => from <= second.from && to >= second.from - TOGETHER_MS)
              .map(({ deed, target, from, to }) => `${deed} ${target} ${toTime(from)}-${toTime(to)}`)
              .join(', ')}`,
          )
        if (!isExcused)
          violations.push(
            `${service} was started on ${second.box} (pid ${second.pid}) while it ran on ${first.box} (pid ${first.pid}), and nothing was wrong`,
          )
      }
  }
  return violations
}

function toTime(atMs) {
  return Number.isFinite(atMs) ? new Date(atMs).toISOString().slice(14, 23) : 'now'
}
