import fc from 'fast-check'
import {
  type AnyStateMachine,
  and,
  assign,
  cancel,
  createActor,
  createMachine,
  emit,
  enqueueActions,
  fromCallback,
  fromPromise,
  not,
  or,
  raise,
  spawnChild,
  stateIn,
  stopChild,
} from 'xstate'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'
import { createRecord } from './record.ts'

/** A chart of random shape that uses everything the executor knows, and what it leaves to xstate. */
export interface Synthetic {
  readonly config: object
  readonly events: readonly string[]
}

const EVENTS = ['go', 'go.on', 'back', 'raised', 'timed', 'unknown', 'go.on.far']
const GUARDS = ['isEven', 'isOdd', 'isSmall', 'both', 'either', 'neither', 'isInB', 'withParams', 'throws']
const ACTIONS = [
  'count',
  'countKeyed',
  'say',
  'sayPlain',
  'raiseNow',
  'raiseLater',
  'cancelLater',
  'many',
  'spawn',
  'stopSpawned',
  'tellSpawned',
  'note',
  'noteParams',
  'throws',
  'missing',
  'spawnInAssign',
]

const guard = fc.oneof(
  { weight: 8, arbitrary: fc.constant(undefined) },
  {
    weight: 8,
    arbitrary: fc
      .constantFrom(...GUARDS.filter((name) => name !== 'throws'))
      .map((name) => (name === 'withParams' ? { type: name, params: { limit: 3 } } : name)),
  },
  { weight: 1, arbitrary: fc.constant('throws') },
)
const action = fc
  .oneof(
    { weight: 20, arbitrary: fc.constantFrom(...ACTIONS.filter((name) => name !== 'throws')) },
    { weight: 1, arbitrary: fc.constant('throws') },
  )
  .map((name) => (name === 'noteParams' ? { type: name, params: { from: 'chart' } } : name))
const actions = fc.array(action, { maxLength: 3 })

const IDS = ['a', 'b', 'c', 'a1', 'a2', 'b1', 'b2', 'b11', 'b12', 'end', 'aEnd']
const transition = fc.record({
  target: fc.oneof(
    fc.constant(undefined),
    fc.constantFrom(...IDS).map((id) => `#${id}`),
  ),
  guard,
  actions,
  reenter: fc.boolean(),
})
const transitions = fc.array(transition, { minLength: 1, maxLength: 3 })
const on = fc.dictionary(
  fc.constantFrom('go', 'go.on', 'back', 'raised', 'timed', '*', 'go.*'),
  transitions,
  {
    maxKeys: 4,
  },
)
const always = fc.oneof(
  { weight: 5, arbitrary: fc.constant(undefined) },
  { weight: 1, arbitrary: fc.array(transition, { minLength: 1, maxLength: 2 }) },
)
const invoke = fc.oneof(
  { weight: 5, arbitrary: fc.constant(undefined) },
  {
    weight: 1,
    arbitrary: fc.record({
      id: fc.constantFrom('inner', 'other'),
      src: fc.constantFrom('echo', 'soon', 'fails'),
      onDone: fc.oneof(fc.constant(undefined), transitions),
      onError: fc.oneof(fc.constant(undefined), transitions),
    }),
  },
)
const after = fc.oneof(
  { weight: 5, arbitrary: fc.constant(undefined) },
  { weight: 1, arbitrary: transitions.map((list) => ({ short: list })) },
)

const node = fc
  .record({ on, always, invoke, after, entry: actions, exit: actions, onDone: fc.option(transitions) })
  .map((one) =>
    Object.fromEntries(Object.entries(one).filter(([, value]) => value !== undefined && value !== null)),
  )

export const synthetics: fc.Arbitrary<Synthetic> = fc
  .record({
    nodes: fc.array(node, { minLength: 9, maxLength: 9 }),
    root: node,
    events: fc.array(fc.constantFrom(...EVENTS, 'wait'), { maxLength: 12 }),
    output: fc.constantFrom(undefined, 'fixed'),
  })
  .map(({ nodes: [a, b, c, a1, a2, b1, b2, b11, b12], root, events, output }) => {
    // Only a compound state has an onDone.
    const leaf = ({ onDone: _, ...rest }: Record<string, unknown> = {}) => rest
    return {
      events,
      config: {
        id: 'synthetic',
        initial: 'a',
        context: { n: 0, log: [] },
        ...leaf(root),
        ...(output === undefined ? {} : { output: ({ context }: { context: Context }) => context.n }),
        states: {
          a: {
            ...a,
            id: 'a',
            tags: ['outer'],
            initial: 'a1',
            states: {
              a1: { ...leaf(a1), id: 'a1' },
              a2: { ...leaf(a2), id: 'a2', tags: ['inner', 'outer'] },
              aEnd: { id: 'aEnd', type: 'final', output: ({ context }: { context: Context }) => context.n },
            },
          },
          b: {
            ...b,
            id: 'b',
            initial: 'b1',
            states: {
              b1: {
                ...b1,
                id: 'b1',
                initial: 'b12',
                states: { b11: { ...leaf(b11), id: 'b11' }, b12: { ...leaf(b12), id: 'b12' } },
              },
              b2: { ...leaf(b2), id: 'b2' },
            },
          },
          c: { ...leaf(c), id: 'c', tags: ['plain'] },
          end: { id: 'end', type: 'final', entry: ['say'], exit: ['note'] },
        },
      },
    }
  })

interface Context {
  readonly n: number
  readonly log: readonly string[]
}
interface Scope {
  readonly context: Context
  readonly event: { readonly type: string }
}

/** A child and its parent could answer each other for ever, so children fall silent after this many answers. */
const MAX_ANSWERS = 20
let answers = 0
const mayAnswer = () => {
  answers += 1
  return answers <= MAX_ANSWERS
}
const say = (sendBack: (event: { type: string }) => void, type: string) => {
  if (mayAnswer()) sendBack({ type })
}

const implementations = {
  delays: { short: 10, none: (() => undefined) as never },
  guards: {
    isEven: ({ context }: Scope) => context.n % 2 === 0,
    isOdd: ({ context }: Scope) => context.n % 2 === 1,
    isSmall: ({ context }: Scope) => context.n < 5,
    both: and(['isSmall', 'isOdd']),
    either: or(['isEven', 'isSmall']),
    neither: not('either'),
    isInB: stateIn('#b'),
    withParams: ({ context }: Scope, { limit }: { limit: number }) => context.n > limit,
    throws: () => {
      throw new Error('a guard throws')
    },
  },
  actions: {
    count: assign(({ context }: Scope) => ({ n: context.n + 1 })),
    countKeyed: assign({
      n: ({ context }: Scope) => context.n + 2,
      log: ({ context }: Scope) => context.log,
    }),
    say: emit(({ context, event }: Scope) => ({ type: 'said', n: context.n, heard: event.type })),
    sayPlain: emit({ type: 'plain' }),
    raiseNow: raise({ type: 'raised' }),
    raiseLater: raise(({ context }: Scope) => ({ type: 'timed', n: context.n }), {
      id: 'later',
      delay: 'short' as never,
    }),
    cancelLater: cancel('later'),
    many: enqueueActions(({ enqueue, check, context }) => {
      if ((check as (name: string) => boolean)('isEven')) enqueue('count' as never)
      enqueue.assign({ n: context.n + 1 })
      enqueue.emit({ type: 'many', n: context.n } as never)
      if (context.n < 20) enqueue.raise({ type: 'raised' } as never, { delay: 'none' } as never)
      enqueue.raise({ type: 'timed' } as never, { id: 'later', delay: 'short' } as never)
      enqueue.cancel('later')
      enqueue({ type: 'noteParams', params: { from: 'queue' } } as never)
    }),
    spawn: spawnChild('echo', { id: 'spawned' }),
    stopSpawned: stopChild('spawned'),
    tellSpawned: enqueueActions(({ enqueue, self }) => {
      if ('spawned' in self.getSnapshot().children) enqueue.sendTo('spawned', { type: 'hello' })
    }),
    note: () => {},
    noteParams: () => {},
    throws: () => {
      throw new Error('an action throws')
    },
    spawnInAssign: assign(({ spawn, context }: never) => {
      const { n } = context as Context
      ;(spawn as (src: string, options: object) => void)('echo', { id: 'assigned' })
      return { n: n + 1 }
    }),
  },
  actors: {
    echo: fromCallback(({ sendBack, receive }) => {
      say(sendBack, 'go')
      receive(() => say(sendBack, 'back'))
    }),
    soon: fromPromise(() => (mayAnswer() ? Promise.resolve('value') : new Promise(() => {}))),
    fails: fromPromise(async () => {
      if (!mayAnswer()) return new Promise(() => {})
      throw new Error('a child fails')
    }),
  },
}

export function buildSynthetic({ config }: Synthetic): AnyStateMachine {
  return createMachine({ ...config, options: { maxIterations: 30 } } as never, implementations as never)
}

/** Plays the events; returns everything that was seen. */
export async function playSynthetic(machine: AnyStateMachine, events: readonly string[]): Promise<string[]> {
  answers = 0
  const clock = createVirtualClock()
  const { lines, write, inspect } = createRecord()
  const actor = createActor(machine, { clock, inspect })
  actor.on('*', (event) => write('emits', event))
  actor.subscribe({ error: (error) => write('errors', error), complete: () => write('completes') })
  actor.start()
  for (const type of events) {
    if (type === 'wait') await clock.advanceTo(clock.now() + 10)
    else actor.send({ type })
  }
  await clock.advanceTo(clock.now() + 5)
  write(
    'persists as',
    safely(() => actor.getPersistedSnapshot()),
  )
  actor.stop()
  return lines
}

function safely(read: () => unknown): unknown {
  try {
    return read()
  } catch (error) {
    return error
  }
}
