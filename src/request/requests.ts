import type { Outcome, RequestContext, requestMachine } from '../../machines/request.ts'
import { LeaseholdError, UpstreamError } from '../errors.ts'
import type { Inspections } from '../observe/inspection.ts'
import type { AnswerHandler } from '../transport/answer-handler.ts'
import type { BodyCapture } from './body-capture.ts'
import { rememberCandidates } from './candidates.ts'
import { Exchange, type ExchangeParts, type ModelCall, type ModelRequest } from './exchange.ts'
import type { RequestBook } from './open-requests.ts'

export interface RequestsOptions extends Omit<ExchangeParts, 'candidatesOf' | 'forget' | 'isNews'> {
  readonly machine: typeof requestMachine
  /** Makes the machine fast, or leaves it to xstate's interpreter. */
  readonly compile: (machine: typeof requestMachine) => typeof requestMachine
  /** Where every request stands until it has ended. */
  readonly requests: RequestBook<Exchange>
  /** How the machine of a request is inspected. */
  readonly inspection: Inspections['optionsOf']
  readonly createId: () => string
  /** Takes note of bodies, where that is configured. */
  readonly watchBodies: BodyCapture['watch']
}

/** Models are the clients' choice where a provider lists none, so what is remembered of them has a limit. */
const MAX_TOLD = 1_000

/** Gives the request chart its effects, and starts a request with each call of what it returns. */
export function createRequests({
  machine,
  compile,
  requests,
  inspection,
  createId,
  watchBodies,
  ...parts
}: RequestsOptions): (request: ModelRequest, client: AnswerHandler<LeaseholdError>) => ModelCall {
  const told = new Set<string>()
  const own: ExchangeParts = {
    ...parts,
    candidatesOf: rememberCandidates(),
    forget: requests.remove,
    isNews: (advice) => !told.has(advice) && told.size < MAX_TOLD && told.add(advice).size > 0,
  }
  const provided = compile(provideEffects(machine, requests.open))
  return (request, client) => {
    const id = createId()
    const given = { request, client: watchBodies(id, request, client) }
    const exchange = new Exchange(id, provided, inspection(), given, own)
    requests.add(exchange)
    exchange.actor.start()
    return exchange
  }
}

/** The one page on which the effects of a request meet its chart. What an effect throws fails the request. */
function provideEffects(
  machine: typeof requestMachine,
  open: RequestBook<Exchange>['open'],
): typeof requestMachine {
  type Scope = { readonly context: RequestContext }
  const effect =
    <Params>(act: (exchange: Exchange, context: RequestContext, params: Params) => void) =>
    ({ context }: Scope, params: Params) => {
      const exchange = open.get(context.id)
      if (exchange === undefined) return
      try {
        act(exchange, context, params)
      } catch (cause) {
        const failure =
          cause instanceof LeaseholdError ? cause : new UpstreamError('leasehold', String(cause), { cause })
        exchange.fail(failure, false)
      }
    }
  return machine.provide({
    actions: {
      resolve: effect((exchange) => exchange.resolve()),
      requestLease: effect((exchange, { index }) => exchange.requestLease(index)),
      releaseLease: effect((exchange) => exchange.releaseLease()),
      rewrite: effect((exchange) => exchange.rewrite()),
      dispatch: effect((exchange) => exchange.dispatch()),
      relay: effect((exchange) => exchange.relay()),
      lookForRoom: effect((exchange) => exchange.lookForRoom()),
      hangUp: effect((exchange) => exchange.hangUp()),
      reportAttempt: effect((exchange) => exchange.reportAttempt()),
      failOverdue: effect((exchange) => exchange.failOverdue()),
      failBroken: effect((exchange) => exchange.failBroken()),
      finish: effect((exchange, _, { outcome }: { readonly outcome: Outcome }) => exchange.finish(outcome)),
    },
  })
}
