import { fromPromise, setup } from 'xstate'
import type { Card, NewerCard } from './messages.ts'

/** Events of a neighbour: what is heard of another member, and of this one's own view. All JSON. */
export type NeighbourEvent =
  /** A card of the member came over NATS. */
  | { readonly type: 'card.heard'; readonly card: Card | NewerCard }
  /** The member says that it leaves. */
  | { readonly type: 'bye.heard'; readonly boot: string }
  /** NATS knows of no such run of the member. */
  | { readonly type: 'responders.none'; readonly boot: string }
  /** A request could not reach it. */
  | { readonly type: 'connection.failed' }
  /** This member heard its own card: NATS delivers, so a silent neighbour is not silent because of us. */
  | { readonly type: 'echo.heard' }
  /** This member does not reach NATS: the silence of others proves nothing. */
  | { readonly type: 'view.frozen' }
  | { readonly type: 'view.thawed' }

/** The timers of the chart that are armed by an action. */
type NeighbourTimer = { readonly type: 'silence.due' } | { readonly type: 'settling.over' }

export type NeighbourEmitted =
  /** The member can be used: it is new, or back. */
  | { readonly type: 'neighbour.met'; readonly member: string; readonly boot: string }
  /** This run of it is gone: streams from and to it are cut, its leases end, requests that wait there go elsewhere. */
  | {
      readonly type: 'neighbour.lost'
      readonly member: string
      readonly boot: string
      readonly because: LossCause
    }
  /** Only HTTP reaches it. */
  | { readonly type: 'neighbour.muted'; readonly member: string; readonly boot: string }

/** It said so, its host refused a connection, neither NATS nor HTTP answered, or another run of it is there. */
export type LossCause = 'left' | 'refused' | 'silent' | 'restarted'

/**
 * What `GET /cluster/card` gave. `refused`: the host answered that nothing listens. Everything else that is no card of this
 * member is `silent`: a timeout, a host that cannot be reached, a failure on this side.
 */
export type NeighbourProbe =
  | { readonly outcome: 'answered'; readonly card: Card | NewerCard }
  | { readonly outcome: 'refused' | 'silent' }

export interface NeighbourPolicy {
  /** Time between two cards. */
  readonly beatMs: number
  /** Time without a card after which the member is asked over HTTP. */
  readonly lostMs: number
  /** Longest time for that answer. */
  readonly probeMs: number
}

export interface NeighbourInput {
  /** The first card that was heard of it. */
  readonly card: Card | NewerCard
  readonly policy: NeighbourPolicy
  /** Whether this member reaches NATS at the moment. */
  readonly isFrozen: boolean
}

export interface NeighbourContext {
  readonly member: string
  /** The latest card of its current run. */
  readonly card: Card | NewerCard
  /** Runs that another one has followed: their cards may still be under way. */
  readonly pastBoots: readonly string[]
  /** The run that said that it leaves. */
  readonly leftBoot: string | null
  /** This member does not reach NATS. */
  readonly isFrozen: boolean
  /** It was lost and is back since a short time: nothing is started there. */
  readonly isSettling: boolean
  readonly policy: NeighbourPolicy
}

/** Time in which a member that is back gets no cold start: a cable that flaps must not move starts, in milliseconds. */
const SETTLING_MS = 5_000
/** Time between two looks at a member that is lost, in milliseconds. */
const RETRY_MS = 5_000
/** Time after which a lost member is forgotten, in milliseconds. */
const FORGET_MS = 600_000
/** A run that is over is remembered while its last cards may be under way. */
const MAX_PAST_BOOTS = 8

type Scope = { readonly context: NeighbourContext; readonly event: object }

const base = setup({
  types: {
    context: {} as NeighbourContext,
    events: {} as NeighbourEvent | NeighbourTimer,
    emitted: {} as NeighbourEmitted,
    input: {} as NeighbourInput,
  },
  actors: {
    /** Asks the member for its card over HTTP. A body that it sends meanwhile is an answer, too. Never rejects. */
    probe: fromPromise<NeighbourProbe, NeighbourContext>(() => {
      throw new Error('The effect "probe" is not provided.')
    }),
  },
  delays: {
    beat: ({ context: { policy } }) => policy.beatMs,
    silence: ({ context: { policy } }) => policy.lostMs,
    probeTimeout: ({ context: { policy } }) => policy.probeMs,
    settling: SETTLING_MS,
    retry: RETRY_MS,
    forget: FORGET_MS,
  },
  guards: {
    /**
     * It is older than what is known, of a run that is over, or the same once more. A run keeps its address: a card with
     * another one is forged, and nothing has been asked there.
     */
    isStale: ({ context, event }: Scope) => {
      const { boot, seq, address } = cardOf(event)
      return (
        boot === context.leftBoot ||
        context.pastBoots.includes(boot) ||
        (boot === context.card.boot && (seq <= context.card.seq || address !== context.card.address))
      )
    },
    /** The same of a member that is lost: its latest run is over, so an earlier one may have been the late one. */
    isStaleOfLost: ({ context, event }: Scope) => {
      const { boot, seq } = cardOf(event)
      return boot === context.leftBoot || (boot === context.card.boot && seq <= context.card.seq)
    },
    /** The card is of another run than the one before. */
    isRestart: ({ context, event }: Scope) => cardOf(event).boot !== context.card.boot,
    startsDraining: ({ context, event }: Scope) => isDraining(cardOf(event)) && !isDraining(context.card),
    endsDraining: ({ context, event }: Scope) => !isDraining(cardOf(event)) && isDraining(context.card),
    isDraining: ({ context }: Scope) => isDraining(context.card),
    isFrozen: ({ context }: Scope) => context.isFrozen,
    /** What is told is about the run that is known. */
    isCurrentRun: ({ context, event }: Scope) => 'boot' in event && event.boot === context.card.boot,
    isRefused: ({ event }: Scope) => probeOf(event).outcome === 'refused',
    isAnswered: ({ context, event }: Scope) => runOf(event) === context.card.boot && !hasLeft(context, event),
    /** The answer is of another run: the one that is known is over. An answer is of now, a card may be old. */
    isOtherRun: ({ context, event }: Scope) =>
      runOf(event) !== undefined && runOf(event) !== context.card.boot && !hasLeft(context, event),
  },
})

const lost = (because: LossCause) =>
  base.emit(({ context: { member, card } }) => ({
    type: 'neighbour.lost' as const,
    member,
    boot: card.boot,
    because,
  }))

const neighbour = base.extend({
  actions: {
    recordCard: base.assign(({ context, event }) => withCard(context, cardOf(event))),
    recordAnswer: base.assign(({ context, event }) => {
      const probe = probeOf(event)
      return probe.outcome === 'answered' ? withCard(context, probe.card) : {}
    }),
    recordLeaving: base.assign(({ context }) => ({ leftBoot: context.card.boot })),
    recordFrozen: base.assign({ isFrozen: true }),
    recordThawed: base.assign({ isFrozen: false }),
    recordSettled: base.assign({ isSettling: false }),
    listenAnew: base.enqueueActions(({ enqueue }) => {
      enqueue.cancel('silence')
      enqueue.raise({ type: 'silence.due' }, { id: 'silence', delay: 'silence' })
    }),
    settle: base.enqueueActions(({ enqueue }) => {
      enqueue.assign({ isSettling: true })
      enqueue.cancel('settling')
      enqueue.raise({ type: 'settling.over' }, { id: 'settling', delay: 'settling' })
    }),
    reportMet: base.emit(({ context: { member, card } }) => ({
      type: 'neighbour.met',
      member,
      boot: card.boot,
    })),
    reportMuted: base.emit(({ context: { member, card } }) => ({
      type: 'neighbour.muted',
      member,
      boot: card.boot,
    })),
    reportLeft: lost('left'),
    reportRefused: lost('refused'),
    reportSilent: lost('silent'),
    reportRestarted: lost('restarted'),
  },
})

/**
 * Another member of the cluster, as this one sees it. Silence on NATS is no loss: HTTP decides. While this member is
 * itself cut off from NATS, only a refused connection does.
 */
export const neighbourMachine = neighbour.createMachine({
  id: 'neighbour',
  description: 'Another member of the cluster: whether it can be used, and by what this is known.',
  context: ({ input: { card, policy, isFrozen } }) => ({
    member: card.member,
    card,
    pastBoots: [],
    leftBoot: null,
    isFrozen,
    isSettling: false,
    policy,
  }),
  on: {
    'settling.over': { actions: 'recordSettled' },
    'view.frozen': { actions: 'recordFrozen' },
    'view.thawed': { actions: 'recordThawed' },
    'bye.heard': { guard: 'isCurrentRun', target: '.lost', actions: ['recordLeaving', 'reportLeft'] },
  },
  initial: 'meeting',
  states: {
    meeting: {
      description: 'Its first card was heard. It is used as soon as HTTP reaches it.',
      tags: 'unmet',
      invoke: {
        id: 'probe',
        src: 'probe',
        input: ({ context }) => context,
        onDone: [
          { guard: 'isAnswered', target: 'welcoming', actions: 'recordAnswer' },
          { guard: 'isOtherRun', target: 'welcoming', actions: 'recordAnswer' },
          // It may reach this member all the same, so its requests here go on.
          { target: 'lost' },
        ],
      },
      after: { probeTimeout: 'lost' },
      on: {
        'card.heard': [{ guard: 'isStale' }, { actions: 'recordCard' }],
      },
    },

    welcoming: {
      description: 'It is new or back, and has answered: passed at once.',
      entry: 'reportMet',
      always: [
        { guard: 'isFrozen', target: 'frozen' },
        { guard: 'isDraining', target: 'alive.draining', actions: 'listenAnew' },
        { target: 'alive', actions: 'listenAnew' },
      ],
    },

    alive: {
      description: 'Its cards come.',
      tags: 'usable',
      on: {
        'card.heard': [
          { guard: 'isStale' },
          // A late card of a former run looks the same, so HTTP says which run is there.
          { guard: 'isRestart', target: 'doubted' },
          { guard: 'startsDraining', target: '.draining', actions: ['recordCard', 'listenAnew'] },
          { guard: 'endsDraining', target: '.open', actions: ['recordCard', 'listenAnew'] },
          { actions: ['recordCard', 'listenAnew'] },
        ],
        'silence.due': 'overdue',
        'connection.failed': 'doubted',
        'responders.none': { guard: 'isCurrentRun', target: 'silent' },
        'view.frozen': { target: 'frozen', actions: 'recordFrozen' },
        'view.thawed': { actions: ['recordThawed', 'listenAnew'] },
      },
      initial: 'open',
      states: {
        open: { description: 'It takes requests.' },
        draining: { description: 'It finishes its requests and takes no new ones.', tags: 'draining' },
      },
    },

    doubted: {
      description:
        'A request could not reach it, or a card of another run came: HTTP is asked at once who is there.',
      tags: 'usable',
      invoke: {
        id: 'probe',
        src: 'probe',
        input: ({ context }) => context,
        onDone: [
          { guard: 'isRefused', target: 'lost', actions: 'reportRefused' },
          {
            guard: 'isOtherRun',
            target: 'welcoming',
            actions: ['reportRestarted', 'recordAnswer', 'settle'],
          },
          { target: 'believed', actions: 'recordAnswer' },
        ],
      },
      // It may only be busy. If its cards stay out as well, the silence clock runs on.
      after: { probeTimeout: 'believed' },
      on: {
        'card.heard': [
          { guard: 'isStale' },
          { guard: 'isRestart' },
          { actions: ['recordCard', 'listenAnew'] },
        ],
        'silence.due': 'overdue',
        'responders.none': { guard: 'isCurrentRun', target: 'silent' },
        'view.frozen': { target: 'frozen', actions: 'recordFrozen' },
        'view.thawed': { actions: ['recordThawed', 'listenAnew'] },
      },
    },

    believed: {
      description: 'HTTP proved nothing against it: passed at once.',
      tags: 'usable',
      always: [{ guard: 'isDraining', target: 'alive.draining' }, { target: 'alive' }],
    },

    overdue: {
      description: 'No card for too long. This counts only after this member has heard its own card since.',
      tags: ['usable', 'overdue'],
      on: {
        'echo.heard': 'silent',
        'connection.failed': 'silent',
        'responders.none': { guard: 'isCurrentRun', target: 'silent' },
        'card.heard': [
          { guard: 'isStale' },
          { guard: 'isRestart', target: 'silent' },
          { target: 'believed', actions: ['recordCard', 'listenAnew'] },
        ],
        'view.frozen': { target: 'frozen', actions: 'recordFrozen' },
        'view.thawed': { target: 'believed', actions: ['recordThawed', 'listenAnew'] },
      },
    },

    silent: {
      description: 'NATS delivers, and nothing comes from it: HTTP decides whether it is muted or lost.',
      tags: 'usable',
      invoke: {
        id: 'probe',
        src: 'probe',
        input: ({ context }) => context,
        onDone: [
          { guard: 'isAnswered', target: 'muted', actions: 'recordAnswer' },
          {
            guard: 'isOtherRun',
            target: 'muted',
            actions: ['reportRestarted', 'recordAnswer', 'settle'],
          },
          { guard: 'isRefused', target: 'lost', actions: 'reportRefused' },
          { target: 'lost', actions: 'reportSilent' },
        ],
      },
      after: { probeTimeout: { target: 'lost', actions: 'reportSilent' } },
      on: {
        'card.heard': [
          { guard: 'isStale' },
          { guard: 'isRestart' },
          { target: 'believed', actions: ['recordCard', 'listenAnew'] },
        ],
        'view.frozen': { target: 'frozen', actions: 'recordFrozen' },
        'view.thawed': { target: 'believed', actions: ['recordThawed', 'listenAnew'] },
      },
    },

    muted: {
      description:
        'HTTP reaches it, NATS does not. It keeps its streams and ranks last; its cards are asked for.',
      tags: 'muted',
      entry: 'reportMuted',
      on: {
        'card.heard': [
          { guard: 'isStale' },
          { guard: 'isRestart', target: '.probing' },
          { target: 'believed', actions: ['recordCard', 'listenAnew'] },
        ],
        'view.frozen': { target: 'frozen', actions: 'recordFrozen' },
      },
      initial: 'resting',
      states: {
        resting: {
          description: 'Its last answer is younger than a beat.',
          after: { beat: 'probing' },
          on: { 'connection.failed': 'probing' },
        },
        probing: {
          description: 'Its card is asked for.',
          invoke: {
            id: 'probe',
            src: 'probe',
            input: ({ context }) => context,
            onDone: [
              { guard: 'isAnswered', target: 'resting', actions: 'recordAnswer' },
              {
                guard: 'isOtherRun',
                target: 'resting',
                actions: ['reportRestarted', 'recordAnswer', 'settle'],
              },
              { guard: 'isRefused', target: '#neighbour.lost', actions: 'reportRefused' },
              { target: 'probingAgain' },
            ],
          },
          after: { probeTimeout: 'probingAgain' },
        },
        probingAgain: {
          description: 'It did not answer in time. It may only be busy, so it is asked once more.',
          invoke: {
            id: 'probe',
            src: 'probe',
            input: ({ context }) => context,
            onDone: [
              { guard: 'isAnswered', target: 'resting', actions: 'recordAnswer' },
              {
                guard: 'isOtherRun',
                target: 'resting',
                actions: ['reportRestarted', 'recordAnswer', 'settle'],
              },
              { guard: 'isRefused', target: '#neighbour.lost', actions: 'reportRefused' },
              { target: '#neighbour.lost', actions: 'reportSilent' },
            ],
          },
          after: { probeTimeout: { target: '#neighbour.lost', actions: 'reportSilent' } },
        },
      },
    },

    frozen: {
      description:
        'This member does not reach NATS: cards come over HTTP. Silence proves nothing, a refused connection does.',
      on: {
        'card.heard': [
          { guard: 'isStale' },
          { guard: 'isRestart', target: '.probing' },
          { actions: 'recordCard' },
        ],
        'view.thawed': { target: 'believed', actions: ['recordThawed', 'listenAnew'] },
      },
      initial: 'probing',
      states: {
        resting: {
          description: 'Its last answer is younger than a beat.',
          tags: 'usable',
          after: { beat: 'probing' },
          on: { 'connection.failed': 'probing' },
        },
        probing: {
          description: 'Its card is asked for.',
          tags: 'usable',
          invoke: {
            id: 'probe',
            src: 'probe',
            input: ({ context }) => context,
            onDone: [
              { guard: 'isAnswered', target: 'resting', actions: 'recordAnswer' },
              {
                guard: 'isOtherRun',
                target: 'resting',
                actions: ['reportRestarted', 'recordAnswer', 'settle'],
              },
              { guard: 'isRefused', target: '#neighbour.lost', actions: 'reportRefused' },
              { target: 'unreachable' },
            ],
          },
          after: { probeTimeout: 'unreachable' },
        },
        unreachable: {
          description: 'Nothing reaches it from here, so it ranks last; that is no verdict on it.',
          tags: ['muted', 'unreachable'],
          after: { beat: 'probingAgain' },
        },
        probingAgain: {
          description: 'It is asked again whether it can be reached.',
          tags: ['muted', 'unreachable'],
          invoke: {
            id: 'probe',
            src: 'probe',
            input: ({ context }) => context,
            onDone: [
              { guard: 'isAnswered', target: 'resting', actions: 'recordAnswer' },
              {
                guard: 'isOtherRun',
                target: 'resting',
                actions: ['reportRestarted', 'recordAnswer', 'settle'],
              },
              { guard: 'isRefused', target: '#neighbour.lost', actions: 'reportRefused' },
              { target: 'unreachable' },
            ],
          },
          after: { probeTimeout: 'unreachable' },
        },
      },
    },

    lost: {
      description: 'It is gone. Its next card, or an answer over HTTP, brings it back.',
      tags: 'lost',
      after: { forget: 'forgotten' },
      on: { 'bye.heard': { guard: 'isCurrentRun', target: '.resting', actions: 'recordLeaving' } },
      initial: 'resting',
      states: {
        resting: {
          description: 'Nothing is heard of it.',
          after: { retry: 'retrying' },
          on: {
            'card.heard': [{ guard: 'isStaleOfLost' }, { target: 'greeting', actions: 'recordCard' }],
            'bye.heard': { guard: 'isCurrentRun' },
          },
        },
        greeting: {
          description: 'A card of it was heard: if HTTP reaches it as well, it is back.',
          invoke: {
            id: 'probe',
            src: 'probe',
            input: ({ context }) => context,
            onDone: [
              { guard: 'isAnswered', target: '#neighbour.welcoming', actions: ['recordAnswer', 'settle'] },
              { guard: 'isOtherRun', target: '#neighbour.welcoming', actions: ['recordAnswer', 'settle'] },
              { target: 'pausing' },
            ],
          },
          after: { probeTimeout: 'pausing' },
          on: { 'card.heard': [{ guard: 'isStale' }, { actions: 'recordCard' }] },
        },
        pausing: {
          description: 'Its cards come and HTTP did not reach it: it is not asked with each of them.',
          after: { silence: 'resting' },
          on: {
            'card.heard': [
              { guard: 'isStaleOfLost' },
              // The card that was heard before may have been a late one of a run that is over.
              { guard: 'isRestart', target: 'greeting', actions: 'recordCard' },
            ],
          },
        },
        retrying: {
          description: 'It is asked over HTTP: NATS may be away on either side.',
          invoke: {
            id: 'probe',
            src: 'probe',
            input: ({ context }) => context,
            onDone: [
              { guard: 'isAnswered', target: 'returned', actions: ['recordAnswer', 'settle'] },
              { guard: 'isOtherRun', target: 'returned', actions: ['recordAnswer', 'settle'] },
              { target: 'resting' },
            ],
          },
          after: { probeTimeout: 'resting' },
          on: {
            'card.heard': [{ guard: 'isStaleOfLost' }, { target: 'greeting', actions: 'recordCard' }],
          },
        },
        returned: {
          description: 'HTTP alone reaches it: passed at once.',
          entry: 'reportMet',
          always: [{ guard: 'isFrozen', target: '#neighbour.frozen' }, { target: '#neighbour.muted' }],
        },
      },
    },

    forgotten: {
      description: 'It was lost for long. Its next card is that of a new neighbour.',
      type: 'final',
    },
  },
})

function withCard(
  context: NeighbourContext,
  card: Card | NewerCard,
): Pick<NeighbourContext, 'card' | 'pastBoots' | 'leftBoot'> {
  const { card: before, pastBoots, leftBoot } = context
  if (card.boot === before.boot) return { card: card.seq > before.seq ? card : before, pastBoots, leftBoot }
  const past = [...pastBoots, before.boot].filter((boot) => boot !== card.boot)
  // A run that has left because another one had its name joins again when that one is gone.
  return { card, pastBoots: past.slice(-MAX_PAST_BOOTS), leftBoot: null }
}

function cardOf(event: object): Card | NewerCard {
  return (event as { readonly card: Card | NewerCard }).card
}

function probeOf(event: object): NeighbourProbe {
  return (event as { readonly output: NeighbourProbe }).output
}

/** The run that answered. */
function runOf(event: object): string | undefined {
  const probe = probeOf(event)
  return probe.outcome === 'answered' ? probe.card.boot : undefined
}

function hasLeft({ leftBoot }: NeighbourContext, event: object): boolean {
  return leftBoot !== null && runOf(event) === leftBoot
}

function isDraining(card: Card | NewerCard): boolean {
  return card.services !== undefined && card.state === 'draining'
}
