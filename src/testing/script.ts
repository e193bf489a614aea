import JSON5 from 'json5'
import { z } from 'zod'

const verdict = z.enum(['refused', 'loading', 'ready', 'failed', 'foreign'])
const ms = z
  .int()
  .min(0)
  .max(2 ** 31 - 1)
const msOrNever = ms.nullable()

const obedience = z.enum(['obeys', 'refuses', 'lies', 'dies'])

const service = z
  .strictObject({
    managed: z.boolean().describe('`true`: leasehold starts and stops it.'),
    drawsOnLimits: z
      .boolean()
      .describe(
        '`true`: it shares limits with other services, and reports its use. A script runs one service, so a start gets its room at once.',
      ),
    readyTimeoutMs: ms.describe('Longest time from the spawn until it is ready, in milliseconds.'),
    idleStopMs: ms.describe('Time without a lease after which it stops, in milliseconds. `0`: never.'),
    stopGraceMs: ms.describe('Time between SIGTERM and SIGKILL, in milliseconds.'),
    sleep: z
      .strictObject({
        afterMs: ms.describe(
          'Time without a lease after which it sleeps, in milliseconds. `0`: only for room.',
        ),
        isSelf: z.boolean().describe('`true`: it sleeps and wakes by itself.'),
        requestMs: ms.describe('Longest time until it sleeps, in milliseconds.'),
        wakeMs: ms.describe('Longest time until it is awake, in milliseconds.'),
      })
      .nullable()
      .describe('How it sleeps. `null`: it cannot.'),
    stopCommandMs: ms.describe('Longest time of a stop command, in milliseconds. `0`: there is none.'),
    drainTimeoutMs: ms.describe('Longest time that a stop waits for leases, in milliseconds.'),
    abandonStartMs: msOrNever.describe(
      'Time without a waiter after which a start is abandoned, in milliseconds. `null`: never.',
    ),
    maxConcurrent: z.int().min(1).describe('Leases held at the same time.'),
    maxQueue: z.int().min(1).describe('Waiters at the same time.'),
    maxQueueMs: ms.describe('Longest time a waiter waits, in milliseconds.'),
    backoffMs: ms.describe(
      'Wait after the first failure, in milliseconds. It doubles with each further one.',
    ),
    backoffMaxMs: ms.describe('Longest wait between two starts, in milliseconds.'),
    breakerFailures: z.int().min(1).describe('Failures in a row that open the breaker.'),
    breakerCooldownMs: ms.describe('Time that the breaker stays open, in milliseconds.'),
    stabilityMs: ms.describe(
      'Time that it must stay ready before its failures are forgotten, in milliseconds.',
    ),
  })
  .partial()
  .describe('The policy of the service; an absent field has its default.')

const world = z
  .strictObject({
    probe: verdict.describe('What answers at the address while no process of the script runs.'),
    probeMs: ms.describe('Duration of a health check, in milliseconds.'),
    verdict: verdict.nullable().describe('What each health check finds, whatever runs. `null`: the truth.'),
    claim: z
      .enum(['claimed', 'held', 'impossible', 'elsewhere', 'no-room'])
      .describe(
        'Whether the service can be claimed on this host; `elsewhere`: it can, and another member of a cluster starts it; `no-room`: it can, and a server that was counted as asleep is awake.',
      ),
    claimMs: ms.describe('Duration of the claim, in milliseconds.'),
    peer: z
      .enum(['willing', 'refusing', 'failing', 'silent', 'hung', 'gone'])
      .describe(
        'How the supervisor that holds the claim behaves: it grants leases, refuses them as after a failed start, does not prove who it is, never answers, falls silent after it was met, or is gone.',
      ),
    peerMs: ms.describe('Time until that supervisor answers, in milliseconds.'),
    grantMs: ms.describe('Time until that supervisor grants a lease, in milliseconds.'),
    canSpawn: z.boolean().describe('`false`: the program cannot be started.'),
    retry: z
      .enum(['later', 'never'])
      .nullable()
      .describe('What a failed spawn says about the next try. `null`: nothing.'),
    isPortShared: z
      .boolean()
      .describe('`true`: another process listens on the same port as the started one.'),
    isPortTaken: z.boolean().describe('`true`: an exit says that the port was taken.'),
    spawnMs: ms.describe('Duration of a spawn, in milliseconds.'),
    readyAfterMs: msOrNever.describe('From the spawn until it is ready, in milliseconds. `null`: never.'),
    exitAfterMs: msOrNever.describe('From the spawn to an exit by itself, in milliseconds. `null`: never.'),
    exitCode: z.int().describe('Code of that exit.'),
    termMs: msOrNever.describe('From SIGTERM to the exit, in milliseconds. `null`: SIGTERM is ignored.'),
    killMs: msOrNever.describe('From SIGKILL to the exit, in milliseconds. `null`: it cannot be killed.'),
    closeMs: ms.describe('Time that closing our own connections takes before SIGTERM, in milliseconds.'),
    leaveMs: ms
      .nullable()
      .describe(
        'From an exit after SIGTERM to the end of the processes that it left, in milliseconds. `null`: they stay until they are killed.',
      ),
    sweepMs: ms.describe('From the end of the process tree to the receipt, in milliseconds.'),
    isPortHeld: z
      .boolean()
      .describe('`true`: a process still listens at the address when the tree has ended.'),
    sleep: obedience.describe(
      'How the server takes a request to sleep: it sleeps, refuses, says that it sleeps and does not, or ends.',
    ),
    wake: obedience.describe('The same for a request to wake.'),
    sleepMs: ms.describe('From the request until it sleeps, in milliseconds.'),
    wakeMs: ms.describe('From the request until it is awake, in milliseconds.'),
    isAsleep: z
      .boolean()
      .nullable()
      .describe('What the check of its sleep says, whatever was asked of it. `null`: the truth.'),
    survivors: z.int().min(0).describe('Processes that no signal ends.'),
    warmPollMs: ms.describe('Time between two health checks while it loads, in milliseconds.'),
    heartbeatMs: ms.describe('Time between two health checks while it is ready, in milliseconds.'),
  })
  .partial()
  .describe('How the process, its port and other supervisors behave.')

const event = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('lease.requested'),
    id: z.string(),
    priority: z.int().optional(),
    cause: z.enum(['start', 'preload', 'default']).optional().describe('What asks, unless it is a request.'),
    keepAliveMs: ms
      .optional()
      .describe('The idle time that it asks for in this run; 2147483647: it is not stopped for being idle.'),
  }),
  z.strictObject({ type: z.literal('lease.cancelled'), id: z.string() }),
  z.strictObject({ type: z.literal('lease.released'), id: z.string(), generation: z.string().optional() }),
  z.strictObject({
    type: z.literal('service.stop'),
    reason: z.enum(['evicted', 'yielded', 'asked', 'removed', 'shutdown']),
    force: z.boolean().optional(),
    sleeps: z.boolean().optional(),
  }),
  z.strictObject({ type: z.literal('start.revoked'), member: z.string() }),
  z.strictObject({ type: z.literal('service.stay') }),
  z.strictObject({ type: z.literal('service.sleep') }),
  z.strictObject({ type: z.literal('breaker.reset') }),
  z.strictObject({
    type: z.literal('policy.replaced'),
    policy: service.describe('What changes.'),
  }),
  z.strictObject({ type: z.literal('host.resumed') }),
  z.strictObject({
    type: z.literal('health.verdict'),
    generation: z.string(),
    verdict,
    isOfRequest: z.boolean().optional(),
  }),
  z.strictObject({ type: z.literal('peer.granted'), generation: z.string(), id: z.string() }),
  z.strictObject({ type: z.literal('process.spawned'), generation: z.string(), pid: z.int() }),
  z.strictObject({
    type: z.literal('process.exited'),
    generation: z.string(),
    exitCode: z.int().nullable().optional(),
    signal: z.string().nullable().optional(),
  }),
])

const fact = z.looseObject({ type: z.string() })
const reason = z.looseObject({ kind: z.string() })

const step = z.strictObject({
  at: ms.describe('Time since the begin of the script, in milliseconds.'),
  say: z.string().optional().describe('A comment for the reader.'),
  world: world.optional().describe('How `world` behaves from here on.'),
  crash: z
    .strictObject({
      exitCode: z.int().nullable().optional(),
      signal: z.string().nullable().optional(),
      isUnloaded: z.literal(true).optional(),
    })
    .optional()
    .describe(
      'The process ends: it crashes, or another program kills it. `isUnloaded`: it is a model, which its daemon unloads.',
    ),
  send: z
    .union([event, z.array(event)])
    .optional()
    .describe('Events that the machine gets, in this order, in one tick.'),
  hears: z.array(fact).optional().describe('With `silent`: events of the effects, as the machine gets them.'),
  state: z.string().optional().describe('The state now, or a parent of it.'),
  emitted: z
    .array(fact)
    .optional()
    .describe('Events since the last step that must be among those emitted, in this order.'),
  never: z.array(fact).optional().describe('Events that must not have been emitted since the last step.'),
  leases: z.int().optional().describe('Leases held now.'),
  queue: z.array(z.string()).optional().describe('Ids of the waiters in order.'),
  spawns: z.int().optional().describe('Processes ever spawned.'),
  live: z.int().optional().describe('Processes alive now.'),
  timers: z.array(z.string()).optional().describe('Exactly the delays that are armed now.'),
  owned: z.boolean().optional().describe('Whether leasehold runs the server now.'),
  ownership: z.enum(['none', 'owned', 'adopted', 'borrowed']).optional().describe('Who runs the server now.'),
  because: reason
    .optional()
    .describe('Why it is in this state; fields that are not named may have any value.'),
})

const script = z.strictObject({
  title: z.string().describe('One behaviour, as a sentence in the present tense.'),
  why: z.string().optional().describe('Why it matters.'),
  covers: z.array(z.string()).optional().describe('Numbers of the races that it settles, `R1`.'),
  real: z
    .boolean()
    .default(false)
    .describe('`true`: it also runs against a real process and real sockets (`--real`).'),
  silent: z
    .boolean()
    .optional()
    .describe('`true`: the world does nothing by itself; `hears` states what the machine gets.'),
  service: service.default({}),
  world: world.default({}),
  steps: z.array(step).min(1).describe('What happens, and what must be seen, in the order of time.'),
})

/** An event script: one behaviour of one service as a timeline of what happens and what must be seen. */
export type Script = z.infer<typeof script>
export type ScriptStep = z.infer<typeof step>
export type ScriptEvent = z.infer<typeof event>

/**
 * Parses a script.
 * @throws {@link Error} naming every field that is wrong, and for steps that go back in time.
 */
export function parseScript(text: string): Script {
  const result = script.safeParse(JSON5.parse(text))
  if (!result.success) throw new Error(z.prettifyError(result.error))
  const back = result.data.steps.findIndex(
    (one, index, all) => index > 0 && one.at < (all[index - 1]?.at ?? 0),
  )
  if (back > 0) throw new Error(`steps[${back}].at goes back in time`)
  return result.data
}

/** The JSON Schema of a script, from the same definition as the parser. */
export function buildScriptSchema(): z.core.JSONSchema.JSONSchema {
  return z.toJSONSchema(script, { io: 'input', target: 'draft-2020-12' })
}
