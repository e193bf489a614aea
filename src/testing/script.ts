import JSON5 from 'json5'
import { z } from 'zod'

const verdict = z.enum(['refused', 'loading', 'ready', 'failed', 'foreign'])
const ms = z
  .int()
  .min(0)
  .max(2 ** 31 - 1)
const msOrNever = ms.nullable()

const service = z
  .strictObject({
    managed: z.boolean(),
    drawsOnLimits: z.boolean(),
    readyTimeoutMs: ms,
    idleStopMs: ms,
    stopGraceMs: ms,
    drainTimeoutMs: ms,
    abandonStartMs: msOrNever,
    maxConcurrent: z.int().min(1),
    maxQueue: z.int().min(1),
    maxQueueMs: ms,
    backoffMs: ms,
    backoffMaxMs: ms,
    breakerFailures: z.int().min(1),
    breakerCooldownMs: ms,
    stabilityMs: ms,
  })
  .partial()
  .describe('The policy of the service; what is absent has the test kit’s defaults.')

const world = z
  .strictObject({
    probe: verdict,
    probeMs: ms,
    verdict: verdict.nullable(),
    claim: z.enum(['claimed', 'held', 'impossible']),
    claimMs: ms,
    peer: z.enum(['willing', 'refusing', 'failing', 'silent', 'hung', 'gone']),
    peerMs: ms,
    grantMs: ms,
    canSpawn: z.boolean(),
    retry: z.enum(['later', 'never']).nullable(),
    isPortShared: z.boolean(),
    isPortTaken: z.boolean(),
    spawnMs: ms,
    readyAfterMs: msOrNever,
    exitAfterMs: msOrNever,
    exitCode: z.int(),
    termMs: msOrNever,
    killMs: msOrNever,
    closeMs: ms,
    leaveMs: ms.nullable(),
    sweepMs: ms,
    isPortHeld: z.boolean(),
    survivors: z.int().min(0),
    warmPollMs: ms,
    heartbeatMs: ms,
  })
  .partial()
  .describe('How the outside behaves.')

const event = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('lease.requested'),
    id: z.string(),
    priority: z.int().optional(),
    cause: z
      .enum(['start', 'preload', 'default'])
      .optional()
      .describe('What asks, where it is not a request.'),
  }),
  z.strictObject({ type: z.literal('lease.cancelled'), id: z.string() }),
  z.strictObject({ type: z.literal('lease.released'), id: z.string(), generation: z.string().optional() }),
  z.strictObject({
    type: z.literal('service.stop'),
    reason: z.enum(['evicted', 'yielded', 'asked', 'removed', 'shutdown']),
    force: z.boolean().optional(),
  }),
  z.strictObject({ type: z.literal('service.stay') }),
  z.strictObject({ type: z.literal('breaker.reset') }),
  z.strictObject({
    type: z.literal('policy.replaced'),
    policy: service.describe('What changes; the rest stays as it is.'),
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
  at: ms.describe('Milliseconds since the story began.'),
  say: z.string().optional().describe('A remark for the reader.'),
  world: world.optional().describe('The outside changes from here on.'),
  crash: z
    .strictObject({ exitCode: z.int().nullable().optional(), signal: z.string().nullable().optional() })
    .optional()
    .describe('The process ends from outside.'),
  send: z
    .union([event, z.array(event)])
    .optional()
    .describe('What is asked, in order, in one tick.'),
  hears: z
    .array(fact)
    .optional()
    .describe(
      'What the machine hears, as it hears it, from an outside that does nothing by itself (`silent`).',
    ),
  state: z.string().optional().describe('The state now, or a parent of it.'),
  emitted: z.array(fact).optional().describe('Among the facts since the last step, in this order.'),
  never: z.array(fact).optional().describe('Not among the facts since the last step.'),
  leases: z.int().optional(),
  queue: z.array(z.string()).optional().describe('Ids of the waiters in order.'),
  spawns: z.int().optional().describe('Processes ever spawned.'),
  live: z.int().optional().describe('Processes alive now.'),
  timers: z.array(z.string()).optional().describe('Exactly the delays that are armed now.'),
  owned: z.boolean().optional(),
  ownership: z.enum(['none', 'owned', 'adopted', 'borrowed']).optional(),
  because: reason.optional().describe('Why it is in this state, as far as it is named.'),
})

const script = z.strictObject({
  title: z.string().describe('One behaviour, as a sentence in the present tense.'),
  why: z.string().optional(),
  covers: z.array(z.string()).optional().describe('Numbers of the races it settles: R1.'),
  real: z.boolean().default(false).describe('Whether it also runs against a real process and real sockets.'),
  silent: z
    .boolean()
    .optional()
    .describe('The outside does nothing by itself: its steps say what the machine hears of it.'),
  service: service.default({}),
  world: world.default({}),
  steps: z.array(step).min(1),
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
