import { hostname } from 'node:os'
import { expect, test } from 'vitest'
import { parseConfig, parseWithValues } from '../../src/config/load.ts'
import { toPrintable } from '../../src/config/printable.ts'
import { listSecretValues } from '../../src/config/secret-values.ts'
import { ConfigError } from '../../src/errors.ts'

const secret = 'x'.repeat(16) + 'y'.repeat(16)
const env = { SECRET: secret }

function read(cluster: object, leasehold: object = {}) {
  const text = JSON.stringify({ leasehold: { ...leasehold, cluster } })
  return parseWithValues(text, { env })
}

function problemsOf(cluster: object, leasehold: object = {}): string[] {
  try {
    return read(cluster, leasehold).config.problems.map(({ path, message }) => `${path}: ${message}`)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.problems.map(({ path, message }) => `${path}: ${message}`)
  }
}

test('a cluster needs servers and a secret, and has a default for everything else', () => {
  const { cluster } = read({ servers: ['nats://10.0.0.5:4222'], secret: '${SECRET}', address: 'http://a:1/' })
    .config.leasehold
  expect(cluster).toEqual({
    servers: ['nats://10.0.0.5:4222'],
    secret,
    member: hostname().toLowerCase().split('.')[0],
    address: 'http://a:1',
    prefix: 'leasehold',
    share: ['*'],
    use: ['*'],
    prefer: 'warm',
    beatMs: 500,
    lostMs: 1600,
    probeMs: 400,
    claimTimeoutMs: 700,
    claimTtlMs: 30_000,
    claimLingerMs: 2000,
    claimReplicas: 1,
    moveAfterMs: 1000,
  })
})

test('without a cluster the configuration has none', () => {
  expect(parseConfig('{}').leasehold).not.toHaveProperty('cluster')
})

test('the address is where the gateway will listen, the command line included', () => {
  const text = JSON.stringify({ leasehold: { cluster: { servers: ['nats://127.0.0.1'], secret } } })
  expect(parseConfig(text).leasehold.cluster?.address).toBe('http://127.0.0.1:4141')
  expect(parseConfig(text, { gateway: { port: 5000 } }).leasehold.cluster?.address).toBe(
    'http://127.0.0.1:5000',
  )
})

const servers = ['nats://10.0.0.5:4222']
const address = 'http://10.0.0.7:4141'

test.each([
  [{ secret }, {}, 'leasehold.cluster.servers'],
  [{ servers: [], secret, address }, {}, 'must name a NATS server'],
  [
    { servers: 'nats://a', secret, address },
    {},
    'leasehold.cluster.servers: must be a list ([ … ]), not string',
  ],
  [{ servers, address }, {}, 'leasehold.cluster.secret'],
  [{ servers: ['http://a'], secret, address }, {}, 'is not the address of a NATS server'],
  [{ servers: ['nats://u:p@a'], secret, address }, {}, 'must not hold a user name or password'],
  [{ servers, address, secret: 'short' }, {}, 'is shorter than 32 characters'],
  [{ servers, address, secret: '${NOT_SET}' }, {}, '${NOT_SET} is not set'],
  [{ servers, secret, address, member: 'Tower' }, {}, 'is not the name of a member'],
  [{ servers, secret, address, member: '-a' }, {}, 'is not the name of a member'],
  [{ servers, secret, address, prefix: 'a.b' }, {}, 'letters, digits'],
  [{ servers, secret, address: 'http://a/v1' }, {}, 'without a path'],
  [{ servers, secret, address: 'http://0.0.0.0:4141' }, {}, 'an address that others can reach'],
  [{ servers, secret }, { host: '0.0.0.0', apiKeys: ['0123456789abcdef'] }, 'address: is required'],
  [{ servers, secret }, { port: 0 }, 'address: is required'],
  [{ servers, secret }, {}, 'is this machine for every member'],
  [{ servers, secret, address, beatMs: 1000 }, {}, 'at least twice beatMs'],
  [{ servers, secret, address, caFile: 'ca.pem' }, {}, 'must be an absolute path'],
  [{ servers, secret, address, shares: ['*'] }, {}, 'shares'],
])('%j with %j is refused: %s', (cluster, leasehold, message) => {
  expect(problemsOf(cluster, leasehold).join('\n')).toContain(message)
})

test('an address alone in the place of the list of servers is one problem, and its password is not told', () => {
  const problems = problemsOf({ servers: 'nats://user:hunter2@10.0.0.5:4222', secret, address })
  expect(problems).toEqual([expect.stringMatching(/^leasehold\.cluster\.servers: must be a list /)])
  expect(problems.join()).not.toContain('hunter2')
})

test('the secret is never printed, and counts as one everywhere', () => {
  const loaded = read({ servers, secret, address })
  expect(JSON.stringify(toPrintable(loaded))).not.toContain(secret)
  expect(toPrintable(loaded)).toMatchObject({ leasehold: { cluster: { secret: '***', address } } })
  expect(toPrintable(read({ servers, secret: '${SECRET}', address }))).toMatchObject({
    leasehold: { cluster: { secret: '${SECRET}' } },
  })
  expect(listSecretValues(loaded.config, {})).toContain(secret)
})
