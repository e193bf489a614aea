import { Kvm } from '@nats-io/kv'
import { connect } from '@nats-io/transport-node'
import { findFreePort } from '../../src/testing/real-host.ts'
import { type NatsServer, startNatsServer } from './nats-server.ts'

/** Three servers that are one JetStream cluster. */
export interface NatsCluster extends AsyncDisposable {
  readonly servers: readonly [NatsServer, NatsServer, NatsServer]
  /** Waits until three servers hold the bucket of the claims, and gives the place of the one that leads it. */
  untilReady(): Promise<number>
}

/** Where a server is: an address, and the words before a program that runs there. */
export interface NatsPlace {
  readonly address: string
  readonly prefix: readonly string[]
}

const here: NatsPlace = { address: '127.0.0.1', prefix: [] }
/** The bucket of the claims, as members make it. */
const bucket = { history: 1, ttl: 30_000, markerTTL: 2000, storage: 'file', replicas: 3 } as const

export async function startNatsCluster(
  places: readonly NatsPlace[] = [here, here, here],
): Promise<NatsCluster> {
  const routes = await Promise.all(places.map(async ({ address }) => `${address}:${await findFreePort()}`))
  const toConfig = (index: number) => `server_name: "n${index}"
cluster { name: "test", listen: "${routes[index]}", routes: [${routes.map((route) => `"nats-route://${route}"`).join()}] }`
  const servers = await Promise.all(
    places.map(({ address: host, prefix }, index) =>
      startNatsServer({ host, prefix, config: toConfig(index) }),
    ),
  )
  return {
    servers: servers as unknown as NatsCluster['servers'],
    untilReady: async () => {
      const nc = await connect({ servers: servers.map(({ url }) => url) })
      const endsAtMs = performance.now() + 60_000
      try {
        for (;;) {
          try {
            const kv = await new Kvm(nc).create('leasehold-starts', bucket)
            const { cluster } = (await kv.status()).streamInfo
            const isWhole = cluster?.replicas?.every(({ current }) => current) === true
            const leader = Number(cluster?.leader?.slice(1))
            if (isWhole && Number.isSafeInteger(leader)) return leader
          } catch (error) {
            if (performance.now() > endsAtMs) throw error
          }
          await new Promise((resolve) => setTimeout(resolve, 100))
        }
      } finally {
        await nc.close()
      }
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()))
    },
  }
}
