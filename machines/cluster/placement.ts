import { fromPromise, setup } from 'xstate'
import { chooseHome } from './home.ts'
import type { CardServiceState, StartClaim } from './messages.ts'

/** Events of a placement. All JSON. */
export type PlacementEvent =
  /** A request needs the service, and this host could start it. Asked again: the same answer. */
  | { readonly type: 'start.wanted' }
  /** The answer is not waited for any longer, or the permitted start is not made. */
  | { readonly type: 'start.abandoned' }
  /** The server is ready. */
  | { readonly type: 'start.ready' }
  /** The start failed, or the server is gone again. */
  | { readonly type: 'start.ended' }
  /** This process did not run for a while: its claim may be another member's now. */
  | { readonly type: 'stood.still' }
  /** NATS is reached again after it was not. */
  | { readonly type: 'nats.back' }

export interface PlacementEmitted {
  /** The start that was permitted must be given up: `member` has it. */
  readonly type: 'start.revoked'
  readonly member: string
}

/** The service at another member. */
export interface ServiceSight {
  readonly member: string
  readonly state: CardServiceState
  /** It would take one more request at once. */
  readonly hasRoom: boolean
  /** It could start it: it does not drain, and the service fits. */
  readonly canStart: boolean
  /** It was lost and is back: a start there may be over already, and the claim tells. */
  readonly isSettling: boolean
  /** Its server sleeps, and there is room to wake it. @default false */
  readonly canWake?: boolean
}

/** The claim on the start of the service in the store. */
export interface HeldClaim {
  readonly holder: StartClaim
  readonly revision: number
}

/** What became of a claim that was asked for, read or renewed. `unavailable`: the store does not answer. */
export type ClaimReply =
  | { readonly outcome: 'ours'; readonly revision: number }
  | ({ readonly outcome: 'held' } & HeldClaim)
  | { readonly outcome: 'free' }
  | { readonly outcome: 'unavailable' }

/** What the run that holds a claim says of the service now. `none`: NATS knows of no such run of that member. */
export type HolderReply =
  | { readonly outcome: 'answered'; readonly state: CardServiceState }
  | { readonly outcome: 'none' | 'silent' }

/** The same over HTTP. `gone`: nothing listens, or another run of that member does, or the member is lost. */
export type HolderProbe =
  | { readonly outcome: 'answered'; readonly state: CardServiceState }
  | { readonly outcome: 'gone' | 'silent' }

export type PlacementOutcome =
  | { readonly outcome: 'permitted' }
  | {
      readonly outcome: 'elsewhere'
      readonly member: string
      /**
       * It starts or has it, its server sleeps there, it holds the claim on the start, or it is the one that starts it
       * while no claim can be had.
       */
      readonly because: 'starting' | 'ready' | 'asleep' | 'claim' | 'home'
    }

export interface PlacementPolicy {
  /** Longest time for one answer of the store. */
  readonly claimTimeoutMs: number
  /** Time after which the store drops a claim that is not renewed. */
  readonly claimTtlMs: number
  /** Time that a claim is kept after the server is ready. */
  readonly claimLingerMs: number
  /** `local`: a server that is ready or sleeps elsewhere does not keep this host from starting its own. */
  readonly prefer: 'warm' | 'local'
}

export interface PlacementInput {
  /** What is claimed: the same text at every member that could run the service. */
  readonly service: string
  readonly self: StartClaim
  readonly policy: PlacementPolicy
}

export interface PlacementContext extends PlacementInput {
  /** The revision of our claim; `null`: we hold none that we know of. */
  readonly revision: number | null
  /** The claim of another run, ours before a restart included. */
  readonly held: HeldClaim | null
  /** How the last question ended; `null`: it has not, or there was none. */
  readonly outcome: PlacementOutcome | null
}

type Scope = { readonly context: PlacementContext; readonly event: object }

const notProvided = (port: string): never => {
  throw new Error(`The effect "${port}" is not provided.`)
}

const base = setup({
  types: {
    context: {} as PlacementContext,
    events: {} as PlacementEvent,
    emitted: {} as PlacementEmitted,
    input: {} as PlacementInput,
  },
  actors: {
    /** The service at the other members, lost ones left out. A member that NATS does not reach is asked over HTTP. Never rejects. */
    look: fromPromise<readonly ServiceSight[], PlacementContext>(() => notProvided('look')),
    /** The same, each member asked over HTTP now; one that does not answer is left out. Never rejects. */
    askMembers: fromPromise<readonly ServiceSight[], PlacementContext>(() => notProvided('askMembers')),
    /** Creates the claim. Stopped: gives up waiting, and gives back what comes too late. Never rejects. */
    claim: fromPromise<ClaimReply, PlacementContext>(() => notProvided('claim')),
    /** Puts ours in the place of `held`, if that still has its revision. Stopped: as `claim`. Never rejects. */
    takeOver: fromPromise<ClaimReply, PlacementContext>(() => notProvided('takeOver')),
    /** Reads the claim. Never rejects. */
    confirm: fromPromise<ClaimReply, PlacementContext>(() => notProvided('confirm')),
    /** Writes our claim again, if it still has its revision; it has another one then. What comes too late is ours. Never rejects. */
    renew: fromPromise<ClaimReply, PlacementContext>(() => notProvided('renew')),
    /** Asks the run that `held` names over NATS. Never rejects. */
    askHolder: fromPromise<HolderReply, PlacementContext>(() => notProvided('askHolder')),
    /** Asks it over HTTP. Never rejects. */
    probeHolder: fromPromise<HolderProbe, PlacementContext>(() => notProvided('probeHolder')),
  },
  delays: {
    claimTimeout: ({ context: { policy } }) => policy.claimTimeoutMs,
    renewal: ({ context: { policy } }) => policy.claimTtlMs / 3,
    // A claim that outlived its last renewal would protect nothing.
    claimLinger: ({ context: { policy } }) => Math.min(policy.claimLingerMs, policy.claimTtlMs / 3),
  },
  guards: {
    /** Another member has the service, or will. */
    isElsewhere: ({ context, event }: Scope) =>
      findElsewhere(context, outputOf<readonly ServiceSight[]>(event)) !== undefined,
    isHome: ({ context, event }: Scope) => findHome(context, outputOf(event)) === context.self.member,
    isOurs: ({ context, event }: Scope) => findRevision(context, outputOf(event)) !== null,
    isHeld: ({ event }: Scope) => outputOf<ClaimReply>(event).outcome === 'held',
    isFree: ({ event }: Scope) => outputOf<ClaimReply>(event).outcome === 'free',
    /** It is a run of this member that is over: two members of one name do not exist. */
    isHeldByFormerSelf: ({ context, event }: Scope) => {
      const reply = outputOf<ClaimReply>(event)
      return reply.outcome === 'held' && reply.holder.member === context.self.member
    },
    hasClaim: ({ context }: Scope) => context.revision !== null,
    isHolderGone: ({ event }: Scope) => outputOf<HolderProbe>(event).outcome === 'gone',
    /** It neither asks nor starts: it has left its claim behind. */
    isHolderIdle: ({ event }: Scope) => {
      const reply = outputOf<HolderReply | HolderProbe>(event)
      return reply.outcome === 'answered' && IDLE.includes(reply.state)
    },
    isHolderBusy: ({ event }: Scope) => {
      const reply = outputOf<HolderReply | HolderProbe>(event)
      return reply.outcome === 'answered' && !IDLE.includes(reply.state)
    },
  },
})

const placement = base.extend({
  actions: {
    beginAsking: base.assign({ outcome: null, held: null }),
    recordClaim: base.assign(({ context, event }) => ({
      revision: findRevision(context, outputOf(event)),
      held: null,
    })),
    recordHolder: base.assign(({ event }) => {
      const reply = outputOf<ClaimReply>(event)
      return {
        revision: null,
        held: reply.outcome === 'held' ? { holder: reply.holder, revision: reply.revision } : null,
      }
    }),
    forgetClaim: base.assign({ revision: null }),
    recordPermission: base.assign({ outcome: { outcome: 'permitted' } }),
    recordElsewhere: base.assign(({ context, event }) => ({
      outcome: findElsewhere(context, outputOf<readonly ServiceSight[]>(event)) ?? null,
    })),
    recordHome: base.assign(({ context, event }) => ({
      outcome: { outcome: 'elsewhere', member: findHome(context, outputOf(event)), because: 'home' },
    })),
    recordHolderElsewhere: base.assign(({ context: { held } }) => ({
      outcome: { outcome: 'elsewhere', member: held?.holder.member ?? '', because: 'claim' },
    })),
    reportRevocation: base.emit(({ context: { outcome } }) => ({
      type: 'start.revoked',
      member: outcome?.outcome === 'elsewhere' ? outcome.member : '',
    })),
    /** Deletes our claim, if it still has its revision. `src/cluster` provides this. */
    release: () => {},
  },
})

/**
 * Where one service starts, asked at the member that would spawn it. At most one member is between the claim and a ready
 * server: it looks, claims, looks again, and reads its claim once more after everything that it waited for.
 */
export const placementMachine = placement.createMachine({
  id: 'placement',
  description: 'The right to start one service among the members of the cluster.',
  context: ({ input }) => ({ ...input, revision: null, held: null, outcome: null }),
  initial: 'free',
  states: {
    free: {
      description: 'No start is wanted here. The claim is not ours.',
      tags: 'free',
      on: { 'start.wanted': { target: 'placing', actions: 'beginAsking' } },
    },

    placing: {
      description: 'A start is wanted. On the card the service is `asking`, which ranks as cold.',
      tags: 'asking',
      on: { 'start.abandoned': { target: 'free', actions: ['release', 'forgetClaim'] } },
      initial: 'looking',
      states: {
        looking: {
          description: 'Another member may have the service already.',
          invoke: {
            id: 'look',
            src: 'look',
            input: ({ context }) => context,
            onDone: [
              { guard: 'isElsewhere', target: '#placement.free', actions: 'recordElsewhere' },
              { target: 'claiming' },
            ],
          },
        },

        claiming: {
          description: 'The claim is asked for. One member gets it.',
          invoke: {
            id: 'claim',
            src: 'claim',
            input: ({ context }) => context,
            onDone: [
              { guard: 'isOurs', target: 'lookingAgain', actions: 'recordClaim' },
              { guard: 'isHeldByFormerSelf', target: 'takingOver', actions: 'recordHolder' },
              { guard: 'isHeld', target: 'proving', actions: 'recordHolder' },
              { target: 'homing' },
            ],
          },
          after: { claimTimeout: 'homing' },
        },

        proving: {
          description:
            'Another run holds the claim. If it is dead or has no use for it, the claim is taken over.',
          initial: 'asking',
          states: {
            asking: {
              description: 'The holder is asked over NATS: this takes a few milliseconds.',
              invoke: {
                id: 'askHolder',
                src: 'askHolder',
                input: ({ context }) => context,
                onDone: [
                  { guard: 'isHolderBusy', target: '#placement.free', actions: 'recordHolderElsewhere' },
                  { guard: 'isHolderIdle', target: '#placement.placing.takingOver' },
                  { target: 'probing' },
                ],
              },
              after: { claimTimeout: 'probing' },
            },
            probing: {
              description: 'NATS does not reach the holder. That is no death: it is asked over HTTP.',
              invoke: {
                id: 'probeHolder',
                src: 'probeHolder',
                input: ({ context }) => context,
                onDone: [
                  { guard: 'isHolderGone', target: '#placement.placing.takingOver' },
                  { guard: 'isHolderIdle', target: '#placement.placing.takingOver' },
                  // One that is silent is lost soon, and the request comes back.
                  { target: '#placement.free', actions: 'recordHolderElsewhere' },
                ],
              },
            },
          },
        },

        takingOver: {
          description: 'Our claim takes the place of one whose holder is gone. One member succeeds.',
          invoke: {
            id: 'takeOver',
            src: 'takeOver',
            input: ({ context }) => context,
            onDone: [
              { guard: 'isOurs', target: 'lookingAgain', actions: 'recordClaim' },
              {
                guard: 'isHeld',
                target: '#placement.free',
                actions: ['recordHolder', 'recordHolderElsewhere'],
              },
              { guard: 'isFree', target: 'claiming' },
              { target: 'homing' },
            ],
          },
          after: { claimTimeout: 'homing' },
        },

        lookingAgain: {
          description:
            'The claim is ours. It may have been won after another member was done, so the members are looked at again.',
          invoke: {
            id: 'look',
            src: 'look',
            input: ({ context }) => context,
            onDone: [
              {
                guard: 'isElsewhere',
                target: '#placement.free',
                actions: ['recordElsewhere', 'release', 'forgetClaim'],
              },
              { target: 'confirming' },
            ],
          },
        },

        confirming: {
          description: 'The last wait before a start: the claim is read, because it may be lost meanwhile.',
          invoke: {
            id: 'confirm',
            src: 'confirm',
            input: ({ context }) => context,
            onDone: [
              { guard: 'isOurs', target: '#placement.permitted.claimed', actions: 'recordClaim' },
              {
                guard: 'isHeld',
                target: '#placement.free',
                actions: ['recordHolder', 'recordHolderElsewhere'],
              },
              { guard: 'isFree', target: 'claiming', actions: 'forgetClaim' },
              { target: 'homing' },
            ],
          },
          after: { claimTimeout: 'homing' },
          on: { 'stood.still': { target: 'confirming', reenter: true } },
        },

        homing: {
          description:
            'No claim can be had: NATS is away. All members choose the same one of the members that answer, without asking each other.',
          tags: 'homing',
          invoke: {
            id: 'askMembers',
            src: 'askMembers',
            input: ({ context }) => context,
            onDone: [
              {
                guard: 'isElsewhere',
                target: '#placement.free',
                actions: ['recordElsewhere', 'release', 'forgetClaim'],
              },
              { guard: 'isHome', target: '#placement.permitted.unclaimed' },
              { target: '#placement.free', actions: ['recordHome', 'release', 'forgetClaim'] },
            ],
          },
          on: { 'stood.still': { target: 'homing', reenter: true } },
        },
      },
    },

    permitted: {
      description: 'The service is starting here. No other member starts it.',
      tags: 'permitted',
      entry: 'recordPermission',
      on: {
        'start.ready': 'lingering',
        'start.ended': { target: 'free', actions: ['release', 'forgetClaim'] },
        'start.abandoned': { target: 'free', actions: ['release', 'forgetClaim'] },
      },
      initial: 'claimed',
      states: {
        claimed: {
          description: 'The claim is ours and is renewed now and then.',
          after: { renewal: 'renewing' },
          on: { 'stood.still': 'verifying', 'nats.back': 'verifying' },
        },
        renewing: {
          description: 'The claim is written again, so that the store does not drop it.',
          invoke: {
            id: 'renew',
            src: 'renew',
            input: ({ context }) => context,
            onDone: [
              { guard: 'isOurs', target: 'claimed', actions: 'recordClaim' },
              { guard: 'isHeld', target: 'revoked', actions: ['recordHolder', 'recordHolderElsewhere'] },
              { guard: 'isFree', target: 'reclaiming', actions: 'forgetClaim' },
              { target: 'claimed' },
            ],
          },
          after: { claimTimeout: 'claimed' },
          on: { 'stood.still': 'verifying', 'nats.back': 'verifying' },
        },
        verifying: {
          description:
            'This process stood still or was cut off: another member may have taken the claim over.',
          invoke: {
            id: 'confirm',
            src: 'confirm',
            input: ({ context }) => context,
            onDone: [
              { guard: 'isOurs', target: 'claimed', actions: 'recordClaim' },
              { guard: 'isHeld', target: 'revoked', actions: ['recordHolder', 'recordHolderElsewhere'] },
              { guard: 'isFree', target: 'reclaiming', actions: 'forgetClaim' },
              { target: 'unverified' },
            ],
          },
          after: { claimTimeout: 'unverified' },
          on: {
            'stood.still': { target: 'verifying', reenter: true },
            'nats.back': { target: 'verifying', reenter: true },
          },
        },
        unverified: {
          description: 'The store did not say whose the claim is. It is asked again.',
          after: { claimTimeout: 'verifying' },
          on: { 'nats.back': 'verifying' },
        },
        unclaimed: {
          description: 'The start was permitted without a claim. One is asked for as soon as NATS answers.',
          after: { renewal: 'reclaiming' },
          on: { 'nats.back': 'reclaiming' },
        },
        reclaiming: {
          description: 'A claim is asked for while the start is under way.',
          invoke: {
            id: 'claim',
            src: 'claim',
            input: ({ context }) => context,
            onDone: [
              { guard: 'isOurs', target: 'relooking', actions: 'recordClaim' },
              // Its holder looks at the members before it starts, and sees this start.
              { target: 'unclaimed' },
            ],
          },
          after: { claimTimeout: 'unclaimed' },
        },
        relooking: {
          description: 'Without a claim another member may have started it too: then this start is given up.',
          invoke: {
            id: 'look',
            src: 'look',
            input: ({ context }) => context,
            onDone: [
              { guard: 'isElsewhere', target: 'revoked', actions: 'recordElsewhere' },
              { target: 'claimed' },
            ],
          },
          on: { 'stood.still': 'verifying', 'nats.back': 'verifying' },
        },
        revoked: {
          description: 'The start is given up: another member has the service.',
          entry: 'reportRevocation',
          always: { target: '#placement.free', actions: ['release', 'forgetClaim'] },
        },
      },
    },

    lingering: {
      description:
        'The server is ready. The claim is kept until every member has heard of it, so that none starts another one.',
      tags: 'lingering',
      after: { claimLinger: { target: 'free', actions: ['release', 'forgetClaim'] } },
      on: {
        'start.ended': { target: 'free', actions: ['release', 'forgetClaim'] },
        'start.abandoned': { target: 'free', actions: ['release', 'forgetClaim'] },
        'start.wanted': [
          { guard: 'hasClaim', target: 'placing.lookingAgain', actions: 'beginAsking' },
          { target: 'placing', actions: 'beginAsking' },
        ],
      },
    },
  },
})

/** States of a service in which a member has no use for a claim on its start. */
const IDLE: readonly CardServiceState[] = ['cold', 'failed']

/** The result of the effect. */
function outputOf<Output>(event: object): Output {
  return (event as { readonly output: Output }).output
}

function findElsewhere(
  { service, policy }: PlacementContext,
  sights: readonly ServiceSight[],
): PlacementOutcome | undefined {
  const first = (because: 'starting' | 'ready' | 'asleep', fits: (sight: ServiceSight) => boolean) => {
    const members = sights.filter(fits).map((sight) => sight.member)
    const member = chooseHome(service, members)
    return member === undefined ? undefined : ({ outcome: 'elsewhere', member, because } as const)
  }
  return (
    first('starting', ({ state, isSettling }) => state === 'starting' && !isSettling) ??
    (policy.prefer === 'local'
      ? undefined
      : (first('ready', ({ state, hasRoom }) => state === 'ready' && hasRoom) ??
        first('asleep', ({ canWake, hasRoom, isSettling }) => canWake === true && hasRoom && !isSettling)))
  )
}

function findHome({ service, self }: PlacementContext, sights: readonly ServiceSight[]): string {
  const others = sights.filter(({ canStart }) => canStart).map(({ member }) => member)
  return chooseHome(service, [self.member, ...others]) ?? self.member
}

/** The revision of a claim that is of this run: an answer that was lost may have won it before. */
function findRevision({ self }: PlacementContext, reply: ClaimReply): number | null {
  if (reply.outcome === 'ours') return reply.revision
  const isOwn =
    reply.outcome === 'held' && reply.holder.member === self.member && reply.holder.boot === self.boot
  return isOwn ? reply.revision : null
}
