import { expect, test } from 'vitest'
import { loadLibraries } from '../../src/cluster/libraries.ts'

test('without the client of NATS the error has the line that installs it', async () => {
  const missing = loadLibraries(() => Promise.reject(new Error('Cannot find package')))
  await expect(missing).rejects.toMatchObject({
    code: 'LEASEHOLD_CLUSTER_UNAVAILABLE',
    message: expect.stringContaining('npm install @nats-io/transport-node @nats-io/kv'),
  })
})
