import { fromPromise, setup } from 'xstate'
import type { HostClaimOutcome } from './messages.ts'

/** Events of a claim: what the service needs, and what its processes do. All JSON. */
export type ClaimEvent =
  | { readonly type: 'claim.wanted' }
  /** One that wants it does not wait any longer for the answer. */
  | { readonly type: 'claim.abandoned' }
  /** The service needs it no more. */
  | { readonly type: 'claim.unneeded' }
  /** A process of the service begins, or its receipt is written. */
  | { readonly type: 'run.begun' }
  | { readonly type: 'run.ended' }

export interface ClaimContext {
  /** How many wait for the answer. */
  readonly askers: number
  /** Processes of the service without a receipt. */
  readonly runs: number
  /** How the last attempt ended; `null`: it has not, or there was none. */
  readonly outcome: HostClaimOutcome | null
}

type Scope = { readonly context: ClaimContext; readonly event: object }

const base = setup({
  types: { context: {} as ClaimContext, events: {} as ClaimEvent },
  actors: {
    /** Asks the host for the claim. Stopped: gives up waiting, and gives back what comes too late. */
    take: fromPromise<HostClaimOutcome>(() => {
      throw new Error('The effect "take" is not provided.')
    }),
  },
  guards: {
    isClaimed: ({ event }: Scope) => outcomeOf(event)?.outcome === 'claimed',
    hasRuns: ({ context }: Scope) => context.runs > 0,
    isLastAsker: ({ context }: Scope) => context.askers <= 1,
    isLastRun: ({ context }: Scope) => context.runs <= 1,
  },
})

const claim = base.extend({
  actions: {
    beginAsking: base.assign({ askers: 1, outcome: null }),
    countAsker: base.assign({ askers: ({ context }) => context.askers + 1 }),
    uncountAsker: base.assign({ askers: ({ context }) => context.askers - 1 }),
    recordOutcome: base.assign(({ event }) => ({ askers: 0, outcome: outcomeOf(event) })),
    countRun: base.assign({ runs: ({ context }) => context.runs + 1 }),
    uncountRun: base.assign({ runs: ({ context }) => Math.max(0, context.runs - 1) }),
    /** Lets the next supervisor have it. `src/peers` provides this. */
    release: () => {},
  },
})

/**
 * The right to run the process of one service on this host, from the first look at its address until nothing of the
 * service is left. It lives outside of the provider, because it outlives a provider that dies of a bug.
 */
export const claimMachine = claim.createMachine({
  id: 'claim',
  description: 'The right to run one service on this host: at most one supervisor has it.',
  context: { askers: 0, runs: 0, outcome: null },
  on: {
    'run.begun': { actions: 'countRun' },
    'run.ended': { actions: 'uncountRun' },
  },
  initial: 'free',
  states: {
    free: {
      description: 'It is not ours, and not asked for.',
      on: { 'claim.wanted': { target: 'asking', actions: 'beginAsking' } },
    },

    asking: {
      description: 'The host is asked: the claim is free, another supervisor has it, or there can be none.',
      tags: 'asking',
      invoke: {
        src: 'take',
        onDone: [
          { guard: 'isClaimed', target: 'held', actions: 'recordOutcome' },
          { target: 'free', actions: 'recordOutcome' },
        ],
      },
      on: {
        'claim.wanted': { actions: 'countAsker' },
        'claim.abandoned': [{ guard: 'isLastAsker', target: 'free' }, { actions: 'uncountAsker' }],
      },
    },

    held: {
      description: 'It is ours: nothing else on this host starts the service.',
      tags: 'ours',
      initial: 'needed',
      states: {
        needed: {
          description: 'The service looks, starts or runs.',
          on: {
            'claim.unneeded': [
              { guard: 'hasRuns', target: 'outliving' },
              { target: '#claim.free', actions: 'release' },
            ],
          },
        },
        outliving: {
          description:
            'The service needs it no more. A process without a receipt keeps it until the receipt.',
          on: {
            'claim.wanted': 'needed',
            'run.ended': [
              { guard: 'isLastRun', target: '#claim.free', actions: ['uncountRun', 'release'] },
              { actions: 'uncountRun' },
            ],
          },
        },
      },
    },
  },
})

/** The result of the effect. */
function outcomeOf(event: object): HostClaimOutcome | null {
  return 'output' in event ? (event.output as HostClaimOutcome) : null
}
