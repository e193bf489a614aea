import type { IncomingMessage, ServerResponse } from 'node:http'
import { BadRequestError, ClusterError, KeyError } from '../errors.ts'
import type { Supervisor } from '../supervisor/interface.ts'
import { internalsOf } from '../supervisor/internals.ts'
import { CARD_PATH, PROOF_HEADER } from '../transport/member-proof.ts'
import { sendJson } from './respond.ts'

/** @throws {@link HopError} for a wrong proof, {@link KeyError} without one; {@link BadRequestError} 404 without a cluster */
export function answerCard(
  supervisor: Supervisor,
  { method = 'GET', url = CARD_PATH, headers }: IncomingMessage,
  response: ServerResponse,
): void {
  const cluster = internalsOf(supervisor).cluster()
  if (cluster === undefined)
    throw new BadRequestError(`GET ${CARD_PATH} is not served here.`, { status: 404 })
  const hop = cluster.neighbourhood.admit(method, url, headers)
  if (hop === undefined) throw new KeyError(false)
  const card = cluster.card()
  sendJson(response, 200, card, { [PROOF_HEADER]: cluster.proveAnswer(hop, JSON.stringify(card)) })
}

/** `GET /api/members`: this member first. Empty: no cluster is configured. */
export function answerMembers(supervisor: Supervisor, response: ServerResponse): void {
  const { cluster } = supervisor.config.leasehold
  const joined = internalsOf(supervisor).cluster()
  sendJson(response, 200, {
    self: cluster?.member ?? null,
    isDraining: joined?.isDraining ?? false,
    members: joined?.members() ?? [],
  })
}

/** `POST /api/drain`. @throws {@link ClusterError} there is no cluster, so no other machine takes the requests */
export function answerDrain(supervisor: Supervisor, response: ServerResponse, isOn: boolean): void {
  const joined = internalsOf(supervisor).cluster()
  if (joined === undefined)
    throw new ClusterError(
      supervisor.config.leasehold.cluster === undefined
        ? 'leasehold.cluster is not configured: there is no other member to take the requests'
        : 'the cluster is not joined, so no other member can take the requests',
    )
  joined.drain(isOn)
  answerMembers(supervisor, response)
}
