import { expect, test } from 'vitest'
import { loadLibraries } from '../../src/cluster/libraries.ts'

test('the client of NATS is what its packages export, whatever names Node has found in them', async () => {
  const exported = { connect: () => {}, Kvm: class {} }
  expect(await loadLibraries(async () => ({ default: exported }))).toEqual({
    transport: exported,
    kv: exported,
  })
  expect(await loadLibraries(async () => exported)).toEqual({ transport: exported, kv: exported })
})

test('without the client of NATS the error has the line that installs it', async () => {
  const missing = loadLibraries(() => Promise.reject(new Error('Cannot find package')))
  await expect(missing).rejects.toMatchObject({
    code: 'LEASEHOLD_CLUSTER_UNAVAILABLE',
    message: expect.stringContaining('npm install @nats-io/transport-node @nats-io/kv'),
  })
})
