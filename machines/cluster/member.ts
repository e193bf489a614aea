import { setup } from 'xstate'
import type { StartClaim } from './messages.ts'

/** Events of this member. All JSON. */
export type MemberEvent =
  /** NATS is reached, for the first time or again. */
  | { readonly type: 'nats.connected' }
  | { readonly type: 'nats.disconnected' }
  /** NATS does not let this member in, or forbids something. It is tried again. */
  | { readonly type: 'nats.refused'; readonly reason: string }
  /** No server of NATS is reached. It is tried again. */
  | { readonly type: 'nats.unreachable'; readonly reason: string }
  /** A card of this run came back. */
  | { readonly type: 'echo.heard' }
  /** Another run has the name of this member, and has answered. A late card of a former run of this member is none. */
  | { readonly type: 'twin.proven'; readonly boot: string; readonly address: string | null }
  /** This process did not run for a while. */
  | { readonly type: 'stood.still' }
  | { readonly type: 'drain.asked' }
  | { readonly type: 'drain.undone' }
  /** This process is about to end: no new leases. */
  | { readonly type: 'leave.asked' }
  /** The last lease is over. */
  | { readonly type: 'leave.done' }

/** The timers of the chart that are armed by an action. */
type MemberTimer = { readonly type: 'deafness.due' } | { readonly type: 'refusal.over' }

export type MemberEmitted =
  /** The card of this member is to be sent at once. */
  | { readonly type: 'card.publish' }
  /** All members are to be asked for their cards. */
  | { readonly type: 'census.ask' }
  | { readonly type: 'bye.say' }
  /** For every neighbour: this member does not reach NATS, does again, or heard its own card. */
  | { readonly type: 'view.frozen' }
  | { readonly type: 'view.thawed' }
  | { readonly type: 'echo.heard' }

export interface MemberPolicy {
  /** Time without our own card after which NATS counts as cut off. */
  readonly lostMs: number
}

export interface MemberInput {
  readonly self: StartClaim
  readonly policy: MemberPolicy
}

export interface MemberContext extends MemberInput {
  /** What the card says: whether this member takes new requests. */
  readonly availability: 'open' | 'draining'
  /** What keeps this member from the cluster, in a sentence; `null`: nothing. */
  readonly problem: string | null
}

/** Time in which the answers to a census come, in milliseconds: a member of the same name would be heard. */
const CENSUS_MS = 300
/** Time after which a member whose name is taken looks again, in milliseconds. */
const RETRY_MS = 5_000

/** Time after which a refusal that is not repeated is over, in milliseconds: permissions change without a word. */
const REFUSAL_MS = 5_000

type Scope = { readonly context: MemberContext; readonly event: object }

const base = setup({
  types: {
    context: {} as MemberContext,
    events: {} as MemberEvent | MemberTimer,
    emitted: {} as MemberEmitted,
    input: {} as MemberInput,
  },
  delays: {
    census: CENSUS_MS,
    deafness: ({ context: { policy } }) => policy.lostMs,
    retry: RETRY_MS,
    refusal: REFUSAL_MS,
    // NATS may begin after this member does: both were switched on at the same time.
    meeting: ({ context: { policy } }) => policy.lostMs,
  },
  guards: {
    isDraining: ({ context }: Scope) => context.availability === 'draining',
    /** Of two that have joined at the same time one leaves, and both know which. */
    hasPrecedence: ({ context, event }: Scope) => 'boot' in event && context.self.boot < String(event.boot),
  },
})

const member = base.extend({
  actions: {
    publish: base.emit({ type: 'card.publish' }),
    askCensus: base.emit({ type: 'census.ask' }),
    sayBye: base.emit({ type: 'bye.say' }),
    freezeView: base.emit({ type: 'view.frozen' }),
    thawView: base.emit({ type: 'view.thawed' }),
    passEcho: base.emit({ type: 'echo.heard' }),
    listenAnew: base.enqueueActions(({ enqueue }) => {
      enqueue.cancel('deafness')
      enqueue.raise({ type: 'deafness.due' }, { id: 'deafness', delay: 'deafness' })
    }),
    awaitRepetition: base.enqueueActions(({ enqueue }) => {
      enqueue.cancel('refusal')
      enqueue.raise({ type: 'refusal.over' }, { id: 'refusal', delay: 'refusal' })
    }),
    recordDraining: base.assign({ availability: 'draining' }),
    recordOpen: base.assign({ availability: 'open' }),
    recordProblem: base.assign(({ event }) => ({ problem: 'reason' in event ? event.reason : null })),
    recordDisconnected: base.assign({ problem: 'NATS is not reached' }),
    recordDeaf: base.assign({ problem: 'NATS does not deliver' }),
    recordTwin: base.assign(({ context: { self }, event }) => ({
      problem: `another member is called ${self.member}${
        'address' in event && event.address !== null ? `, at ${event.address}` : ''
      }: give this one another name`,
    })),
    forgetProblem: base.assign({ problem: null }),
  },
})

/**
 * This member: whether it is in the cluster and what the others hear of it. Its own models are served in every state. While
 * it is cut off its view of the others is frozen: it calls no member lost because nothing is heard of it.
 */
export const memberMachine = member.createMachine({
  id: 'member',
  description: 'This member of the cluster, from the first connection to its farewell.',
  context: ({ input }) => ({ ...input, availability: 'open', problem: null }),
  on: {
    'drain.asked': { actions: 'recordDraining' },
    'drain.undone': { actions: 'recordOpen' },
    'leave.asked': { target: '.leaving', actions: ['recordDraining', 'publish'] },
  },
  initial: 'connecting',
  states: {
    connecting: {
      description: 'NATS was not reached yet. The other members are not known.',
      tags: 'connecting',
      on: {
        'nats.connected': 'joining',
        'nats.refused': { target: 'refused', actions: 'recordProblem' },
        'nats.unreachable': { actions: 'recordProblem' },
      },
      initial: 'first',
      states: {
        first: {
          description:
            'This member has just begun. What another one has up is not started here before they have met.',
          tags: 'meeting',
          after: { meeting: 'alone' },
        },
        alone: { description: 'NATS is not waited for any longer: this member starts its own models.' },
      },
    },

    joining: {
      description: 'All members are asked for their cards. Nothing is said yet: the name may be taken.',
      tags: ['joining', 'meeting'],
      entry: ['forgetProblem', 'askCensus', 'thawView'],
      after: {
        census: [
          { guard: 'isDraining', target: 'joined.draining', actions: ['publish', 'listenAnew'] },
          { target: 'joined', actions: ['publish', 'listenAnew'] },
        ],
      },
      on: {
        'twin.proven': { target: 'refused.name', actions: ['recordTwin', 'freezeView'] },
        'nats.disconnected': { target: 'connecting.alone', actions: ['recordDisconnected', 'freezeView'] },
      },
    },

    joined: {
      description: 'This member is in the cluster: its cards are heard, by itself as well.',
      tags: 'joined',
      on: {
        'echo.heard': { actions: ['listenAnew', 'passEcho'] },
        'deafness.due': { target: 'cutOff.deaf', actions: ['recordDeaf', 'freezeView'] },
        // What was not heard meanwhile proves nothing.
        'stood.still': { target: 'cutOff.deaf', actions: ['freezeView', 'publish'] },
        'nats.disconnected': {
          target: 'cutOff.disconnected',
          actions: ['recordDisconnected', 'freezeView'],
        },
        'nats.refused': { actions: ['recordProblem', 'awaitRepetition'] },
        'refusal.over': { actions: 'forgetProblem' },
        'twin.proven': [
          { guard: 'hasPrecedence' },
          { target: 'refused.name', actions: ['recordTwin', 'sayBye', 'freezeView'] },
        ],
      },
      initial: 'open',
      states: {
        open: {
          description: 'It takes requests of other members.',
          on: { 'drain.asked': { target: 'draining', actions: ['recordDraining', 'publish'] } },
        },
        draining: {
          description: 'It takes no new requests and finishes the ones that it has.',
          tags: 'draining',
          on: { 'drain.undone': { target: 'open', actions: ['recordOpen', 'publish'] } },
        },
      },
    },

    cutOff: {
      description: 'NATS is not reached. Cards come over HTTP, and no member is lost because of silence.',
      tags: 'cut off',
      initial: 'deaf',
      states: {
        deaf: {
          description: 'There is a connection. Our own card shows that it delivers.',
          on: {
            'echo.heard': [
              {
                guard: 'isDraining',
                target: '#member.joined.draining',
                actions: ['forgetProblem', 'thawView', 'listenAnew', 'askCensus'],
              },
              {
                target: '#member.joined',
                actions: ['forgetProblem', 'thawView', 'listenAnew', 'askCensus'],
              },
            ],
            'nats.disconnected': { target: 'disconnected', actions: 'recordDisconnected' },
            'nats.refused': { actions: ['recordProblem', 'awaitRepetition'] },
            'refusal.over': { actions: 'recordDeaf' },
          },
        },
        disconnected: {
          description: 'There is no connection. What is sent would be dropped without a word.',
          on: {
            'nats.connected': { target: 'deaf', actions: ['publish', 'askCensus'] },
            'nats.refused': { target: '#member.refused', actions: 'recordProblem' },
            'nats.unreachable': { actions: 'recordProblem' },
          },
        },
      },
    },

    refused: {
      description: 'The cluster does not take this member. It is tried again.',
      tags: 'refused',
      initial: 'credentials',
      states: {
        credentials: {
          description: 'NATS refuses what this member shows. It joins as soon as that is mended.',
          on: {
            'nats.connected': '#member.joining',
            'nats.refused': { actions: 'recordProblem' },
            'nats.unreachable': { actions: 'recordProblem' },
          },
        },
        name: {
          description: 'Another member has the name of this one. It looks again now and then.',
          after: { retry: '#member.joining' },
          on: {
            'nats.disconnected': { target: '#member.connecting.alone', actions: 'recordDisconnected' },
          },
        },
      },
    },

    leaving: {
      description: 'This process ends: the last leases are waited for. The others choose it no more.',
      tags: 'draining',
      on: {
        'leave.asked': {},
        'drain.undone': {},
        'leave.done': { target: 'left', actions: 'sayBye' },
      },
    },

    left: { description: 'The farewell is said.', type: 'final' },
  },
})
