import { expect, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import { findClaimed } from '../../src/service/own-offers.ts'
import { toServices } from '../../src/service/services.ts'

const localService = { command: '/bin/server' }
const config = parseConfig(
  JSON.stringify({
    models: {
      providers: {
        llama: {
          baseUrl: 'http://127.0.0.1:9001/v1',
          models: [{ id: 'm' }],
          localService,
          replicas: [{ baseUrl: 'http://127.0.0.1:9002/v1', localService: { command: '/bin/other' } }],
        },
        Zeta: { baseUrl: 'http://127.0.0.1:9003/v1', models: [{ id: 'z' }], localService },
        alpha: { baseUrl: 'http://127.0.0.1:9003/v1', models: [{ id: 'a' }], localService },
      },
    },
  }),
)
const claims = (isShared: (id: string) => boolean) =>
  [...toServices(config).values()].map(({ providers }) => [
    providers.map(({ id }) => id).join(),
    findClaimed(providers, isShared),
  ])

test('a start is claimed under the first provider that is shared; a replica is started without a claim', () => {
  expect(claims(() => true)).toEqual([
    ['llama', 'llama'],
    ['llama#2', undefined],
    ['Zeta,alpha', 'alpha'],
  ])
  expect(claims((id) => id === 'Zeta')).toEqual([
    ['llama', undefined],
    ['llama#2', undefined],
    ['Zeta,alpha', 'zeta'],
  ])
})
