export type {
  Card,
  CardModel,
  CardService,
  CardServiceState,
  NewerCard,
} from '../../machines/cluster/messages.ts'
export { readCard } from '../../machines/cluster/messages.ts'
export type { PlacementOutcome } from '../../machines/cluster/placement.ts'
export type { ClusterConfig } from '../config/cluster.ts'
export type { ClusterEventBody } from '../events/events.ts'
export type { ArrivingHeaders, Departure, Neighbourhood, Standing } from '../request/neighbourhood.ts'
export type { Headers } from '../transport/headers.ts'
export type { MemberProof, MemberRun, ProvenHop, ProvenRequest } from '../transport/member-proof.ts'
export { type CheckResult, checkCluster } from './cluster-check.ts'
export { type ClusterOptions, type JoinedCluster, joinCluster, type MemberListing } from './joined-cluster.ts'
export { INSTALL_LINE, type Libraries } from './libraries.ts'
export type { Sharing } from './name-globs.ts'
export { type NatsUser, toNatsConfig, toPermissions } from './nats-config.ts'
export type { Neighbour } from './neighbours.ts'
