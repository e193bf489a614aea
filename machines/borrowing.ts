import { fromCallback, not, setup } from 'xstate'
import type { Failure, Peer, PeerCommand, PeerEvent } from './messages.ts'

/** What the provider asks of its owner: for a lease, to take one back, or for the end of the conversation. */
export type BorrowingCommand = Exclude<PeerCommand, { readonly type: 'claim.release' }>

/** A question to the owner. */
export type OwnerMessage =
  | {
      readonly type: 'want'
      readonly id: string
      readonly priority: number
      readonly keepAliveMs?: number
    }
  | { readonly type: 'return'; readonly id: string }
  | { readonly type: 'ping' }

/** Reports of the connection. */
export type ConnectionEvent =
  | { readonly type: 'connection.made'; readonly owner: Peer }
  /** `closed`: nothing listens any more. `timeout`: process `pid` listens and says nothing. `unproven`: no supervisor. */
  | {
      readonly type: 'connection.refused'
      readonly reason: 'closed' | 'timeout' | 'unproven'
      readonly pid?: number
    }
  | { readonly type: 'connection.closed' }
  /** Anything came; what it says follows. */
  | { readonly type: 'owner.heard' }
  | { readonly type: 'owner.granted'; readonly id: string }
  | { readonly type: 'owner.refused'; readonly id: string; readonly failure: Failure }
  | { readonly type: 'owner.revoked'; readonly failure: Failure }

export type BorrowingEvent =
  | BorrowingCommand
  | ConnectionEvent
  /** The host was suspended, or this process stood still. */
  | { readonly type: 'host.resumed' }

export interface BorrowingContext {
  /** The run of the service that the conversation is about. */
  readonly generation: string
  readonly owner: Peer | null
  /** What was asked before the connection was made: at most the queue of the service and its cancellations. */
  readonly unsent: readonly OwnerMessage[]
}

/** Time between the last answer and the next ping, in milliseconds. */
const PING_MS = 1_000

/** How long an owner may be silent, because it may only be busy, in milliseconds. */
export const OWNER_SILENCE_MS = 5_000

type Scope = { readonly context: BorrowingContext; readonly event: BorrowingEvent }

const base = setup({
  types: {
    context: {} as BorrowingContext,
    events: {} as BorrowingEvent,
    emitted: {} as PeerEvent,
  },
  actors: {
    /** Connects to the supervisor that has the claim, reports what it says, and disconnects when it is stopped. */
    connection: fromCallback<OwnerMessage, undefined, BorrowingEvent>(() => {
      throw new Error('The effect "connection" is not provided.')
    }),
  },
  delays: { ping: PING_MS, ownerSilence: OWNER_SILENCE_MS },
  guards: {
    isCurrent: ({ context, event }: Scope) =>
      'generation' in event && event.generation === context.generation,
    isGone: ({ event }: Scope) => event.type === 'connection.refused' && event.reason === 'closed',
    isTimeout: ({ event }: Scope) => event.type === 'connection.refused' && event.reason === 'timeout',
  },
})

const borrowing = base.extend({
  actions: {
    begin: base.assign(({ event }) => ({
      generation: 'generation' in event ? event.generation : '',
      owner: null,
      unsent: listQuestions(event),
    })),
    recordOwner: base.assign(({ context, event }) => ({
      owner: event.type === 'connection.made' ? event.owner : context.owner,
    })),
    keepQuestion: base.assign(({ context, event }) => ({
      unsent: [...context.unsent, ...listQuestions(event)],
    })),
    sendUnsent: base.enqueueActions(({ context, enqueue }) => {
      for (const question of context.unsent) enqueue.sendTo('connection', question)
      enqueue.assign({ unsent: [] })
    }),
    sendQuestion: base.enqueueActions(({ event, enqueue }) => {
      for (const question of listQuestions(event)) enqueue.sendTo('connection', question)
    }),
    ping: base.sendTo('connection', { type: 'ping' }),

    // Reports to the provider.
    reportMet: base.emit(({ context: { generation, owner } }) => ({
      type: 'peer.met',
      generation,
      holder: owner ?? { pid: 0, name: '' },
    })),
    reportGrant: base.emit(({ context: { generation }, event }) => ({
      type: 'peer.granted',
      generation,
      id: 'id' in event ? event.id : '',
    })),
    reportRefusal: base.emit(({ context: { generation }, event }) => ({
      type: 'peer.refused',
      generation,
      id: 'id' in event ? event.id : '',
      failure: failureOf(event),
    })),
    reportRevocation: base.emit(({ context: { generation }, event }) => ({
      type: 'peer.lost',
      generation,
      failure: failureOf(event),
    })),
    reportLoss: base.emit(({ context: { generation, owner } }) => ({
      type: 'peer.lost',
      generation,
      failure: buildLossFailure(owner),
    })),
    reportSilence: base.emit(({ context: { generation, owner }, event }) => ({
      type: 'peer.silent',
      generation,
      failure: buildSilenceFailure(owner?.name, owner?.pid ?? ('pid' in event ? event.pid : undefined)),
    })),
    reportStranger: base.emit(({ context: { generation } }) => ({
      type: 'peer.failed',
      generation,
      failure: STRANGER,
    })),
  },
})

/**
 * The use of a server that another supervisor owns: one conversation with that supervisor for each run of the service.
 * The provider asks for leases; what the owner answers is reported as `peer.*` events.
 */
export const borrowingMachine = borrowing.createMachine({
  id: 'borrowing',
  description:
    'One service that another supervisor runs: the connection to its owner, and whether it answers.',
  context: { generation: '', owner: null, unsent: [] },
  initial: 'resting',
  states: {
    resting: {
      description: 'No lease of another supervisor is wanted.',
      tags: 'resting',
      on: { 'peer.want': { target: 'conversing', actions: 'begin' } },
    },

    conversing: {
      description:
        'The owner is asked for leases. Leaving this state ends the connection, and with it every lease.',
      invoke: { id: 'connection', src: 'connection' },
      on: {
        'peer.want': {
          guard: not('isCurrent'),
          target: 'conversing',
          reenter: true,
          actions: 'begin',
        },
        'peer.leave': { guard: 'isCurrent', target: 'resting' },
      },
      initial: 'meeting',
      states: {
        meeting: {
          description: 'The connection is being made. Questions are kept.',
          tags: 'meeting',
          on: {
            'peer.want': { guard: 'isCurrent', actions: 'keepQuestion' },
            'peer.return': { guard: 'isCurrent', actions: 'keepQuestion' },
            'connection.made': {
              target: 'talking',
              actions: ['recordOwner', 'reportMet', 'sendUnsent'],
            },
            'connection.refused': [
              { guard: 'isGone', target: '#borrowing.over', actions: 'reportLoss' },
              { guard: 'isTimeout', target: '#borrowing.over', actions: 'reportSilence' },
              { target: '#borrowing.over', actions: 'reportStranger' },
            ],
          },
        },

        talking: {
          description: 'The connection stands. A ping now and then shows whether the owner still answers.',
          tags: 'talking',
          on: {
            'peer.want': { guard: 'isCurrent', actions: 'sendQuestion' },
            'peer.return': { guard: 'isCurrent', actions: 'sendQuestion' },
            'owner.granted': { actions: 'reportGrant' },
            'owner.refused': { actions: 'reportRefusal' },
            'owner.revoked': { target: '#borrowing.over', actions: 'reportRevocation' },
            'connection.closed': { target: '#borrowing.over', actions: 'reportLoss' },
            // What was not answered while we stood still proves nothing.
            'host.resumed': '.asked',
          },
          initial: 'quiet',
          states: {
            quiet: {
              description: 'The owner has answered everything that it was asked.',
              after: { ping: 'asked' },
            },
            asked: {
              description: 'A ping is open. Any message is an answer.',
              entry: 'ping',
              after: { ownerSilence: 'silent' },
              on: { 'owner.heard': 'quiet' },
            },
            silent: {
              description:
                'The ping was not answered in time. This is reported again and again until something comes: the leases stay, because the server may be well.',
              tags: 'silent',
              entry: 'reportSilence',
              after: { ping: { target: 'silent', reenter: true } },
              on: { 'owner.heard': 'quiet' },
            },
          },
        },
      },
    },

    over: {
      description:
        'The owner let go, is gone, or is none. The rest of this run of the service is not asked for.',
      tags: 'over',
      on: {
        'peer.want': { guard: not('isCurrent'), target: 'conversing', actions: 'begin' },
        'peer.leave': { guard: 'isCurrent', target: 'resting' },
      },
    },
  },
})

function listQuestions(event: BorrowingEvent): readonly OwnerMessage[] {
  if (event.type === 'peer.want') {
    const { id, priority, keepAliveMs } = event
    return [{ type: 'want', id, priority, ...(keepAliveMs === undefined ? {} : { keepAliveMs }) }]
  }
  if (event.type === 'peer.return') return [{ type: 'return', id: event.id }]
  return []
}

function failureOf(event: BorrowingEvent): Failure {
  return 'failure' in event ? event.failure : STRANGER
}

const STRANGER: Failure = {
  code: 'LEASEHOLD_CLAIM_FAILED',
  message:
    'the claim on its address is held by a process that does not prove to be a supervisor of this user and state directory; nothing is started beside it',
}

function buildLossFailure(owner: Peer | null): Failure {
  return {
    code: 'LEASEHOLD_OWNER_LOST',
    message:
      owner === null
        ? 'the supervisor that held the claim on its address is gone'
        : `the supervisor that ran it (leasehold ${owner.name}, process ${owner.pid}) let it go or is gone`,
  }
}

function buildSilenceFailure(name: string | undefined, pid: number | undefined): Failure {
  const who = name === undefined ? '' : `leasehold ${name}, `
  const named = pid === undefined ? '' : ` (${who}process ${pid})`
  const advice =
    pid === undefined
      ? 'resume it or end it'
      : `resume it (kill -CONT ${pid}) or end it (kill -KILL ${pid}): then the next request goes on`
  return {
    code: 'LEASEHOLD_OWNER_SILENT',
    message: `the supervisor that holds the claim on its address${named} has not answered for ${OWNER_SILENCE_MS} ms: it is stopped or hung, and nothing is started beside it; ${advice}`,
  }
}
